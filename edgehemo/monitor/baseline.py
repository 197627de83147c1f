"""What a device was like when it was right: mean and spread of a quantity, with their uncertainty.

The days of a baseline differ among themselves (between-day variance), and so do the samples of a
day (within-day variance); a point of n results varies by between + within / n. Both are estimated
by the analysis of variance of a one-way layout with random effects and unequal numbers (Searle,
Casella and McCulloch, Variance Components, Wiley 1992, section 3.6). The mean is that of the days,
each weighted by the inverse of its variance; the weights' sum gives the mean's own variance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from statistics import median

from edgehemo.monitor.points import Point, Series
from edgehemo.monitor.quantities import Quantity
from edgehemo.statistics.binomial import count_deviate
from edgehemo.statistics.student import t95

# Days with samples that a baseline needs, and how many one has where nobody says otherwise.
MIN_DAYS = 10
USUAL_DAYS = 30


@dataclass(frozen=True, slots=True)
class Baseline:
    """first, last: its days; days: how many of them had samples; results: how many. mean and its
    standard error; between, within: standard deviations between days and among the samples of one.
    freedom: degrees of freedom of the first, None where the values are given, not learnt.
    usual: results of a day. yes_or_no: whether a result is 0 or 1, and ``mean`` the chance of 1.
    """

    first: date
    last: date
    days: int
    results: int
    mean: float
    mean_error: float
    between: float
    within: float
    freedom: int | None
    usual: float
    yes_or_no: bool = False

    def spread(self, results: float) -> float:
        """Standard deviation of a point of so many results."""
        return math.sqrt(self.between**2 + self.within**2 / results)

    @property
    def day_spread(self) -> float:
        """Standard deviation of a usual day's point."""
        return self.spread(self.usual)

    @property
    def doubt(self) -> float:
        """Variance of the mean in units of a usual day's variance."""
        return (self.mean_error / self.day_spread) ** 2

    @property
    def mean_interval(self) -> tuple[float, float]:
        """95 % interval of the mean."""
        half = self.mean_error * (1.96 if self.freedom is None else t95(self.freedom))
        return self.mean - half, self.mean + half

    def score(self, point: Point) -> float:
        """How far out a point is, in its standard deviations.

        A count of rare things is far from normal: it is the normal deviate that is as rare, made
        smaller as the days differ by more than chance.
        """
        if self.yes_or_no:
            rare = count_deviate(round(point.mean * point.results), point.results, self.mean)
            return rare * self.within / math.sqrt(point.results) / self.spread(point.results)
        return (point.mean - self.mean) / self.spread(point.results)


@dataclass(frozen=True, slots=True)
class Period:
    """The days of a stated baseline, both among them. reason: who stated it, and why."""

    since: date
    until: date
    reason: str = ""


def usual_baseline(series: Series) -> tuple[Point, ...]:
    """The points that serve where no baseline is stated: the first 30 days with samples, and of
    fewer than 60 the first half, at least 10.
    """
    days = min(USUAL_DAYS, max(MIN_DAYS, len(series.points) // 2))
    return series.points[:days]


def baseline_of(quantity: Quantity, points: Sequence[Point]) -> Baseline | None:
    """The baseline of some points; None of fewer than 10."""
    days = len(points)
    if days < MIN_DAYS:
        return None
    if quantity.yes_or_no:
        return _of_counts(quantity, points)
    results = sum(point.results for point in points)
    mean = sum(point.results * point.mean for point in points) / results
    among = sum(point.results * (point.mean - mean) ** 2 for point in points) / (days - 1)
    rest = results - days
    within = sum(point.squares for point in points) / rest if rest > 0 else 0.0
    size = (results - sum(point.results**2 for point in points) / results) / (days - 1)
    between = max(0.0, (among - within) / size)
    least = quantity.least_sd * (abs(mean) if quantity.relative else 1.0)
    between = max(between, least**2)
    weights = [1 / (between + within / point.results) for point in points]
    centre = sum(w * point.mean for w, point in zip(weights, points, strict=True)) / sum(weights)
    return Baseline(
        first=points[0].day,
        last=points[-1].day,
        days=days,
        results=results,
        mean=centre,
        mean_error=math.sqrt(1 / sum(weights)),
        between=math.sqrt(between),
        within=math.sqrt(within),
        freedom=days - 1,
        usual=float(median(point.results for point in points)),
    )


def _of_counts(quantity: Quantity, points: Sequence[Point]) -> Baseline:
    """The same of results that are 0 or 1: the chance is that of one more of either kind, so that
    what was never seen is not impossible.
    """
    days, results = len(points), sum(point.results for point in points)
    chance = (sum(point.results * point.mean for point in points) + 1) / (results + 2)
    within = chance * (1 - chance)
    among = sum(point.results * (point.mean - chance) ** 2 for point in points) / (days - 1)
    size = (results - sum(point.results**2 for point in points) / results) / (days - 1)
    between = max((among - within) / size, quantity.least_sd**2)
    return Baseline(
        first=points[0].day,
        last=points[-1].day,
        days=days,
        results=results,
        mean=chance,
        mean_error=math.sqrt(between / days + within / results),
        between=math.sqrt(between),
        within=math.sqrt(within),
        freedom=days - 1,
        usual=float(median(point.results for point in points)),
        yes_or_no=True,
    )


def given_baseline(first: date, last: date, runs: int) -> Baseline:
    """The baseline of values that are standard deviations from a target of so many runs."""
    return Baseline(first, last, runs, runs, 0.0, math.sqrt(1 / runs), 1.0, 0.0, None, 1.0)
