"""What every export has: results, how they may be seen, and the head of the chain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgehemo.errors import UsageError
from edgehemo.records.controls import control_mark
from edgehemo.records.deidentified import View
from edgehemo.records.results import StoredResult
from edgehemo.records.store import Reader
from edgehemo.report.paper import Paper
from edgehemo.screening.recorded import AuditHead
from edgehemo.words.language import Words

ENGLISH = Words()
Hl7Version = Literal["2.3.1", "2.5.1"]
# Called after each result.
OnResult = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Exporting:
    """One export. reader: the records. view: identified or not. audit: the head it bears.
    recipients: public keys that an archive is encrypted to. words: language and unit of reports.
    paper: what they are printed on. hl7_version: of messages.
    """

    reader: Reader
    results: Sequence[StoredResult]
    view: View
    audit: AuditHead
    recipients: tuple[str, ...] = ()
    words: Words = ENGLISH
    paper: Paper = "a4"
    hl7_version: Hl7Version = "2.5.1"
    on_result: OnResult = lambda: None

    def entry(self, result: StoredResult) -> dict[str, Any]:
        """Everything that is stored of a result but its pictures, as JSON values."""
        view = self.view
        return {
            "id": result.id,
            "sample": view.name("sample", result.sample_now),
            "sample_from": result.sample_from,
            "site": view.name("site", result.site),
            "operator": view.name("operator", result.operator),
            "device": view.name("device", result.device),
            "made_at": view.moment(result.made_at),
            "clock": result.clock,
            "simulated": result.simulated,
            "outcome": result.outcome,
            "state": result.latest.state,
            "version": result.latest.version,
            "control_mark": control_mark(self.reader, result),
            "person": view.person(result),
            "circumstances": self._circumstances(result),
            "bundle_sha256": result.bundle_sha256,
            "profile_sha256": result.profile_sha256,
            "software_version": result.software_version,
            "reading_sha256": result.reading_sha256,
            "audit": result.audit,
            "images": [
                {
                    "image": view.image(field.position, field.source),
                    "sha256": field.sha256,
                }
                for field in result.fields
            ],
            "versions": view.versions(result),
            "record": view.record(result, result.document(self.reader).record),
        }

    def _circumstances(self, result: StoredResult) -> dict[str, Any]:
        values = result.circumstances.model_dump()
        if not self.view.identified and values["profile_name"] is not None:
            values["profile_name"] = "profile"
        return values


def one_file_each(export: Exporting, out: Path, ending: str) -> Iterator[tuple[StoredResult, Path]]:
    """Each result and the file it goes to: ``out`` itself for a single one, else a file below it
    called by the result. UsageError where ``out`` is a folder and one file is to be written.
    """
    if len(export.results) == 1:
        if out.is_dir():
            raise UsageError(f"{out}: is a folder; name the file to be written")
        yield export.results[0], out
        return
    out.mkdir(parents=True, exist_ok=True)
    for result in export.results:
        yield result, out / f"{result.id}{ending}"


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """One format. write: makes what ``--out`` names. pictures: whether it holds every picture, so
    that an exported result's may be purged.
    """

    name: str
    about: str
    write: Callable[[Exporting, Path], None]
    pictures: bool = False
