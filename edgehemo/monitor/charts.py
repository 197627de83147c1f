"""Charts of judged series as inline SVG: the days' means with the EWMA and its limits, and below it
the CUSUM. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from edgehemo.monitor.baseline import Baseline
from edgehemo.monitor.events import Event
from edgehemo.monitor.judging import Judged
from edgehemo.monitor.points import Point
from edgehemo.monitor.rules import CUSUM_HIGHEST, CUSUM_LIMIT
from edgehemo.pages.plots import Plot, widened
from edgehemo.words.counted import counted

WIDTH, HEIGHT, SUMS_HEIGHT = 620, 260, 150
_STEADY, _OUT, _MEAN, _LIMIT, _EVENT = "#6b8bb0", "#b06a00", "#1f5f99", "#b3202c", "#7a5aa6"
_BASELINE = "#eef4ee"
# Marks of the time axis, days apart; the first that gives at most so many is taken.
_STEPS, _MARKS = (1, 2, 7, 14, 28, 56, 91, 182, 365), 8


@dataclass(frozen=True, slots=True)
class Chart:
    """One quantity's charts. name: its series'. svg: the points and the EWMA; sums: the CUSUM,
    empty without points after the baseline. Both are whole SVG elements, their texts escaped.
    """

    name: str
    title: str
    svg: str
    sums: str


def charts(judged: Sequence[Judged], events: Sequence[Event] = ()) -> tuple[Chart, ...]:
    """A chart for each series that has points, in their order."""
    return tuple(_chart(item, events) for item in judged if item.series.points)


def _chart(item: Judged, events: Sequence[Event]) -> Chart:
    quantity, baseline = item.series.quantity, item.baseline
    points = _shown(item)
    first, last = points[0].day, max(points[-1].day, points[0].day + timedelta(days=1))
    factor = 100.0 if quantity.share else 1.0
    unit = "%" if quantity.share else quantity.unit
    values = [factor * point.mean for point in points]
    title = quantity.label[0].upper() + quantity.label[1:]
    if baseline is not None:
        lines = _lines(item, baseline, factor)
        values += [value for line in lines for _, value in line]
    plot = Plot(
        title, "", unit, _range(first, last), widened(values),
        width=WIDTH, height=HEIGHT, x_ticks=_marks(first, last),
    )  # fmt: skip
    if baseline is not None:
        if baseline.freedom is not None:
            plot.span(_at(baseline.first), _at(baseline.last), _BASELINE)
        plot.level(factor * baseline.mean, "#5b6675", "baseline")
    _mark_events(plot, events, first, last)
    for number, point in enumerate(points):
        broken = _rules(item, point)
        plot.point(
            _at(point.day), values[number], _OUT if broken else _STEADY,
            f"{point.day}: {quantity.written(point.mean)}, {counted(point.results, 'result')}"
            + (f", {', '.join(broken)}" if broken else ""),
            "square" if broken else "circle",
        )  # fmt: skip
    if baseline is None:
        return Chart(quantity.name, title, plot.svg(), "")
    mean, high, low = lines
    plot.path(high, _LIMIT)
    plot.path(low, _LIMIT)
    plot.path(mean, _MEAN)
    return Chart(quantity.name, title, plot.svg(), _sums(item, events, first, last))


def _sums(item: Judged, events: Sequence[Event], first: date, last: date) -> str:
    """The CUSUM, upwards above and downwards below the middle."""
    if not item.judged:
        return ""
    plot = Plot(
        "Sum of the changes (CUSUM)", "", "SD", _range(first, last),
        (-CUSUM_HIGHEST, CUSUM_HIGHEST),
        width=WIDTH, height=SUMS_HEIGHT, x_ticks=_marks(first, last),
    )  # fmt: skip
    plot.level(0, "#5b6675")
    plot.level(CUSUM_LIMIT, _LIMIT, dashed=True)
    plot.level(-CUSUM_LIMIT, _LIMIT, dashed=True)
    _mark_events(plot, events, first, last)
    pairs = list(zip(item.judged, item.steps, strict=True))
    plot.path([(_at(point.day), step.up) for point, step in pairs], _MEAN)
    plot.path([(_at(point.day), -step.down) for point, step in pairs], _MEAN)
    return plot.svg()


def _lines(item: Judged, baseline: Baseline, factor: float) -> list[list[tuple[float, float]]]:
    """The EWMA and its two limits in the quantity's unit, for a usual day's number of results."""
    spread = baseline.day_spread
    walked = list(zip(item.judged, item.steps, strict=True))

    def placed(sign: float) -> list[tuple[float, float]]:
        return [
            (_at(point.day), factor * (baseline.mean + sign * step.ewma_reach * spread))
            for point, step in walked
        ]

    mean = [
        (_at(point.day), factor * (baseline.mean + step.ewma * spread)) for point, step in walked
    ]
    return [mean, placed(1.0), placed(-1.0)]


def _shown(item: Judged) -> list[Point]:
    """The points of the baseline and those judged: what a chart draws."""
    baseline = item.baseline
    if baseline is None or baseline.freedom is None:
        return list(item.judged or item.series.points)
    learnt = item.series.between(baseline.first, baseline.last).points
    return sorted({*learnt, *item.judged}, key=lambda point: point.day)


def _rules(item: Judged, point: Point) -> tuple[str, ...]:
    try:
        return item.rules[item.judged.index(point)]
    except ValueError:
        return ()


def _mark_events(plot: Plot, events: Sequence[Event], first: date, last: date) -> None:
    for event in events:
        if first <= event.day <= last:
            plot.upright(_at(event.day), _EVENT, f"{event.day}: {event.text}")


def _range(first: date, last: date) -> tuple[float, float]:
    room = max(1.0, 0.02 * (last - first).days)
    return _at(first) - room, _at(last) + room


def _marks(first: date, last: date) -> list[tuple[float, str]]:
    days = (last - first).days
    step = next((step for step in _STEPS if days / step <= _MARKS), _STEPS[-1])
    known = [first + timedelta(days=offset) for offset in range(0, days + 1, step)]
    form = "%-d %b %y" if days > 300 else "%-d %b"
    return [(_at(day), f"{day:{form}}") for day in known]


def _at(day: date) -> float:
    return float(day.toordinal())
