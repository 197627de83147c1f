"""A series held against its baseline: the charts' steps, and alarms with their beginnings. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from edgehemo.control.westgard import Rule, evaluate
from edgehemo.monitor.baseline import Baseline, Period, baseline_of, usual_baseline
from edgehemo.monitor.points import Point, Series, joined
from edgehemo.monitor.quantities import Quantity
from edgehemo.monitor.rules import Step, steps
from edgehemo.statistics.normal import Z_95
from edgehemo.statistics.student import t95
from edgehemo.words.counted import counted

# Points that say where a series is now: a week's.
LATEST_POINTS = 5
# How well a change must be known, as a share of the smallest that matters: so far the half width of
# its 95 % interval may reach before older points are looked at, and so large the near end of the
# interval must be before there is a finding.
KNOWN_TO = 0.5


@dataclass(frozen=True, slots=True)
class Change:
    """How far a series has moved. now: the mean of its latest points, from first to last. change
    with its 95 % interval: in the quantity's unit, or as a share of the baseline's mean where the
    quantity says so.
    """

    now: float
    first: date
    last: date
    results: int
    change: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Alarm:
    """A chart beyond its limit. direction: 1 up, -1 down. since: the first day of the change as the
    chart tells it (Page: the point after which the sum was no more 0). noticed: the day on which
    it alarmed. ended: the first day on which it did not any more, None where it does still. by: the
    charts that alarmed.
    """

    direction: int
    since: date
    noticed: date
    ended: date | None
    by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """A series with all that is known of it. baseline: None where there is none, and ``lacking``
    says why. judged: the points after the baseline; steps: the charts' steps along them; rules: the
    Westgard rules that each breaks. change: None without points after the baseline.
    """

    series: Series
    baseline: Baseline | None
    lacking: str
    judged: tuple[Point, ...] = ()
    steps: tuple[Step, ...] = ()
    rules: tuple[tuple[Rule, ...], ...] = ()
    alarms: tuple[Alarm, ...] = ()
    change: Change | None = None

    @property
    def alarm(self) -> Alarm | None:
        """The alarm that lasts."""
        return self.alarms[-1] if self.alarms and self.alarms[-1].ended is None else None

    @property
    def matters(self) -> bool:
        """Whether an alarm lasts that is trouble, and the change is surely one that matters."""
        alarm, change = self.alarm, self.change
        if alarm is None or change is None:
            return False
        return _matters(self.series.quantity, alarm.direction, change)


def judge(
    series: Series,
    stated: Period | None = None,
    since: date | None = None,
    until: date | None = None,
) -> Judged:
    """Learn the baseline and judge what follows it.

    stated: the baseline's days; None for the usual ones. since, until: what is judged, both among
    it; the baseline may lie before.
    """
    if stated is None:
        learnt = usual_baseline(series)
    else:
        learnt = series.between(stated.since, stated.until).points
    baseline = baseline_of(series.quantity, learnt)
    if baseline is None:
        return Judged(series, None, f"{counted(len(learnt), 'day')} with a value, 10 are needed")
    inside = set(learnt)
    points = [point for point in series.points if point not in inside]
    shown = Series(series.quantity, tuple(points)).between(since, until).points
    if stated is not None:
        # What lies before a stated baseline was before the repair that it begins with.
        shown = tuple(point for point in shown if point.day > stated.until)
    return judged_against(series, baseline, shown)


def judged_against(series: Series, baseline: Baseline, points: Sequence[Point]) -> Judged:
    """Judge points by a baseline that is known."""
    scores = [baseline.score(point) for point in points]
    walked = steps(scores, doubt=baseline.doubt, freedom=baseline.freedom)
    rules = []
    for number in range(len(walked)):
        outcome = evaluate([step.score for step in walked[max(0, number - 9) : number + 1]])
        rules.append(outcome.rejected_by)
    alarms = tuple(alarms_of(points, walked))
    since = alarms[-1].since if alarms and alarms[-1].ended is None else None
    return Judged(
        series,
        baseline,
        "",
        tuple(points),
        tuple(walked),
        tuple(rules),
        alarms,
        None if not points else change_of(series.quantity, baseline, points, since),
    )


def alarms_of(points: Sequence[Point], walked: Sequence[Step]) -> list[Alarm]:
    """The alarms along a series, oldest first."""
    found: list[Alarm] = []
    open_at: int | None = None
    for number, step in enumerate(walked):
        direction = step.direction
        if open_at is not None and direction != walked[open_at].direction:
            found.append(_alarm(points, walked, open_at, number))
            open_at = None
        if open_at is None and direction:
            open_at = number
    if open_at is not None:
        found.append(_alarm(points, walked, open_at, None))
    return found


def _alarm(points: Sequence[Point], walked: Sequence[Step], first: int, ended: int | None) -> Alarm:
    direction = walked[first].direction
    by = dict.fromkeys(
        chart for step in walked[first : ended or len(walked)] for chart in step.alarmed_by
    )
    return Alarm(
        direction,
        points[_began(walked, first, direction)].day,
        points[first].day,
        None if ended is None else points[ended].day,
        tuple(by),
    )


def _began(walked: Sequence[Step], first: int, direction: int) -> int:
    """The place of the first point of a change that was noticed at ``first``: where the sum left 0,
    or where the weighted mean came to this side, whichever the alarm stands on.
    """

    def quiet(step: Step) -> bool:
        total = step.up if direction > 0 else step.down
        return total == 0 if "CUSUM" in walked[first].alarmed_by else step.ewma * direction <= 0

    began = first
    while began > 0 and not quiet(walked[began - 1]):
        began -= 1
    return began


def mattered(judged: Judged) -> list[bool]:
    """At each judged point whether there was a finding then: what a report of every day before
    would have said.
    """
    baseline, found, points = judged.baseline, list[bool](), judged.judged
    if baseline is None:
        return found
    open_at: int | None = None
    since = points[0].day if points else None
    for number, step in enumerate(judged.steps):
        direction = step.direction
        if not direction:
            open_at = None
        elif open_at is None or judged.steps[open_at].direction != direction:
            open_at = number
            since = points[_began(judged.steps, number, direction)].day
        if open_at is None or since is None:
            found.append(False)
            continue
        change = change_of(judged.series.quantity, baseline, points[: number + 1], since)
        found.append(_matters(judged.series.quantity, direction, change))
    return found


def _matters(quantity: Quantity, direction: int, change: Change) -> bool:
    code = quantity.up if direction > 0 else quantity.down
    near = min(change.low * direction, change.high * direction)
    return (
        code is not None
        and change.change * direction >= quantity.change
        and near >= KNOWN_TO * quantity.change
    )


def change_of(
    quantity: Quantity, baseline: Baseline, points: Sequence[Point], since: date | None
) -> Change:
    """Where a series is now against its baseline, from its latest points: at least 5, and as many
    as are needed to know the change to half of what matters, but none from before ``since``.
    """
    unit = abs(baseline.mean) if quantity.relative else 1.0
    reach = Z_95 if baseline.freedom is None else t95(baseline.freedom)
    latest: list[Point] = []
    total = weighted = half = 0.0
    for point in reversed(points):
        if latest and since is not None and point.day < since:
            break
        weight = baseline.spread(point.results) ** -2
        total += weight
        weighted += weight * point.mean
        latest.append(point)
        half = reach * math.sqrt(1 / total + baseline.mean_error**2)
        if len(latest) >= LATEST_POINTS and half <= quantity.change * unit * KNOWN_TO:
            break
    latest.reverse()
    now = weighted / total
    moved = now - baseline.mean
    whole = joined(latest, latest[0].day)
    if unit == 0:
        moved, half, unit = 0.0, 0.0, 1.0
    return Change(
        now=now,
        first=latest[0].day,
        last=latest[-1].day,
        results=whole.results,
        change=moved / unit,
        low=(moved - half) / unit,
        high=(moved + half) / unit,
    )
