"""What the pages of charts show: how each quantity stands, its chart, and how it is said. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import fmean

from edgehemo.control.charts import REACH_SD
from edgehemo.control.history import Clearance, ControlCheck
from edgehemo.control.repeatability import BACKGROUND, LABELS
from edgehemo.control.westgard import Rule
from edgehemo.kiosk.supervision.chart import Mark, ThemedChart, number_marks
from edgehemo.monitor.findings import DriftFinding
from edgehemo.monitor.judging import Judged
from edgehemo.monitor.output import State, state_of
from edgehemo.monitor.quantities import Quantity
from edgehemo.monitor.tables import Agreement
from edgehemo.pages.plots import widened
from edgehemo.statistics.student import t95
from edgehemo.words.language import Words

# Checks that are shown in a chart: some two months of daily ones.
CHECKS_SHOWN = 60
# The variance of a limit of agreement is this many times that of the mean difference
# (Bland and Altman, Lancet 327 (1986) 307: 3 s² / n).
LIMIT_VARIANCE = 3.0


def quantity_name(words: Words, quantity: Quantity) -> str:
    """What is watched, in words."""
    _ = words._
    return {
        "brightness": _("Brightness of the light"),
        "red_of_light": _("Red of the light"),
        "blue_of_light": _("Blue of the light"),
        "stain": _("Strength of the stain"),
        "hue_of_stain": _("Colour of the stain"),
        "focus": _("Sharpness"),
        "cells_a_field": _("Red cells a field"),
        "refused": _("Refused fields"),
        "withheld": _("Samples without a result"),
        "hgb": _("Haemoglobin of all results"),
        "unsure_red": _("Red cells without a name"),
        "unsure_white": _("White cells without a name"),
        "unlikeness": _("Unlike what the models know"),
        "overridden": _("Grades set by a person"),
        "against_analyser": _("Difference to the analyser"),
    }.get(quantity.name, quantity.label)


def control_name(words: Words, quantity: str) -> str:
    """What a control slide is judged by, in words."""
    _ = words._
    return {
        "hgb_index": _("Haemoglobin index"),
        "cell_od_green": _("Density of the cells"),
        "cell_area_um2": _("Size of the cells"),
        BACKGROUND: _("Brightness"),
    }.get(quantity, LABELS[quantity][0] if quantity in LABELS else quantity)


def state_words(words: Words, state: State) -> str:
    """How a quantity stands."""
    _ = words._
    return {
        "found": _("has changed"),
        "moved": _("moved a little"),
        "steady": _("steady"),
        "no baseline": _("too few days yet"),
        "no value since": _("too few days yet"),
    }[state]


# What stands first in the list.
_ORDER: Sequence[State] = ("found", "moved", "steady", "no value since", "no baseline")


@dataclass(frozen=True, slots=True)
class WatchedRow:
    """A quantity in the list. mark: of its state. now, before: values with their unit."""

    name: str
    label: str
    state: State
    said: str
    mark: Mark | None
    now: str
    before: str


def rows_of_watched(judged: Sequence[Judged], words: Words) -> list[WatchedRow]:
    """Those with values, what has changed first."""
    found = []
    for item in judged:
        if not item.series.points:
            continue
        state, quantity = state_of(item), item.series.quantity
        mark: Mark | None = None
        if state in ("found", "moved", "steady"):
            marks: dict[str, Mark] = {"found": "fails", "moved": "soon", "steady": "good"}
            mark = marks[state]
        now = item.change.now if item.change is not None else item.series.points[-1].mean
        before = "" if item.baseline is None else value_of(words, quantity, item.baseline.mean)
        label = quantity_name(words, quantity)
        said = state_words(words, state)
        now_said = value_of(words, quantity, now)
        found.append(WatchedRow(quantity.name, label, state, said, mark, now_said, before))
    return sorted(found, key=lambda row: _ORDER.index(row.state))


def value_of(words: Words, quantity: Quantity, value: float) -> str:
    """A value in the page's language; haemoglobin in the site's unit."""
    if quantity.share:
        return words._("{n} %", n=words.number(100 * value))
    if quantity.unit == "g/L":
        text = words.hgb(value) if quantity.name == "hgb" else _difference(words, value)
        return f"{text} {words.unit}"
    return words.number(value, quantity.decimals)


def _difference(words: Words, g_per_l: float) -> str:
    """A difference of haemoglobin, with its sign."""
    factor, decimals = (0.1, 2) if words.unit == "g/dL" else (1.0, 1)
    text = words.number(abs(g_per_l) * factor, decimals)
    return f"{'−' if g_per_l < 0 else '+'}{text}"


def _point_sign(words: Words) -> str:
    return words.number(0.5, 1)[1]


# -- over time ------------------------------------------------------------------------------------


def trend_chart(item: Judged, words: Words, since: date | None) -> str:
    """A quantity's days with the EWMA and its limits as SVG; empty without a point to show.

    since: the first day that is shown.
    """
    quantity, baseline = item.series.quantity, item.baseline
    points = [p for p in item.series.points if since is None or p.day >= since]
    if not points:
        return ""
    first, last = points[0].day, max(points[-1].day, points[0].day + timedelta(days=1))
    factor = 100.0 if quantity.share else 0.1 if _in_g_per_dl(quantity, words) else 1.0
    broken = {
        point.day: rules for point, rules in zip(item.judged, item.rules, strict=True) if rules
    }
    lines: list[list[tuple[float, float]]] = [[], [], []]
    if baseline is not None:
        for point, step in zip(item.judged, item.steps, strict=True):
            if since is not None and point.day < since:
                continue
            x = float(point.day.toordinal())
            for line, scores in zip(
                lines, (step.ewma, step.ewma_reach, -step.ewma_reach), strict=True
            ):
                line.append((x, factor * (baseline.mean + scores * baseline.day_spread)))
    values = [factor * p.mean for p in points] + [y for line in lines for _, y in line]
    if baseline is not None:
        values.append(factor * baseline.mean)
    y_range = widened(values)
    chart = ThemedChart(
        quantity_name(words, quantity),
        (first.toordinal() - 0.5, last.toordinal() + 0.5),
        y_range,
        _day_marks(first, last, words),
        number_marks(y_range, 0, _point_sign(words)),
    )
    if baseline is not None:
        if baseline.freedom is not None and baseline.last >= first:
            chart.span(max(baseline.first, first).toordinal() - 0.5, baseline.last.toordinal())
        chart.level(factor * baseline.mean, "middle")
        chart.path(lines[1], "limit")
        chart.path(lines[2], "limit")
    for point in points:
        mark: Mark = "soon" if point.day in broken else "good"
        tip = f"{point.day}: {quantity.written(point.mean)}"
        chart.point(float(point.day.toordinal()), factor * point.mean, mark, tip)
    chart.path(lines[0], "mean")
    return chart.svg()


def _in_g_per_dl(quantity: Quantity, words: Words) -> bool:
    return quantity.unit == "g/L" and words.unit == "g/dL"


def _day_marks(first: date, last: date, words: Words) -> list[tuple[float, str]]:
    """The first day, the last, and one between where there is room."""
    days = [first, last]
    if (last - first).days >= 4:
        days.insert(1, first + (last - first) / 2)
    return [(float(day.toordinal()), short_day(words, day)) for day in days]


def short_day(words: Words, day: date) -> str:
    """A day without its year, in the order of the language."""
    return f"{day:%m-%d}" if words.language == "en" else f"{day:%d/%m}"


def finding_of(findings: Sequence[DriftFinding], quantity: str) -> DriftFinding | None:
    """What was found of a quantity."""
    return next((each for each in findings if each.quantity == quantity), None)


# -- control slides -------------------------------------------------------------------------------


def slides_of(records: Sequence[ControlCheck | Clearance]) -> list[str]:
    """The control slides that were checked, by name."""
    return sorted({record.slide for record in records if isinstance(record, ControlCheck)})


def checks_of(slide: str, records: Sequence[ControlCheck | Clearance]) -> list[ControlCheck]:
    """The last checks of a slide against the targets of its newest one, oldest first."""
    checks = [each for each in records if isinstance(each, ControlCheck) and each.slide == slide]
    if not checks:
        return []
    established = checks[-1].established_at
    return [check for check in checks if check.established_at == established][-CHECKS_SHOWN:]


def cleared_since(records: Sequence[ControlCheck | Clearance]) -> Clearance | None:
    """The clearance after the last check; None where there is none."""
    last = records[-1] if records else None
    return last if isinstance(last, Clearance) else None


def rule_words(words: Words, rule: Rule) -> str:
    """What a rule of Westgard says."""
    _ = words._
    return {
        "1-2s": _("one beyond 2 SD"),
        "1-3s": _("one beyond 3 SD"),
        "2-2s": _("two in a row beyond 2 SD"),
        "R-4s": _("two in a row more than 4 SD apart"),
        "4-1s": _("four in a row beyond 1 SD"),
        "10x": _("ten in a row on one side"),
    }[rule]


def why_failed(check: ControlCheck, words: Words) -> list[str]:
    """Why a check failed: the rules it broke, or that too little could be read."""
    _ = words._
    found = [
        f"{control_name(words, each.quantity)}: {rule_words(words, each.rule)} ({each.rule})"
        for each in check.violations
    ]
    if not check.passed and not found:
        found.append(
            words.n_(
                "Too little could be read: {read} of {n} field.",
                "Too little could be read: {read} of {n} fields.",
                check.fields + check.refused,
                read=words.number(check.fields),
            )
        )
    return found


def mark_of(check: ControlCheck, quantity: str) -> Mark:
    """How one quantity of a check ended: a rule rejects it, it is beyond 2 SD, or it is good."""
    if any(each.quantity == quantity for each in check.violations):
        return "fails"
    return "soon" if abs(check.deviations.get(quantity, 0.0)) > 2 else "good"


def levey_jennings(quantity: str, checks: Sequence[ControlCheck], words: Words) -> str:
    """One quantity's checks in SD of its target as SVG, oldest left."""
    _ = words._
    shown = [
        (number, check)
        for number, check in enumerate(checks, start=1)
        if quantity in check.deviations
    ]
    marks = [(float(sd), f"{'+' if sd > 0 else '−'}{abs(sd)} SD") for sd in (3, 2, -2, -3)]
    at = [(float(number), short_day(words, check.at.date())) for number, check in shown]
    chart = ThemedChart(
        control_name(words, quantity),
        (0.0, max(10.0, len(checks) + 1.0)),
        (-REACH_SD, REACH_SD),
        [at[0], at[-1]] if len(at) > 1 else at,
        [*marks, (0.0, _("target"))],
        width=520,
        height=215,
    )
    chart.band(-3, 3, "soon")
    chart.band(-2, 2, "good")
    chart.level(0, "middle")
    for sd in (2, -2):
        chart.level(sd, "warn")
    for sd in (3, -3):
        chart.level(sd, "limit")
    chart.path([(n, check.deviations[quantity]) for n, check in shown], "joined")
    for number, check in shown:
        deviation = check.deviations[quantity]
        tip = f"{check.at:%Y-%m-%d %H:%M}: {deviation:+.2f} SD"
        chart.point(number, deviation, mark_of(check, quantity), tip)
    return chart.svg()


# -- against an analyser --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of agreement, each with its 95 % interval, g/L."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]


def limits_of(found: Agreement) -> Limits:
    """Of so many pairs: Bland and Altman (Lancet 327 (1986) 307) give a limit's error."""
    half = t95(found.pairs - 1) * found.sd * (LIMIT_VARIANCE / found.pairs) ** 0.5
    return Limits(
        (found.agree_low, found.agree_low - half, found.agree_low + half),
        (found.agree_high, found.agree_high - half, found.agree_high + half),
    )


def agreement_chart(pairs: Sequence[tuple[float, float]], found: Agreement, words: Words) -> str:
    """Differences against means as SVG (Bland and Altman). pairs: the device's and the analyser's
    haemoglobin, g/L.
    """
    factor = 0.1 if words.unit == "g/dL" else 1.0
    points = [(factor * fmean(pair), factor * (pair[0] - pair[1])) for pair in pairs]
    limits = limits_of(found)
    edges = [factor * value for value in (*limits.low, *limits.high, 0.0)]
    x_range = widened([x for x, _ in points], 0.05)
    y_range = widened([*edges, *(y for _, y in points)], 0.05)
    sign = _point_sign(words)
    chart = ThemedChart(
        words._("Difference to the analyser"),
        x_range,
        y_range,
        number_marks(x_range, 0, sign),
        number_marks(y_range, 0, sign),
    )
    chart.band(factor * limits.low[1], factor * limits.low[2], "soon")
    chart.band(factor * limits.high[1], factor * limits.high[2], "soon")
    chart.band(factor * found.low, factor * found.high, "good")
    chart.level(0.0, "middle")
    chart.level(factor * found.mean, "mean")
    chart.level(factor * found.agree_low, "limit")
    chart.level(factor * found.agree_high, "limit")
    for x, y in points:
        inside = factor * found.agree_low <= y <= factor * found.agree_high
        chart.point(x, y, "good" if inside else "soon", f"{y:+.1f}")
    return chart.svg()


def agreement_lines(found: Agreement, words: Words) -> list[tuple[str, str]]:
    """What the pairs come to: name and value with its interval."""
    _ = words._
    limits = limits_of(found)

    def written(value: float, low: float, high: float) -> str:
        parts = [_difference(words, each) for each in (value, low, high)]
        return f"{parts[0]} ({_('{low} to {high}', low=parts[1], high=parts[2])})"

    return [
        (_("Samples measured by both"), words.number(found.pairs)),
        (_("Mean difference"), written(found.mean, found.low, found.high)),
        (_("Upper limit of agreement"), written(*limits.high)),
        (_("Lower limit of agreement"), written(*limits.low)),
    ]
