"""Reads the series from the records: one pass over the results, summed up by the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Protocol

from edgehemo.monitor.points import By, Point, Series, weekly
from edgehemo.monitor.quantities import QUANTITIES, Quantity


class Rows(Protocol):
    """What is read from: `edgehemo.records.store.Reader`."""

    def rows(self, query: str, arguments: Any = (), /) -> Sequence[Any]: ...


@dataclass(frozen=True, slots=True)
class Scope:
    """Which results are looked at. device: of this name, None of all. simulated: those of the
    simulated microscope instead of the real ones. since, until: days, both among them.

    A result whose date nobody can believe is left out.
    """

    device: str | None = None
    simulated: bool = False
    since: date | None = None
    until: date | None = None

    def where(self) -> tuple[str, dict[str, object]]:
        """The condition on a result ``r`` and its values."""
        parts = ["r.clock = 'set'", "r.simulated = :simulated"]
        values: dict[str, object] = {"simulated": int(self.simulated)}
        if self.device is not None:
            parts.append("r.device = :device")
            values["device"] = self.device
        # The day is that of the place, which the seconds do not tell: a day more on either side
        # lets the index do the work.
        day = "substr(r.made_at, 1, 10)"
        if self.since is not None:
            parts.append(f"r.made_at_s >= :since_s AND {day} >= :since")
            values["since"] = self.since.isoformat()
            values["since_s"] = _seconds(self.since - timedelta(days=1))
        if self.until is not None:
            parts.append(f"r.made_at_s < :until_s AND {day} <= :until")
            values["until"] = self.until.isoformat()
            values["until_s"] = _seconds(self.until + timedelta(days=2))
        return " AND ".join(parts), values


# A result with all that the quantities are made of.
TABLES = (
    "result r JOIN latest l ON l.result = r.number "
    "JOIN version v ON v.result = r.number AND v.version = l.version "
    "LEFT JOIN measured m ON m.result = r.number "
    "LEFT JOIN (SELECT sample, value, max(number) FROM paired WHERE measurand = 'hgb_g_per_l' "
    "GROUP BY sample) p ON p.sample = l.sample"
)


def series(
    reader: Rows,
    scope: Scope | None = None,
    *,
    by: By = "day",
    quantities: Sequence[Quantity] = QUANTITIES,
) -> tuple[Series, ...]:
    """One series a quantity, in the order of the table; one without any value has no points.

    Memory is that of the points, whatever the number of results.
    """
    where, values = (scope or Scope()).where()
    inner = ", ".join(f"({item.of}) AS q{index}" for index, item in enumerate(quantities))
    sums = ", ".join(
        f"count(q{index}), avg(q{index}), sum(q{index} * q{index})"
        for index in range(len(quantities))
    )
    rows = reader.rows(
        f"SELECT day, {sums} FROM (SELECT substr(r.made_at, 1, 10) AS day, {inner} "
        f"FROM {TABLES} WHERE {where}) GROUP BY day ORDER BY day",
        values,
    )
    found: list[Series] = []
    for index, quantity in enumerate(quantities):
        points = tuple(
            _point(row[0], *row[1 + 3 * index : 4 + 3 * index])
            for row in rows
            if row[1 + 3 * index]
        )
        found.append(Series(quantity, points if by == "day" else weekly(points)))
    return tuple(found)


def _point(day: str, count: int, mean: float, squares: float) -> Point:
    return Point(
        date.fromisoformat(day), count, float(mean), max(0.0, squares - count * mean * mean)
    )


def _seconds(day: date) -> int:
    return int(datetime.combine(day, time()).astimezone().timestamp())
