"""`edgehemo monitor`: how this device has changed over weeks, and what to do about it."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_DONE, EXIT_WITHHELD, RecordsBusyError, UsageError
from edgehemo.words.counted import counted

if TYPE_CHECKING:
    from edgehemo.monitor.baseline import Period
    from edgehemo.monitor.overview import Observation
    from edgehemo.records.store import Store

KINDS = ("stain lot", "lamp", "service", "other")


def _day(_: click.Context, option: click.Parameter, value: str | None) -> date | None:
    if value is None:
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is no date; write it as 2026-11-27", param=option
        ) from None


def _period(_: click.Context, option: click.Parameter, value: str | None) -> Period | None:
    """Two days with .. between them."""
    if value is None:
        return None
    from edgehemo.monitor.baseline import Period

    first, separator, last = value.partition("..")
    try:
        period = Period(date.fromisoformat(first), date.fromisoformat(last))
    except ValueError:
        period = None
    if period is None or not separator:
        raise click.BadParameter(
            f"{value!r} is no period; write it as 2026-09-01..2026-10-15", param=option
        )
    if period.until < period.since:
        raise click.BadParameter("the period ends before it begins", param=option)
    return period


_by = click.option("--by", required=True, metavar="NAME", help="Who answers for it.")


@click.group()
def monitor() -> None:
    """Say how this device has changed over weeks: light, stain, focus, cells, results."""


@monitor.command()
@click.option("--since", callback=_day, metavar="DATE", help="Judge from this day on.")
@click.option("--until", callback=_day, metavar="DATE", help="Judge up to this day.")
@click.option(
    "--baseline",
    callback=_period,
    metavar="FIRST..LAST",
    help="Learn the limits from these days, such as 2026-09-01..2026-10-15. Without it from those "
    "that were stated with `edgehemo monitor baseline`, else from the first 30 days with samples.",
)
@click.option(
    "--every",
    type=click.Choice(["day", "week"]),
    default="day",
    show_default=True,
    help="A point of the charts is the mean of a day, or of a week.",
)
@click.option("--device", metavar="NAME", help="Of this device, where the records hold several.")
@click.option(
    "--simulated", is_flag=True, help="Of the simulated microscope's results, not the real ones."
)
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the page with all charts to FILE (HTML).",
)
@common.json_option
def report(
    since: date | None,
    until: date | None,
    baseline: Period | None,
    every: Literal["day", "week"],
    device: str | None,
    simulated: bool,
    out: Path | None,
    json_file: str | None,
) -> int:
    """Say what has changed, how much, since when and what to do; exit code 1 where something has.

    The results of the records are summed up by day. Limits are learnt from a baseline; a change is
    a finding where a chart alarms and it is as large as matters.
    """
    from edgehemo.files.atomic import write_text_atomically
    from edgehemo.monitor.output import MonitorOutput
    from edgehemo.monitor.overview import observe
    from edgehemo.monitor.page import monitor_page
    from edgehemo.records.clock import now

    if since is not None and until is not None and until < since:
        raise UsageError("--until lies before --since")
    store = _store()
    if not store.folder.exists():
        raise UsageError("there are no records yet; `edgehemo screen --record` makes the first")
    _catch_up(store)
    with store.reader() as reader:
        seen = observe(
            reader,
            device=device,
            simulated=simulated,
            since=since,
            until=until,
            baseline=baseline,
            by=every,
        )
        head = reader.head()
    if device is not None and not seen.known:
        raise UsageError(f"the records hold no device {device!r}")
    for line in _lines(seen):
        common.say(line, json_file)
    if out is not None:
        write_text_atomically(out, monitor_page(seen, head, now()))
        common.say(f"page: {out}", json_file)
    common.write_json(json_file, MonitorOutput.of(seen, head))
    return EXIT_WITHHELD if seen.findings else EXIT_DONE


@monitor.command()
@click.argument("text", metavar="TEXT")
@click.option("--kind", type=click.Choice(KINDS), required=True, help="What it was done to.")
@click.option("--on", "day", callback=_day, metavar="DATE", help="When; today without it.")
@_by
def note(
    text: str, kind: Literal["stain lot", "lamp", "service", "other"], day: date | None, by: str
) -> int:
    """Note what was done to the device, so that a change that follows is understood.

    TEXT: a few words, such as "Giemsa lot 4711"; nothing about a patient.
    """
    from edgehemo.monitor.events import Event, note_event
    from edgehemo.records.clock import now

    event = Event(now().date() if day is None else day, kind, text)
    with _store().writer() as writer:
        note_event(writer, event, by=by)
        head = writer.head()
    common.say(f"noted: {event.day}, {kind}: {text}")
    common.say(f"chain {head}")
    return EXIT_DONE


@monitor.command()
@click.argument("period", metavar="[FIRST..LAST]", required=False, callback=_period)
@click.option("--usual", is_flag=True, help="Take a stated one back: the first days again.")
@click.option("--reason", metavar="TEXT", default="", help="Why these days.")
@_by
def baseline(period: Period | None, usual: bool, reason: str, by: str) -> int:
    """State from which days the limits are learnt, from now on: after a new lamp or a repair."""
    from edgehemo.monitor.baseline import MIN_DAYS, Period
    from edgehemo.monitor.events import state_baseline

    if (period is None) != usual:
        raise UsageError("give the days as FIRST..LAST, or --usual")
    stated = None if period is None else Period(period.since, period.until, reason)
    with _store().writer() as writer:
        state_baseline(writer, stated, by=by)
        head = writer.head()
    if stated is None:
        common.say("the limits are learnt from the first days again")
    else:
        common.say(
            f"the limits are learnt from {stated.since} to {stated.until}; {MIN_DAYS} days with "
            "samples are needed among them"
        )
    common.say(f"chain {head}")
    return EXIT_DONE


def _store() -> Store:
    from edgehemo.device.configuration import load_device
    from edgehemo.records.store import Store

    return Store.below(load_device(None).data_dir)


def _catch_up(store: Store) -> None:
    """Sum up results from before there were such sums; where another writes, they are left out."""
    from edgehemo.records.measured import catch_up, unmeasured

    with store.reader() as reader:
        missing = len(unmeasured(reader))
    if not missing:
        return
    try:
        with (
            store.writer() as writer,
            common.Progress("reading older results", missing) as progress,
        ):
            done = 0

            def advance(count: int, _: int) -> None:
                nonlocal done
                for _step in range(count - done):
                    progress.advance()
                done = count

            catch_up(writer, advance)
    except RecordsBusyError:
        common.complain(
            f"{missing} older results are not summed up yet, and another edgehemo is writing the "
            "records: light, stain, focus and cells of these are left out"
        )


def _lines(seen: Observation) -> list[str]:
    if not seen.results:
        kind = "simulated " if seen.simulated else ""
        lines = [f"no {kind}result of this device in this period"]
        if seen.other_kind and not seen.simulated:
            lines.append(f"see --simulated: {counted(seen.other_kind, 'simulated result')}")
        return lines
    simulated = "SIMULATED, " if seen.simulated else ""
    lines = [
        f"{seen.device}: {simulated}{counted(seen.results, 'result')}, {seen.since} to {seen.until}"
    ]
    for item in seen.findings:
        lines.append(f"{item.code}: {item.reason}")
        lines += [f"  at that time: {event.day}, {event.text}" for event in item.causes]
        lines.append(f"  {item.action}")
    lacking = [item for item in seen.judged if item.baseline is None and item.series.points]
    if not seen.findings:
        watched = sum(item.baseline is not None for item in seen.judged)
        lines.append(
            f"nothing found in {watched} quantities"
            if watched
            else "nothing is judged yet: a baseline needs 10 days with samples"
        )
    if lacking and len(lacking) < len([item for item in seen.judged if item.series.points]):
        named = ", ".join(item.series.quantity.label for item in lacking)
        lines.append(f"not judged yet, fewer than 10 days with a value: {named}")
    if seen.undated:
        lines.append(f"left out: {counted(seen.undated, 'result')} of a time that nobody knows")
    return lines
