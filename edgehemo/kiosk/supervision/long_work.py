"""The long work of the backup pages: a backup, an export, a look through all that is stored.

Each runs beside the page, with a connection of its own to the records; what it noted there is taken
into the chain before it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.device.sticks import Stick, writing_to
from edgehemo.errors import StickFullError
from edgehemo.kiosk.jobs import Job
from edgehemo.records import backup
from edgehemo.records.clock import now
from edgehemo.records.deidentified import View
from edgehemo.records.exports.archive_export import SUFFIX
from edgehemo.records.exports.exporting import Exporting
from edgehemo.records.exports.formats import FORMATS
from edgehemo.records.results import result_at
from edgehemo.records.store import Reader, Writer
from edgehemo.records.verifying import Verified, verify

# What each format's file is called after.
_SUFFIXES = {"folder": "", "archive": SUFFIX, "csv": ".csv", "json": ".json"}


@dataclass(frozen=True, slots=True)
class BackedUp:
    """A backup that was made and read back. copied_bytes: of contents that were new."""

    results: int
    copied_bytes: int
    label: str


@dataclass(frozen=True, slots=True)
class Exported:
    """What left the device. name: of the file or folder on the stick."""

    results: int
    name: str
    label: str


def backing_up(writer: Writer, stick: Stick, by: str) -> Callable[[Job], BackedUp]:
    """Back up everything to a stick. StickFullError before anything is written where it is seen
    that there is no room.
    """

    def work(job: Job) -> BackedUp:
        job.at(None, "look")
        with Reader(writer.folder) as reader, writing_to(stick):
            if backup.bytes_wanted(reader, stick.path) > stick.free_bytes:
                raise StickFullError("the backup does not fit on the USB stick")
            made = backup.back_up(
                reader,
                stick.path,
                at=now().isoformat(timespec="seconds"),
                by=by,
                on_content=lambda done, of: job.at(done / of, "copy"),
            )
        writer.take_noted()
        return BackedUp(made.manifest.results, made.copied_bytes, stick.label)

    return work


def exporting(
    writer: Writer,
    device: DeviceConfiguration,
    stick: Stick,
    numbers: Sequence[int],
    kind: str,
    *,
    identified: bool,
    by: str,
) -> Callable[[Job], Exported]:
    """Write results to a stick in one of the formats. numbers: of the results in the records."""
    chosen = FORMATS[kind]

    def work(job: Job) -> Exported:
        job.at(0.0, "export")
        name = f"edgehemo-{now():%Y%m%d-%H%M%S}{_SUFFIXES[kind]}"
        done = 0

        def one_more() -> None:
            nonlocal done
            done += 1
            job.at(done / len(numbers), "export")

        with Reader(writer.folder) as reader, writing_to(stick):
            results = [result_at(reader, number) for number in numbers]
            export = Exporting(
                reader,
                results,
                View.of(reader, identified=identified),
                reader.head(),
                device.records.recipients,
                device.words,
                on_result=one_more,
            )
            # Of several results a folder has one for each; of one too, so that all look alike.
            out = stick.path / name
            if kind == "folder" and len(results) == 1:
                out = out / results[0].id
            chosen.write(export, out)
            details = {"format": kind, "identified": identified, "pictures": chosen.pictures}
            reader.notes([("result exported", each.id, details) for each in results], by=by)
        writer.take_noted()
        return Exported(len(numbers), name, stick.label)

    return work


def looking_through(writer: Writer, by: str) -> Callable[[Job], Verified]:
    """Check the chain, every row and every picture of the records."""

    def work(job: Job) -> Verified:
        job.at(None, "chain")
        with Reader(writer.folder) as reader:
            found = verify(reader, on_content=lambda done, of: job.at(done / of, "pictures"))
            reader.note("records verified", details={"faults": len(found.faults)}, by=by)
        writer.take_noted()
        return found

    return work


@dataclass(frozen=True, slots=True)
class Brought:
    """A backup that was checked and copied, and can be put in the records' place. path: of its
    manifest.
    """

    path: Path
    made_at: str
    results: int
    label: str


def bringing(writer: Writer, stick: Stick) -> Callable[[Job], Brought]:
    """Check the newest backup of a stick, and copy what it holds. RecordsError where there is none,
    or it is damaged.
    """

    def work(job: Job) -> Brought:
        job.at(None, "check")
        path, _ = backup.found_backup(stick.path)
        manifest = backup.bring(path, writer.folder, lambda done, of: job.at(done / of, "bring"))
        return Brought(path, manifest.made_at, manifest.results, stick.label)

    return work


def numbers_since(reader: Reader, since: datetime | None) -> list[int]:
    """The results from a moment on, oldest first; all where it is None."""
    if since is None:
        rows = reader.rows("SELECT number FROM result ORDER BY number")
    else:
        rows = reader.rows(
            "SELECT number FROM result WHERE made_at_s >= ? ORDER BY number",
            (int(since.timestamp()),),
        )
    return [row[0] for row in rows]
