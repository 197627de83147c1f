"""What a page shows beside the charts: refusals by reason, results by week, pairs, operators.

Each is a sum of the database's; memory does not grow with the number of results.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date

from edgehemo.monitor.series import TABLES, Rows, Scope
from edgehemo.statistics.student import t95

# Fewer pairs than this say nothing of a bias.
MIN_PAIRS = 8
# Limits of agreement hold 95 % of the differences (Bland and Altman, Lancet 327 (1986) 307).
_AGREEMENT_SD = 1.96


@dataclass(frozen=True, slots=True)
class Refusal:
    """Fields refused for one reason, and their share of all fields that could be read;
    share_before: the same in the period before, None where that has no field.
    """

    code: str
    fields: int
    share: float
    share_before: float | None


@dataclass(frozen=True, slots=True)
class Week:
    """The results of one week, called by its Monday. withheld: without a result. hgb: lower
    quartile, median and upper quartile, g/L, None without any. grades: name -> results.
    """

    day: date
    results: int
    withheld: int
    hgb: tuple[float, float, float] | None
    grades: dict[str, int]


@dataclass(frozen=True, slots=True)
class Agreement:
    """The device's haemoglobin less the analyser's, of samples that have both: mean with its 95 %
    interval, standard deviation and limits of agreement, g/L.
    """

    pairs: int
    mean: float
    low: float
    high: float
    sd: float
    agree_low: float
    agree_high: float


@dataclass(frozen=True, slots=True)
class OperatorRow:
    """One operator's samples: means of them. name: as it is stored, None where none was given."""

    name: str | None
    results: int
    refused: float | None
    focus: float | None
    cells_a_field: float | None


def refusals(reader: Rows, scope: Scope, before: Scope | None = None) -> tuple[Refusal, ...]:
    """Why fields were refused, the commonest first. before: a period to compare with."""
    now, fields = _refusals(reader, scope)
    then, fields_before = ({}, 0) if before is None else _refusals(reader, before)
    found = [
        Refusal(
            code,
            count,
            count / fields,
            then.get(code, 0) / fields_before if fields_before else None,
        )
        for code, count in now.items()
    ]
    return tuple(sorted(found, key=lambda item: (-item.fields, item.code)))


def _refusals(reader: Rows, scope: Scope) -> tuple[dict[str, int], int]:
    where, values = scope.where()
    ((fields,),) = reader.rows(
        "SELECT coalesce(sum(m.readable), 0) FROM result r JOIN measured m ON m.result = r.number "
        f"WHERE {where}",
        values,
    )
    rows = reader.rows(
        "SELECT f.code, sum(f.fields) FROM result r "
        f"JOIN measured_refusal f ON f.result = r.number WHERE {where} GROUP BY f.code",
        values,
    )
    return {code: int(count) for code, count in rows}, int(fields)


def weeks(reader: Rows, scope: Scope) -> tuple[Week, ...]:
    """The results by week; withdrawn ones are none."""
    where, values = scope.where()
    # SQLite counts weekdays from Sunday, so that a week's Monday is found from the day before.
    monday = "date(substr(r.made_at, 1, 10), '-6 days', 'weekday 1')"
    rows = reader.rows(
        f"SELECT {monday} AS week, r.outcome, r.grade, count(*) FROM result r "
        "JOIN latest l ON l.result = r.number "
        f"WHERE {where} AND l.state != 'withdrawn' GROUP BY week, r.outcome, r.grade",
        values,
    )
    quartiles = reader.rows(
        "SELECT week, max(CASE WHEN 4 * place <= n + 3 THEN hgb END), "
        "max(CASE WHEN 2 * place <= n + 1 THEN hgb END), "
        "max(CASE WHEN 4 * place <= 3 * n + 1 THEN hgb END) FROM ("
        f"SELECT {monday} AS week, r.hgb_g_per_l AS hgb, "
        f"row_number() OVER (PARTITION BY {monday} ORDER BY r.hgb_g_per_l) AS place, "
        f"count(*) OVER (PARTITION BY {monday}) AS n FROM result r "
        "JOIN latest l ON l.result = r.number "
        f"WHERE {where} AND l.state != 'withdrawn' AND r.hgb_g_per_l IS NOT NULL) GROUP BY week",
        values,
    )
    hgb = {week: (low, middle, high) for week, low, middle, high in quartiles}
    found: dict[str, Week] = {}
    for week, outcome, grade, count in rows:
        item = found.get(week) or Week(date.fromisoformat(week), 0, 0, hgb.get(week), {})
        grades = dict(item.grades)
        if grade is not None:
            grades[grade] = grades.get(grade, 0) + count
        withheld = item.withheld + (count if outcome == "withheld" else 0)
        found[week] = Week(item.day, item.results + count, withheld, item.hgb, grades)
    return tuple(found[week] for week in sorted(found))


def agreement(reader: Rows, scope: Scope) -> Agreement | None:
    """How the device's haemoglobin agrees with the analyser's; None of fewer than two pairs."""
    where, values = scope.where()
    difference = "(r.hgb_g_per_l - p.value)"
    ((count, mean, squares),) = reader.rows(
        f"SELECT count({difference}), avg({difference}), sum({difference} * {difference}) "
        f"FROM {TABLES} WHERE {where} AND l.state != 'withdrawn'",
        values,
    )
    if count < 2:
        return None
    sd = math.sqrt(max(0.0, squares - count * mean * mean) / (count - 1))
    half = t95(count - 1) * sd / math.sqrt(count)
    reach = _AGREEMENT_SD * sd
    return Agreement(count, mean, mean - half, mean + half, sd, mean - reach, mean + reach)


def operators(reader: Rows, scope: Scope) -> tuple[OperatorRow, ...]:
    """The operators' samples side by side, the busiest first."""
    where, values = scope.where()
    rows = reader.rows(
        "SELECT r.operator, count(*), avg((m.readable - r.accepted) * 1.0 / nullif(m.readable, 0)),"
        " avg(m.focus), avg(m.red_cells_a_field) FROM result r "
        f"LEFT JOIN measured m ON m.result = r.number WHERE {where} "
        "GROUP BY r.operator ORDER BY 2 DESC, 1",
        values,
    )
    return tuple(OperatorRow(*row) for row in rows)


def agreement_pairs(reader: Rows, scope: Scope) -> list[tuple[float, float]]:
    """The device's and the analyser's haemoglobin of every sample that has both, g/L, oldest
    first: what `agreement` is made of.
    """
    where, values = scope.where()
    rows = reader.rows(
        f"SELECT r.hgb_g_per_l, p.value FROM {TABLES} WHERE {where} AND l.state != 'withdrawn' "
        "AND r.hgb_g_per_l IS NOT NULL AND p.value IS NOT NULL ORDER BY r.number",
        values,
    )
    return [(float(device), float(analyser)) for device, analyser in rows]
