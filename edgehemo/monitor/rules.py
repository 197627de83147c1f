"""EWMA and CUSUM on standard scores. Pure functions, no dates and no units.

EWMA: Roberts, Technometrics 1 (1959) 239. CUSUM: Page, Biometrika 41 (1954) 100. With the weights
and limits used here a series of 200 points in control alarms 0.2 and 0.3 times, and a shift of one
standard deviation is found after some seven points; the numbers of this program are in the page on
monitoring.

What is known of the process comes from a baseline of few days, and is itself uncertain. Both charts
would take the error of the baseline's mean for a shift that lasts, and alarm more often the shorter
the baseline was (Jones, Champ and Rigdon, Technometrics 43 (2001) 156). So here

- the mean's variance is added to the EWMA's own: its score is E / sqrt(v + q) with the EWMA's
  variance v = w / (2 - w) (1 - (1 - w)^(2 t)) and q the variance of the baseline's mean, both in
  units of one point's variance: the error of a prediction;
- as the standard deviation is an estimate too, such a score follows Student's t with the baseline's
  degrees of freedom, and is turned into the normal deviate that is as rare;
- the CUSUM's reference value is raised by one standard error of the mean, from k to k + sqrt(q):
  a baseline that is wrong by as much does not drive the sum by itself.

A long baseline gives the textbook's limits back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgehemo.statistics.student import normal_deviate, student_deviate

# Weight of the newest point in the EWMA, and its limit in standard deviations.
EWMA_WEIGHT = 0.2
EWMA_LIMIT = 3.0
# Reference value and decision limit of the CUSUM, in standard deviations.
CUSUM_REFERENCE = 0.5
CUSUM_LIMIT = 5.0
# A point counts as no further out than this, for the EWMA from where it is, for the CUSUM from the
# baseline: one freak day alone alarms neither chart.
CLIPPED_AT = 4.0
# The sums stop growing here, so that a chart comes back within weeks of a repair.
CUSUM_HIGHEST = 2 * CUSUM_LIMIT


@dataclass(frozen=True, slots=True)
class Step:
    """Both charts after one point, all in standard deviations of a point.

    score: the point's own, as the normal deviate that is as rare. ewma: the weighted mean;
    ewma_score: how far out it is, with the baseline's uncertainty; beyond `EWMA_LIMIT` it alarms.
    ewma_reach: the weighted mean at which it would. up, down: the sums, beyond `CUSUM_LIMIT` they
    alarm.
    """

    score: float
    ewma: float
    ewma_score: float
    ewma_reach: float
    up: float
    down: float

    @property
    def direction(self) -> int:
        """Which way a chart alarms: 1 up, -1 down, 0 where none does."""
        if abs(self.ewma_score) > EWMA_LIMIT:
            return 1 if self.ewma_score > 0 else -1
        if max(self.up, self.down) > CUSUM_LIMIT:
            return 1 if self.up >= self.down else -1
        return 0

    @property
    def alarmed_by(self) -> tuple[str, ...]:
        """The charts that alarm."""
        ewma = ("EWMA",) if abs(self.ewma_score) > EWMA_LIMIT else ()
        return (*ewma, "CUSUM") if max(self.up, self.down) > CUSUM_LIMIT else ewma


def steps(scores: Sequence[float], *, doubt: float, freedom: float | None) -> list[Step]:
    """Both charts along a series, oldest first.

    scores: distances from the baseline's mean in standard deviations of a point. doubt: variance of
    the baseline's mean in units of a point's. freedom: degrees of freedom of its standard
    deviation, None where that is known.
    """
    found: list[Step] = []
    ewma = up = down = 0.0
    reference = CUSUM_REFERENCE + math.sqrt(doubt)
    for number, raw in enumerate(scores, start=1):
        score = _deviate(raw / math.sqrt(1 + doubt), freedom)
        ewma += EWMA_WEIGHT * _clipped(raw - ewma)
        spread = math.sqrt(ewma_variance(number) + doubt)
        step = _deviate(_clipped(raw), freedom)
        up = min(CUSUM_HIGHEST, max(0.0, up + step - reference))
        down = min(CUSUM_HIGHEST, max(0.0, down - step - reference))
        reach = spread * (EWMA_LIMIT if freedom is None else student_deviate(EWMA_LIMIT, freedom))
        found.append(Step(score, ewma, _deviate(ewma / spread, freedom), reach, up, down))
    return found


def ewma_variance(number: int) -> float:
    """Variance of the EWMA after so many points, in units of one point's."""
    rest = (1 - EWMA_WEIGHT) ** (2 * number)
    return EWMA_WEIGHT / (2 - EWMA_WEIGHT) * (1 - rest)


def _clipped(score: float) -> float:
    return max(-CLIPPED_AT, min(CLIPPED_AT, score))


def _deviate(t: float, freedom: float | None) -> float:
    return t if freedom is None else normal_deviate(t, freedom)
