"""`edgehemo records`: the stored results of this device."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_DONE, EXIT_WITHHELD, UsageError

if TYPE_CHECKING:
    from edgehemo.records.results import Change, Listed, StoredResult
    from edgehemo.records.store import Store
    from edgehemo.records.versions import Amendments

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
    """List, show and check the stored results of this device."""


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
    state: str | None,
    limit: int,
    json_file: str | None,
) -> int:
    """The stored results, newest first."""
    from edgehemo.records.output import ListedEntry, RecordsListOutput
    from edgehemo.records.results import State, Wanted, count, listed

    if until is not None and (until.hour, until.minute, until.second) == (0, 0, 0):
        until += timedelta(days=1)
    assert state is None or state in get_args(State)
    wanted = Wanted(since, until, sample, state)  # type: ignore[arg-type]  # click checked it
    store, found = _store(), 0
    rows: list[Listed] = []
    if store.folder.exists():
        with store.reader() as reader:
            rows = listed(reader, wanted, limit=limit)
            found = len(rows) if len(rows) < limit else count(reader, wanted)
    for row in rows:
        common.say(_line(row), json_file)
    if not rows:
        common.say("no stored result of these", json_file)
    elif found > len(rows):
        common.say(f"{len(rows)} of {found}; --limit shows more", json_file)
    output = RecordsListOutput(found=found, results=[ListedEntry.of(row) for row in rows])
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
        head = reader.head()
    for line in _heading(result):
        common.say(line, json_file)
    for line in lines_of(record):
        common.say(line, json_file)
    person = None if result.person is None else msgspec.to_builtins(result.person)
    shown = ShownResult.of(result, record, person, kept)
    common.write_json(json_file, RecordsShowOutput(result=shown, audit=head))
    return EXIT_DONE


@records.command()
@click.option(
    "--quick", is_flag=True, help="Look whether the pictures are there, not what is in them."
)
@common.json_option
def verify(quick: bool, json_file: str | None) -> int:
    """Check the chain, every row and every picture; exit code 1 where something was changed.

    The last line is the head of the chain: the same number and digits stand on the reports made at
    that time, and in every backup.
    """
    from edgehemo.device.recorded import command_actor
    from edgehemo.records.output import RecordsVerifyOutput
    from edgehemo.records.verifying import verify as verified

    with _store().reader() as reader:
        with common.Progress("verifying", long=not quick) as progress:
            found = verified(
                reader, contents=not quick, on_content=lambda _, total: progress.advance()
            )
        details = {"faults": len(found.faults), "contents": not quick}
        reader.note("records verified", details=details, by=command_actor())
        head = reader.head()
    for fault in found.faults:
        common.complain(fault)
    common.say(
        f"{found.results} results in {found.versions} versions, {found.entries} entries in the "
        f"chain, {found.contents} contents"
        + (f", {found.purged} purged" if found.purged else "")
        + (": whole" if found.whole else f": {len(found.faults)} faults"),
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
    common.say(f"{result.id}: {found.values} values compared: {verdict}", json_file)
    if not found.same and found.version != found.stored_version:
        common.say(
            f"it was made by edgehemo {found.stored_version}, this is {found.version}", json_file
        )
    common.write_json(json_file, RecordsReplayOutput.of(found))
    return EXIT_DONE if found.same else EXIT_WITHHELD


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
    from edgehemo.records.output import RecordsChangeOutput, VersionEntry
    from edgehemo.records.results import number_of, result_at
    from edgehemo.records.versions import change

    with _store().writer() as writer:
        name = result_at(writer, number_of(writer, identifier)).id
        made = change(writer, name, what, by=by, reason=reason, amendments=amendments)
        head = writer.head()
    common.say(f"{name}: version {made.version}, {made.state}", json_file)
    output = RecordsChangeOutput(result_id=name, version=VersionEntry.of(made), audit=head)
    common.write_json(json_file, output)
    return EXIT_DONE


def _store() -> Store:
    from edgehemo.device.configuration import load_device
    from edgehemo.records.store import Store

    return Store.below(load_device(None).data_dir)


def _line(row: Listed) -> str:
    from edgehemo.measurands import MEASURAND_FACTS

    when = row.made_at[:16].replace("T", " ") if row.clock == "set" else "clock unset     "
    said: str = row.outcome
    if row.hgb_g_per_l is not None:
        said = f"HGB {MEASURAND_FACTS['hgb_g_per_l'].with_unit(row.hgb_g_per_l)}"
    if row.grade is not None:
        said += f", {row.grade}"
    simulated = "  SIMULATED" if row.simulated else ""
    return f"{row.id}  {when}  {row.sample:<16}  {row.state:<9}  {said}{simulated}"


def _heading(result: StoredResult) -> list[str]:
    when = result.made_at if result.clock == "set" else f"clock unset (it said {result.made_at})"
    lines = [f"result {result.id}, {result.latest.state}, version {result.latest.version}"]
    lines.append(f"made {when} on {result.device} with edgehemo {result.software_version}")
    for version in result.versions[1:]:
        why = f": {version.reason}" if version.reason else ""
        lines.append(f"version {version.version} {version.change} by {version.by}{why}")
    if result.sample_now != result.sample:
        lines.append(f"sample {result.sample_now} (entered as {result.sample})")
    return lines
