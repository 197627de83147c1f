"""Everything at once: one device, one period."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from edgehemo.monitor.baseline import Period
from edgehemo.monitor.controls import controls
from edgehemo.monitor.events import Event, events, stated_baseline
from edgehemo.monitor.findings import DriftFinding, findings
from edgehemo.monitor.judging import Judged, judge
from edgehemo.monitor.names import Reviewed, reviewed
from edgehemo.monitor.points import By
from edgehemo.monitor.series import Rows, Scope, series
from edgehemo.monitor.tables import (
    Agreement,
    OperatorRow,
    Refusal,
    Week,
    agreement,
    operators,
    refusals,
    weeks,
)

# What reviews, pairs and refusals are counted over: the latest quarter, and the latest weeks.
REVIEWED_OVER = timedelta(days=91)
REFUSALS_OVER = timedelta(days=28)


@dataclass(frozen=True, slots=True)
class Observation:
    """How a device has changed. device: None where there is no result; known: whether the records
    hold one of it. others: the store's other devices. results: how many are looked at; undated:
    left out because nobody knows when they were made; simulated: whether they are the simulated
    microscope's, and other_kind: how many there are of the other. since, until: the first and last
    day looked at, None without a result. baseline: where it was stated. refusals: of the latest
    four weeks, with the four before.
    """

    device: str | None
    known: bool
    others: tuple[str, ...]
    simulated: bool
    other_kind: int
    results: int
    undated: int
    since: date | None
    until: date | None
    by: By
    baseline: Period | None
    judged: tuple[Judged, ...]
    controls: tuple[Judged, ...]
    events: tuple[Event, ...]
    refusals: tuple[Refusal, ...]
    weeks: tuple[Week, ...]
    agreement: Agreement | None
    reviewed: Reviewed
    operators: tuple[OperatorRow, ...]
    findings: tuple[DriftFinding, ...]


def observe(
    reader: Rows,
    *,
    device: str | None = None,
    simulated: bool = False,
    since: date | None = None,
    until: date | None = None,
    baseline: Period | None = None,
    by: By = "day",
) -> Observation:
    """Read the records of a device and judge them.

    device: its name, None for that of the newest result. simulated: the simulated microscope's
    results instead of the real ones. since, until: what is judged and shown, both days among it; a
    baseline may lie before. baseline: None for the one that was stated in the records, else the
    usual one.
    """
    known = _devices(reader, simulated)
    chosen = device if device is not None or not known else known[0]
    scope = Scope(chosen, simulated, None, until)
    shown = Scope(chosen, simulated, since, until)
    stated = baseline or stated_baseline(reader)
    judged = tuple(judge(item, stated, since, until) for item in series(reader, scope, by=by))
    results, first, last = _extent(reader, shown)
    slides = controls(reader, since, until)
    happened = events(reader, scope)
    recent = Scope(chosen, simulated, _before(last, REVIEWED_OVER, since), until)
    names = reviewed(reader, recent)
    pairs = agreement(reader, recent)
    month = Scope(chosen, simulated, _before(last, REFUSALS_OVER, since), until)
    month_before = None
    if month.since is not None:
        month_before = Scope(
            chosen, simulated, month.since - REFUSALS_OVER, month.since - timedelta(days=1)
        )
    refused = refusals(reader, month, month_before)
    return Observation(
        device=chosen,
        known=chosen in known,
        others=tuple(name for name in known if name != chosen),
        simulated=simulated,
        other_kind=_count(reader, "r.simulated != :simulated", {"simulated": int(simulated)}),
        results=results,
        undated=_count(
            reader,
            "r.clock != 'set' AND r.simulated = :simulated",
            {"simulated": int(simulated)},
        ),
        since=first,
        until=last,
        by=by,
        baseline=stated,
        judged=judged,
        controls=slides,
        events=happened,
        refusals=refused,
        weeks=weeks(reader, shown),
        agreement=pairs,
        reviewed=names,
        operators=operators(reader, recent),
        findings=findings(
            judged,
            controls=slides,
            events=happened,
            refusals=refused,
            agreement=pairs,
            reviewed=names,
        ),
    )


def _before(last: date | None, span: timedelta, since: date | None) -> date | None:
    if last is None:
        return since
    begun = last - span + timedelta(days=1)
    return begun if since is None else max(begun, since)


def _devices(reader: Rows, simulated: bool) -> list[str]:
    """The devices of the store, that of the newest result first."""
    rows = reader.rows(
        "SELECT device FROM result WHERE simulated = ? GROUP BY device ORDER BY max(number) DESC",
        (int(simulated),),
    )
    return [str(row[0]) for row in rows]


def _extent(reader: Rows, scope: Scope) -> tuple[int, date | None, date | None]:
    where, values = scope.where()
    ((count, first, last),) = reader.rows(
        "SELECT count(*), min(substr(r.made_at, 1, 10)), max(substr(r.made_at, 1, 10)) "
        f"FROM result r WHERE {where}",
        values,
    )
    if not count:
        return 0, None, None
    return int(count), date.fromisoformat(first), date.fromisoformat(last)


def _count(reader: Rows, where: str, values: dict[str, object]) -> int:
    ((count,),) = reader.rows(f"SELECT count(*) FROM result r WHERE {where}", values)
    return int(count)
