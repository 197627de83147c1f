"""A series: one quantity, a point a day or week that had samples. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Literal

from edgehemo.monitor.quantities import Quantity

By = Literal["day", "week"]


@dataclass(frozen=True, slots=True)
class Point:
    """A day, or the week that begins with it. results: how many gave a value; mean: theirs;
    squares: sum of their squared distances from it.
    """

    day: date
    results: int
    mean: float
    squares: float


@dataclass(frozen=True, slots=True)
class Series:
    """One quantity over time, oldest first; days without samples have no point."""

    quantity: Quantity
    points: tuple[Point, ...]

    def between(self, since: date | None, until: date | None) -> Series:
        """The points of a period, both days among them."""
        return replace(
            self,
            points=tuple(
                point
                for point in self.points
                if (since is None or point.day >= since) and (until is None or point.day <= until)
            ),
        )


def joined(points: Iterable[Point], day: date) -> Point:
    """Several points as one of the given day."""
    known = list(points)
    results = sum(point.results for point in known)
    mean = sum(point.results * point.mean for point in known) / results
    squares = sum(point.squares + point.results * (point.mean - mean) ** 2 for point in known)
    return Point(day, results, mean, squares)


def weekly(points: Iterable[Point]) -> tuple[Point, ...]:
    """The same a week, called by its Monday."""
    weeks: dict[date, list[Point]] = {}
    for point in points:
        monday = point.day - timedelta(days=point.day.weekday())
        weeks.setdefault(monday, []).append(point)
    return tuple(joined(found, monday) for monday, found in sorted(weeks.items()))
