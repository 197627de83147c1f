"""Publications for kiosks without a network: files on a stick, and what it brings back.

The files are what a kiosk's own page takes from a stick: a packed bundle, or a signed package of
words or settings. A kiosk that installed from a stick leaves a report of what runs there on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgehemo.files.atomic import write_bytes_atomically
from edgehemo.files.strict import RecordError
from edgehemo.published.brought import REPORT_NAMES, StickReport
from edgehemo_laboratory.chain import note
from edgehemo_laboratory.enrolment.kiosks import Kiosk, kiosk_named, kiosks
from edgehemo_laboratory.errors import LaboratoryError
from edgehemo_laboratory.steering.kept import Publication, file_of, publications
from edgehemo_laboratory.steering.offering import heard
from edgehemo_laboratory.steering.output import BroughtReport, StickFile, StickOutput, TakeOutput
from edgehemo_laboratory.storage.interface import Statements, Storage

# A report is a page of text, and a stick holds no more of them than kiosks are visited on a day.
_MAX_REPORT_BYTES, _MOST_REPORTS = 200_000, 500


async def write_stick(
    storage: Storage, folder: Path, named: Sequence[str] = (), *, by: str
) -> StickOutput:
    """Write to a stick what kiosks are offered now. named: the kiosks that it goes to; without them
    what is offered to all. LaboratoryError where that is nothing, or the stick cannot be written.
    """
    chosen = await _for(storage, named)
    if not chosen:
        whom = ", ".join(named) if named else "all kiosks"
        raise LaboratoryError(
            f"nothing is offered to {whom} now; `edgehemo laboratory publications` shows why"
        )
    files = []
    for each in chosen:
        name = f"{each.kind}-{each.name}-{each.serial}.zip"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_bytes_atomically(folder / name, await file_of(storage, each))
        except OSError as error:
            raise LaboratoryError(f"{folder}: {error.strerror or error}") from None
        files.append(
            StickFile(
                file=name, kind=each.kind, name=each.name, serial=each.serial, sha256=each.sha256
            )
        )

    async def work(change: Statements) -> None:
        said = {"files": [each.file for each in files], "kiosks": sorted(named)}
        await note(change, "stick written", str(folder), said, by=by)

    await storage.change(work)
    return StickOutput(folder=str(folder), files=files)


async def _for(storage: Storage, named: Sequence[str]) -> list[Publication]:
    staged = await publications(storage, staged=True)
    if not named:
        everywhere = [
            each for each in staged if each.is_last and not each.sites and not each.kiosks
        ]
        return _newest(everywhere)
    found: dict[int, Publication] = {}
    for name in named:
        kiosk = await kiosk_named(storage, name)
        rows = await storage.rows(
            "SELECT publication FROM publication_kiosk WHERE kiosk = $1", kiosk.number
        )
        is_in = {row[0] for row in rows}
        for each in _newest([each for each in staged if each.number in is_in]):
            found[each.number] = each
    return [found[number] for number in sorted(found)]


def _newest(staged: Sequence[Publication]) -> list[Publication]:
    newest: dict[tuple[str, str], Publication] = {}
    for each in staged:
        known = newest.get((each.kind, each.name))
        if known is None or known.serial < each.serial:
            newest[each.kind, each.name] = each
    return sorted(newest.values(), key=lambda each: each.number)


async def take_stick(storage: Storage, folder: Path, *, by: str) -> TakeOutput:
    """Take what kiosks left on a stick. A report belongs to the kiosk that its records came from,
    else to the one of its name. LaboratoryError where the stick cannot be read or holds none.
    """
    try:
        files = sorted(folder.glob(REPORT_NAMES))[:_MOST_REPORTS]
    except OSError as error:
        raise LaboratoryError(f"{folder}: {error.strerror or error}") from None
    if not files:
        raise LaboratoryError(
            f"{folder}: holds no report of a kiosk; a kiosk leaves one when something is installed "
            "from the stick there"
        )
    reports = []
    for file in files:
        try:
            report = _report(file)
            kiosk = await _whose(storage, report)
            await heard(storage, kiosk, report.running, brought_by=by)
            reports.append(BroughtReport(file=file.name, kiosk=kiosk.name, refused=""))
        except LaboratoryError as error:
            reports.append(BroughtReport(file=file.name, kiosk="", refused=str(error)))
    return TakeOutput(folder=str(folder), reports=reports)


def _report(file: Path) -> StickReport:
    try:
        if file.is_symlink() or file.stat().st_size > _MAX_REPORT_BYTES:
            raise LaboratoryError(f"{file.name}: is no report of a kiosk")
        return StickReport.model_validate(msgspec.json.decode(file.read_bytes()))
    except (OSError, msgspec.DecodeError, RecordError, RecursionError) as error:
        raise LaboratoryError(f"{file.name}: is no report of a kiosk ({error})") from None


async def _whose(storage: Storage, report: StickReport) -> Kiosk:
    rows = await storage.rows(
        "SELECT k.name FROM records r JOIN kiosk k ON k.number = r.kiosk WHERE r.store = $1",
        report.store,
    )
    names = [row[0] for row in rows] or [
        each.name for each in await kiosks(storage) if each.name == report.device
    ]
    if not names:
        raise LaboratoryError(
            f"no kiosk here is called {report.device!r}; `edgehemo laboratory enrol` adds it"
        )
    return await kiosk_named(storage, names[0])
