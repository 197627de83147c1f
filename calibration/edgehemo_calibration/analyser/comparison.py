"""Agreement of two methods: Bland-Altman, Deming, Passing-Bablok. Pure functions on arrays."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgehemo.profile.analyser import Agreement, ComparisonLine
from edgehemo.statistics.normal import Z_95
from edgehemo.statistics.student import t95

Array = NDArray[np.float64]


def bland_altman(analyser: Array, estimate: Array) -> Agreement:
    """Bias and 95 % limits of agreement of estimate minus analyser (float64, shape (n,), n >= 3).

    Intervals by Student's t, the limits' variance by Bland and Altman 1999: s^2 (1/n +
    1.96^2 / (2 (n - 1))).
    """
    difference = estimate - analyser
    n = len(difference)
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    t = t95(n - 1)
    of_bias = t * sd / math.sqrt(n)
    of_limit = t * sd * math.sqrt(1 / n + Z_95**2 / (2 * (n - 1)))
    lower, upper = bias - Z_95 * sd, bias + Z_95 * sd
    return Agreement(
        bias=bias,
        bias_low=bias - of_bias,
        bias_high=bias + of_bias,
        sd=sd,
        lower_limit=lower,
        lower_limit_low=lower - of_limit,
        lower_limit_high=lower + of_limit,
        upper_limit=upper,
        upper_limit_low=upper - of_limit,
        upper_limit_high=upper + of_limit,
    )


def deming(analyser: Array, estimate: Array) -> ComparisonLine | None:
    """Orthogonal (Deming, equal error variances) line, intervals by jackknife (Linnet 1990).

    None where the two do not vary together.
    """
    line = _deming_line(analyser, estimate)
    if line is None:
        return None
    slope, intercept = line
    n = len(analyser)
    left_out = [_deming_line(np.delete(analyser, i), np.delete(estimate, i)) for i in range(n)]
    lines = np.array([line for line in left_out if line is not None])
    if len(lines) < n or n < 4:
        return ComparisonLine(slope=slope, intercept=intercept)
    pseudo = n * np.array(line) - (n - 1) * lines
    reach = t95(n - 1) * pseudo.std(axis=0, ddof=1) / math.sqrt(n)
    return ComparisonLine(
        slope=slope,
        intercept=intercept,
        slope_low=slope - float(reach[0]),
        slope_high=slope + float(reach[0]),
        intercept_low=intercept - float(reach[1]),
        intercept_high=intercept + float(reach[1]),
    )


def passing_bablok(analyser: Array, estimate: Array) -> ComparisonLine | None:
    """The shifted median of all pairwise slopes, with its interval (Passing and Bablok 1983).

    The intercept's interval is that of the medians at the slope's two ends. None where fewer than
    three slopes exist.
    """
    first, second = np.triu_indices(len(analyser), k=1)
    dx, dy = analyser[second] - analyser[first], estimate[second] - estimate[first]
    used = (dx != 0) | (dy != 0)
    with np.errstate(divide="ignore"):
        slopes = np.where(dx[used] == 0, np.sign(dy[used]) * np.inf, dy[used] / dx[used])
    slopes = np.sort(slopes[slopes != -1])
    count, offset = len(slopes), int(np.count_nonzero(slopes < -1))
    if count < 3:
        return None

    def ranked(rank: int) -> float | None:
        at = rank - 1 + offset
        if not 0 <= at < count or not math.isfinite(slopes[at]):
            return None
        return float(slopes[at])

    if count % 2:
        slope = ranked((count + 1) // 2)
    else:
        below, above = ranked(count // 2), ranked(count // 2 + 1)
        slope = None if below is None or above is None else (below + above) / 2
    if slope is None:
        return None
    n = len(analyser)
    reach = Z_95 * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low_rank = round((count - reach) / 2)
    low, high = ranked(low_rank), ranked(count - low_rank + 1)

    def intercept(at: float | None) -> float | None:
        return None if at is None else float(np.median(estimate - at * analyser))

    return ComparisonLine(
        slope=slope,
        intercept=float(np.median(estimate - slope * analyser)),
        slope_low=low,
        slope_high=high,
        intercept_low=intercept(high),
        intercept_high=intercept(low),
    )


def correlation(first: Array, second: Array) -> float | None:
    """Pearson's correlation, None where one of the two is constant."""
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.clip(np.corrcoef(first, second)[0, 1], -1.0, 1.0))


def _deming_line(x: Array, y: Array) -> tuple[float, float] | None:
    xx, yy = float(np.var(x, ddof=1)), float(np.var(y, ddof=1))
    xy = float(np.cov(x, y)[0, 1])
    if xy == 0:
        return None
    slope = (yy - xx + math.sqrt((yy - xx) ** 2 + 4 * xy**2)) / (2 * xy)
    return slope, float(y.mean() - slope * x.mean())
