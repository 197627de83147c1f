"""`edgehemo records`: the stored results of this device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_DONE, EXIT_WITHHELD, UsageError
from edgehemo.words.counted import counted

if TYPE_CHECKING:
    from edgehemo.device.configuration import DeviceConfiguration
    from edgehemo.records.exports.exporting import Hl7Version
    from edgehemo.records.results import Change, Listed, State, StoredResult
    from edgehemo.records.store import Store
    from edgehemo.records.versions import Amendments
    from edgehemo.report.paper import Paper
    from edgehemo.words.language import Language

_Command = TypeVar("_Command", bound=Callable[..., Any])
# Differences of a replay that are printed; the JSON has more.
_DIFFERENCES_SHOWN = 20
STATES = ("unsigned", "signed", "corrected", "held", "withdrawn")


def _moment(_: click.Context, option: click.Parameter, value: str | None) -> datetime | None:
    """A date or a moment, in this machine's time zone where it names none."""
    if value is None:
        return None
    try:
        return datetime.fromisoformat(value).astimezone()
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter(
            f"{value!r} is no date; write it as 2026-11-27 or 2026-11-27T14:30", param=option
        ) from None


@click.group()
def records() -> None:
    """List, show, correct, export, back up and check the stored results of this device."""


@records.command(name="list")
@click.option(
    "--since", callback=_moment, metavar="DATE", help="From this date on, such as 2026-11-27."
)
@click.option(
    "--until", callback=_moment, metavar="DATE", help="Up to this date, the whole day of it."
)
@click.option("--sample", metavar="ID", help="Of the sample of this number.")
@click.option("--state", type=click.Choice(STATES), help="In this state.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many."
)
@common.json_option
def list_(
    since: datetime | None,
    until: datetime | None,
    sample: str | None,
    state: State | None,
    limit: int,
    json_file: str | None,
) -> int:
    """The stored results, newest first."""
    from edgehemo.records.controls import marked_results
    from edgehemo.records.output import ListedEntry, RecordsListOutput
    from edgehemo.records.results import Wanted, count, listed

    if until is not None and (until.hour, until.minute, until.second) == (0, 0, 0):
        until += timedelta(days=1)
    wanted = Wanted(since, until, sample, state)
    store, found = _store(), 0
    rows: list[Listed] = []
    marked: frozenset[int] = frozenset()
    if store.folder.exists():
        with store.reader() as reader:
            rows = listed(reader, wanted, limit=limit)
            found = len(rows) if len(rows) < limit else count(reader, wanted)
            marked = marked_results(reader, [row.number for row in rows])
    for row in rows:
        common.say(_line(row, row.number in marked), json_file)
    if not rows:
        common.say("no stored result of these", json_file)
    elif found > len(rows):
        common.say(f"{len(rows)} of {found}; --limit shows more", json_file)
    output = RecordsListOutput(
        found=found, results=[ListedEntry.of(row, row.number in marked) for row in rows]
    )
    common.write_json(json_file, output)
    return EXIT_DONE


@records.command()
@click.argument("identifier", metavar="ID")
@common.json_option
def show(identifier: str, json_file: str | None) -> int:
    """One stored result with all its versions; that it was viewed is noted in the chain.

    ID: the result's identifier; its first four characters or more are enough.
    """
    import msgspec

    from edgehemo.commands.screened import lines_of
    from edgehemo.device.recorded import command_actor
    from edgehemo.records.controls import control_mark
    from edgehemo.records.output import RecordsShowOutput, ShownResult
    from edgehemo.records.results import result_of

    with _store().reader() as reader:
        result = result_of(reader, identifier)
        record = result.document(reader).record
        reader.note("result viewed", result.id, by=command_actor())
        kept = {
            field.sha256: reader.contents.has(field.sha256)
            for field in result.fields
            if field.sha256 is not None
        }
        mark = control_mark(reader, result)
        head = reader.head()
    for line in _heading(result):
        common.say(line, json_file)
    if mark is not None:
        common.say(mark, json_file)
    for line in lines_of(record):
        common.say(line, json_file)
    person = None if result.person is None else msgspec.to_builtins(result.person)
    shown = ShownResult.of(result, record, person, kept, mark)
    common.write_json(json_file, RecordsShowOutput(result=shown, audit=head))
    return EXIT_DONE


@records.command()
@click.option(
    "--quick", is_flag=True, help="Look whether the pictures are there, not what is in them."
)
@click.option(
    "--head",
    "heads",
    metavar="NUMBER-DIGITS",
    multiple=True,
    help="Head of the chain as a report, export or backup prints it (12-229286799f972d20): it must "
    "be of this chain. May be repeated.",
)
@common.json_option
def verify(quick: bool, heads: tuple[str, ...], json_file: str | None) -> int:
    """Check the chain, every row and every picture; exit code 1 where something was changed.

    The last line is the head of the chain: the same number and digits stand on the reports made at
    that time, and in every backup.
    """
    from edgehemo.device.recorded import command_actor
    from edgehemo.records.output import RecordsVerifyOutput
    from edgehemo.records.verifying import head_fault
    from edgehemo.records.verifying import verify as verified

    with _store().reader() as reader:
        with common.Progress("verifying", long=not quick) as progress:
            found = verified(
                reader, contents=not quick, on_content=lambda _, total: progress.advance()
            )
        others = [fault for head in heads if (fault := head_fault(reader, head)) is not None]
        found = replace(found, faults=(*others, *found.faults))
        details = {"faults": len(found.faults), "contents": not quick}
        reader.note("records verified", details=details, by=command_actor())
        head = reader.head()
    for fault in found.faults:
        common.complain(fault)
    common.say(
        f"{counted(found.results, 'result')} in {counted(found.versions, 'version')}, "
        f"{counted(found.entries, 'entry', 'entries')} in the chain, "
        f"{counted(found.contents, 'content')}"
        + (f", {found.purged} purged" if found.purged else "")
        + (": whole" if found.whole else f": {counted(len(found.faults), 'fault')}"),
        json_file,
    )
    common.say(f"chain {head}", json_file)
    common.write_json(json_file, RecordsVerifyOutput.of(found, head))
    return EXIT_DONE if found.whole else EXIT_WITHHELD


@records.command()
@click.argument("identifier", metavar="ID")
@common.json_option
def replay(identifier: str, json_file: str | None) -> int:
    """Compute a stored result again from its pictures, bundle and profile.

    Exit code 0 only where every number is the same to the last digit; else it says which are not,
    and by how much.
    """
    from edgehemo.device.kept_equipment import kept_reader
    from edgehemo.device.recorded import command_actor
    from edgehemo.records.output import RecordsReplayOutput
    from edgehemo.records.replay import replay as replayed
    from edgehemo.records.results import result_of

    with _store().reader() as reader:
        result = result_of(reader, identifier)
        with (
            kept_reader(reader, result) as fields,
            common.Progress("replaying", len(result.fields)) as progress,
        ):
            found = replayed(reader, result, fields, lambda _, total: progress.advance())
        details = {"differences": len(found.differences), "software": found.version}
        reader.note("result replayed", result.id, details, by=command_actor())
    for item in found.differences[:_DIFFERENCES_SHOWN]:
        grew = "" if item.by is None else f" (by {item.by:+.3g})"
        common.say(f"{item.place}: stored {item.stored}, now {item.replayed}{grew}", json_file)
    if len(found.differences) > _DIFFERENCES_SHOWN:
        more = len(found.differences) - _DIFFERENCES_SHOWN
        common.say(f"and {more} more; --json FILE has them", json_file)
    verdict = "the same" if found.same else f"{len(found.differences)} are not the same"
    common.say(f"{result.id}: {counted(found.values, 'value')} compared: {verdict}", json_file)
    if not found.same and found.version != found.stored_version:
        common.say(
            f"it was made by edgehemo {found.stored_version}, this is {found.version}", json_file
        )
    common.write_json(json_file, RecordsReplayOutput.of(found))
    return EXIT_DONE if found.same else EXIT_WITHHELD


@records.command()
@click.argument("identifiers", metavar="ID...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All results instead of those named.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(
        [
            "pdf",
            "html",
            "folder",
            "csv",
            "json",
            "geojson",
            "coco",
            "archive",
            "training",
            "fhir",
            "hl7",
        ]
    ),
    required=True,
    help="pdf, html: the report. folder: report, fields and pictures. csv: a table. json: all but "
    "the pictures. geojson: the cells of each field, as QuPath reads them. coco: the cells of all "
    "fields. archive: everything, encrypted. fhir, hl7: for laboratory systems. training: the "
    "cells that people named and the samples with an analyser's values, as a data set that "
    "`edgehemo train` takes; always without names.",
)
@click.option(
    "--out",
    metavar="PATH",
    required=True,
    type=click.Path(path_type=Path),
    help="The file to be written; a folder of the formats folder, geojson and training, and "
    "of several reports or messages.",
)
@click.option(
    "--identified",
    is_flag=True,
    help="With the sample's number, operator, site, exact date and age. Without it none of them "
    "leaves the device.",
)
@click.option(
    "--to",
    "recipients",
    metavar="KEY",
    multiple=True,
    help="Public key of age (age1...) that may open the archive, beside those of the device "
    "configuration. May be repeated.",
)
@click.option(
    "--paper",
    type=click.Choice(["a4", "letter", "a4_one_page", "roll_80mm"]),
    default="a4",
    show_default=True,
    help="Of a pdf; a4_one_page and roll_80mm hold the first page alone.",
)
@click.option(
    "--hl7-version",
    type=click.Choice(["2.5.1", "2.3.1"]),
    default="2.5.1",
    show_default=True,
    help="Of an hl7 message.",
)
@click.option(
    "--language",
    type=click.Choice(["en", "es", "fr", "pt", "sw"]),
    help="Of reports. Default: as the device configuration says.",
)
@common.json_option
def export(
    identifiers: tuple[str, ...],
    everything: bool,
    kind: str,
    out: Path,
    identified: bool,
    recipients: tuple[str, ...],
    paper: Paper,
    hl7_version: Hl7Version,
    language: Language | None,
    json_file: str | None,
) -> int:
    """Export stored results; that they left the device is noted in the chain.

    An archive is a tar file that the public program age opens: age -d -i KEY FILE | tar x.
    """
    from edgehemo.device.recorded import command_actor
    from edgehemo.interop.exports import EXPORTS
    from edgehemo.records.deidentified import View
    from edgehemo.records.exports.exporting import Exporting
    from edgehemo.records.output import RecordsExportedOutput
    from edgehemo.records.results import number_of, result_at

    if bool(identifiers) == everything:
        raise UsageError("name the results to export, or give --all")
    device, store = _device_and_store()
    chosen = EXPORTS[kind]
    with store.reader() as reader:
        numbers = (
            [row[0] for row in reader.rows("SELECT number FROM result ORDER BY number")]
            if everything
            else list(dict.fromkeys(number_of(reader, name) for name in identifiers))
        )
        results = [result_at(reader, number) for number in numbers]
        if not results:
            raise UsageError("there is no stored result to export")
        head = reader.head()
        with common.Progress("exporting", len(results)) as progress:
            exporting = Exporting(
                reader,
                results,
                View.of(reader, identified=identified),
                head,
                (*device.records.recipients, *recipients),
                replace(device.words, language=language or device.kiosk.language),
                paper,
                hl7_version,
                progress.advance,
            )
            chosen.write(exporting, out)
        details = {"format": kind, "identified": identified, "pictures": chosen.pictures}
        reader.notes(
            [("result exported", result.id, details) for result in results], by=command_actor()
        )
    common.say(f"{counted(len(results), 'result')}: {out}", json_file)
    common.say(f"chain {head}", json_file)
    output = RecordsExportedOutput(
        format=kind,
        identified=identified,
        out=str(out),
        results=[result.id for result in results],
        audit=head,
    )
    common.write_json(json_file, output)
    return EXIT_DONE


@records.command()
@click.argument(
    "folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path, file_okay=False)
)
@common.json_option
def backup(folder: Path | None, json_file: str | None) -> int:
    """Back up everything into DIR and read it back; without DIR onto the device's USB stick.

    The stick is found by its label (backup_label in the device configuration). Only what is new is
    copied; the newest 14 backups are kept. Results may be stored meanwhile.
    """
    from edgehemo.device.recorded import command_actor
    from edgehemo.records.backup import back_up, stick
    from edgehemo.records.clock import now
    from edgehemo.records.output import RecordsBackupOutput

    device, store = _device_and_store()
    place = stick(device.records.backup_label) if folder is None else folder
    with store.reader() as reader, common.Progress("backing up") as progress:
        made = back_up(
            reader,
            place,
            at=now().isoformat(timespec="seconds"),
            by=command_actor(),
            on_content=lambda _, total: progress.advance(),
        )
    manifest = made.manifest
    common.say(
        f"{counted(manifest.results, 'result')} backed up and read back, {made.copied} of "
        f"{counted(manifest.contents, 'content')} new ({made.copied_bytes / 1e6:.1f} MB): "
        f"{made.path}",
        json_file,
    )
    output = RecordsBackupOutput(
        manifest=str(made.path),
        results=manifest.results,
        contents=manifest.contents,
        copied=made.copied,
        copied_bytes=made.copied_bytes,
        sha256=manifest.sha256,
        audit=manifest.audit,
    )
    common.write_json(json_file, output)
    return EXIT_DONE


@records.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--force", is_flag=True, help="Put the records that are here aside, under another name."
)
@common.json_option
def restore(file: Path, force: bool, json_file: str | None) -> int:
    """Put a backup in the place of this device's records.

    FILE: a backup's .json or .sqlite3, or the folder of the backups, whose newest is taken.
    Everything is checked before anything is put in place, and afterwards.
    """
    from edgehemo.records.backup import restore as restored
    from edgehemo.records.output import RecordsRestoreOutput
    from edgehemo.records.verifying import verify as verified

    store = _store()
    with common.Progress("restoring") as progress:
        manifest = restored(
            file,
            store.folder,
            replace=force,
            on_content=lambda _, total: progress.advance(),
        )
    with store.reader() as reader:
        found = verified(reader)
        head = reader.head()
    for fault in found.faults:
        common.complain(fault)
    common.say(
        f"restored the backup of {manifest.made_at}: "
        f"{counted(found.results, 'result')}, {counted(found.contents, 'content')}"
        + (": whole" if found.whole else ""),
        json_file,
    )
    output = RecordsRestoreOutput(
        backup=manifest.number,
        made_at=manifest.made_at,
        results=found.results,
        contents=found.contents,
        whole=found.whole,
        audit=head,
    )
    common.write_json(json_file, output)
    return EXIT_DONE if found.whole else EXIT_WITHHELD


@records.command()
@click.option("--dry-run", is_flag=True, help="Say what would go, and let it stay.")
@common.json_option
def purge(dry_run: bool, json_file: str | None) -> int:
    """Delete the pictures of old results, as the device's policy says.

    Only those that were backed up or exported with their pictures, and never of a held result.
    The results, all numbers and the chain stay.
    """
    from edgehemo.device.recorded import command_actor
    from edgehemo.records.clock import now
    from edgehemo.records.output import RecordsPurgeOutput
    from edgehemo.records.retention import purge as purged
    from edgehemo.records.retention import purgeable

    device, store = _device_and_store()
    if dry_run:
        with store.reader() as reader:
            found = purgeable(reader, device.records, now())
    else:
        with store.writer() as writer:
            found = purged(writer, device.records, now(), by=command_actor())
    common.say(
        f"{counted(len(found.pictures), 'picture')} of {counted(found.results, 'result')}, "
        f"{found.bytes / 1e6:.1f} MB" + (" would go" if dry_run else " purged"),
        json_file,
    )
    if found.waiting:
        common.say(
            f"{counted(found.waiting, 'more result')} old enough, but held or nowhere else yet: "
            "back up first",
            json_file,
        )
    output = RecordsPurgeOutput(
        purged=not dry_run,
        pictures=len(found.pictures),
        bytes=found.bytes,
        results=found.results,
        waiting=found.waiting,
    )
    common.write_json(json_file, output)
    return EXIT_DONE


@records.command(name="trust-clock")
@click.option("--by", required=True, metavar="NAME", help="Who looked at a watch.")
@click.option("--reason", required=True, metavar="TEXT", help="What had happened to the clock.")
def trust_clock(by: str, reason: str) -> int:
    """The clock is right now: dates in the records that lie after it were wrong.

    A clock that stood in the future once would make every later one seem not set. What was stored
    keeps the date it has.
    """
    from edgehemo.device.clock import forget_last_result
    from edgehemo.records.clock import now

    device, store = _device_and_store()
    with store.writer() as writer:
        at = now().isoformat(timespec="seconds")
        writer.note("clock trusted", details={"at": at, "reason": reason}, by=by)
    forget_last_result(device.data_dir)
    common.say(f"the clock says {at} and is believed")
    return EXIT_DONE


def _change_options(reason_needed: bool) -> Callable[[_Command], _Command]:
    """ID, --by, --reason and --json of the commands that make a new version."""

    def add(command: _Command) -> _Command:
        for option in (
            common.json_option,
            click.option(
                "--reason", required=reason_needed, default="", metavar="TEXT", help="Why."
            ),
            click.option("--by", required=True, metavar="NAME", help="Who answers for it."),
            click.argument("identifier", metavar="ID"),
        ):
            command = option(command)
        return command

    return add


@records.command()
@_change_options(reason_needed=False)
def sign(identifier: str, by: str, reason: str, json_file: str | None) -> int:
    """Sign a result off: somebody looked at it and answers for it."""
    return _changed(identifier, "signed", by, reason, json_file)


@records.command()
@_change_options(reason_needed=True)
def hold(identifier: str, by: str, reason: str, json_file: str | None) -> int:
    """Hold a result: it is not to be used until it is released."""
    return _changed(identifier, "held", by, reason, json_file)


@records.command()
@_change_options(reason_needed=True)
def release(identifier: str, by: str, reason: str, json_file: str | None) -> int:
    """Release a held result; it is again what it was before."""
    return _changed(identifier, "released", by, reason, json_file)


@records.command()
@_change_options(reason_needed=True)
def withdraw(identifier: str, by: str, reason: str, json_file: str | None) -> int:
    """Withdraw a result for ever. It stays in the records, marked so."""
    return _changed(identifier, "withdrawn", by, reason, json_file)


@records.command()
@_change_options(reason_needed=True)
@click.option("--sample", metavar="ID", help="The right number of the sample.")
@click.option(
    "--cell",
    "cells",
    nargs=3,
    type=(click.IntRange(min=1), click.IntRange(min=1), str),
    multiple=True,
    metavar="FIELD CELL TYPE",
    help="Another name for a cell, both counted from 1 as `show --json` lists them.",
)
@click.option(
    "--grade",
    type=click.Choice(["none", "mild", "moderate", "severe", "withdrawn"]),
    help="A person's word in the place of the WHO grade; withdrawn: there is to be none.",
)
@click.option("--comment", metavar="TEXT", help="For whoever reads the report.")
def correct(
    identifier: str,
    by: str,
    reason: str,
    sample: str | None,
    cells: tuple[tuple[int, int, str], ...],
    grade: str | None,
    comment: str | None,
    json_file: str | None,
) -> int:
    """Correct a result: a new version beside what was measured, which stays as it is."""
    from edgehemo.records.versions import Amendments, Override, RenamedCell

    if sample is None and not cells and grade is None and comment is None:
        raise UsageError("say what is corrected: --sample, --cell, --grade or --comment")
    override = None
    if grade is not None:
        override = Override(grade=None if grade == "withdrawn" else grade)
    amendments = Amendments(
        sample=sample,
        cells=tuple(
            RenamedCell(field=field - 1, cell=cell - 1, type=kind) for field, cell, kind in cells
        ),
        override=override,
        comment=comment,
    )
    return _changed(identifier, "corrected", by, reason, json_file, amendments)


def _changed(
    identifier: str,
    what: Change,
    by: str,
    reason: str,
    json_file: str | None,
    amendments: Amendments | None = None,
) -> int:
    from edgehemo.interop.outbox import noting
    from edgehemo.records.output import RecordsChangeOutput, VersionEntry
    from edgehemo.records.results import number_of, result_at
    from edgehemo.records.versions import change

    device, store = _device_and_store()
    hooks = noting(device.receivers)
    with store.writer() as writer:
        name = result_at(writer, number_of(writer, identifier)).id
        made = change(writer, name, what, by=by, reason=reason, amendments=amendments, hooks=hooks)
        head = writer.head()
    common.say(f"{name}: version {made.version}, {made.state}", json_file)
    output = RecordsChangeOutput(result_id=name, version=VersionEntry.of(made), audit=head)
    common.write_json(json_file, output)
    return EXIT_DONE


def _store() -> Store:
    return _device_and_store()[1]


def _device_and_store() -> tuple[DeviceConfiguration, Store]:
    from edgehemo.device.configuration import load_device
    from edgehemo.records.store import Store

    device = load_device(None)
    return device, Store.below(device.data_dir)


def _line(row: Listed, marked: bool) -> str:
    from edgehemo.measurands import MEASURAND_FACTS

    when = row.made_at[:16].replace("T", " ") if row.clock == "set" else "clock unset     "
    said: str = row.outcome
    if row.hgb_g_per_l is not None:
        said = f"HGB {MEASURAND_FACTS['hgb_g_per_l'].with_unit(row.hgb_g_per_l)}"
    if row.grade is not None:
        said += f", {row.grade}"
    simulated = "  SIMULATED" if row.simulated else ""
    control = "  CONTROL FAILED" if marked else ""
    return f"{row.id}  {when}  {row.sample:<16}  {row.state:<9}  {said}{simulated}{control}"


def _heading(result: StoredResult) -> list[str]:
    from edgehemo.records.versions import amendments_of

    when = result.made_at if result.clock == "set" else f"clock unset (it said {result.made_at})"
    lines = [f"result {result.id}, {result.latest.state}, version {result.latest.version}"]
    lines.append(f"made {when} on {result.device} with edgehemo {result.software_version}")
    for version in result.versions[1:]:
        why = f": {version.reason}" if version.reason else ""
        lines.append(f"version {version.version} {version.change} by {version.by}{why}")
    amendments = amendments_of(result.latest)
    if amendments.override is not None:
        lines.append(f"grade by a person: {amendments.override.grade or 'withdrawn'}")
    lines += [
        f"cell {cell.cell + 1} of field {cell.field + 1} is {cell.type}, says a person"
        for cell in amendments.cells
    ]
    if amendments.comment is not None:
        lines.append(f"comment: {amendments.comment}")
    if result.sample_now != result.sample:
        lines.append(f"sample {result.sample_now} (entered as {result.sample})")
    return lines
