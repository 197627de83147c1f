"""Statistics that a few kiosks at fault do not bend; pure.

Median and Qn across kiosks; shares by the beta-binomial distribution, whose spread is taken from
the fleet's middle; all as normal deviates, so that one limit serves all.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from edgehemo.statistics.binomial import count_deviate
from edgehemo.statistics.student import normal_deviate

Array = NDArray[np.float64]
# Qn of normal values times this is their standard deviation; and of its variance it knows as much
# as so large a share of the values would.
_QN_TO_SD, _QN_EFFICIENCY = 2.2219, 0.82
# The MAD of normal values times this is their standard deviation.
MAD_TO_SD = 1.4826
# Up to so many cases the beta-binomial's tail is summed; above, the normal's is as good.
_MOST_SUMMED = 2000
_FURTHEST = 8.0


def limit_of(looks: int, chance: float) -> float:
    """The deviate beyond which one of ``looks`` values in control lies with a chance of ``chance``
    (Bonferroni, both sides).
    """
    return -NormalDist().inv_cdf(chance / (2 * max(1, looks)))


def spread_of(values: Array) -> float:
    """Standard deviation of most of the values, whatever fewer than half of them are; 0 of fewer
    than two.

    Qn: Rousseeuw and Croux, Journal of the American Statistical Association 88 (1993) 1273. It
    knows twice as much of the spread as the MAD does, and bends as little.
    """
    count = len(values)
    if count < 2:
        return 0.0
    first, second = np.triu_indices(count, k=1)
    apart = np.abs(values[first] - values[second])
    half = count // 2 + 1
    place = half * (half - 1) // 2 - 1
    few = count / (count + 1.4) if count % 2 else count / (count + 3.8)
    return _QN_TO_SD * few * float(np.partition(apart, place)[place])


def freedom_of(count: int) -> float:
    """Degrees of freedom of a spread that Qn of so many values gives."""
    return max(2.0, _QN_EFFICIENCY * (count - 1))


def deviates(levels: Array, errors: Array) -> Array:
    """How far out each of several levels is, as normal deviates; NaN where a level is.

    levels: of kiosks, (K,). errors: their standard errors. What kiosks differ by beyond these is
    taken from the middle of them, and each is judged by that and its own error.
    """
    known = np.isfinite(levels)
    found = np.full(levels.shape, np.nan)
    if known.sum() < 2:
        return found
    middle = float(np.median(levels[known]))
    squares = errors[known] ** 2
    between = max(0.0, spread_of(levels[known]) ** 2 - float(np.median(squares)))
    scale = np.sqrt(between + errors**2)
    freedom = freedom_of(int(known.sum()))
    for place in np.flatnonzero(known):
        if scale[place] > 0:
            found[place] = normal_deviate((levels[place] - middle) / scale[place], freedom)
        else:
            found[place] = 0.0 if levels[place] == middle else _FURTHEST
    return found


def share_deviates(counts: Array, of: Array, fewest: int) -> tuple[float, Array]:
    """The fleet's share and how far out each kiosk's is, as normal deviates; NaN where fewer than
    ``fewest`` were counted.

    counts, of: (K,). The fleet's share is the median of the kiosks'; how much more than chance they
    differ is taken from Qn of the counts, standardised.
    """
    known = of >= fewest
    found = np.full(counts.shape, np.nan)
    if known.sum() < 2:
        return float("nan"), found
    x, n = counts[known], of[known]
    share = float(np.median(x / n))
    share = min(1 - 1e-4, max(share, float(x.sum() / n.sum()) / 4, 1e-4))
    standard = (x - n * share) / np.sqrt(n * share * (1 - share))
    excess = spread_of(standard) ** 2 - 1
    rho = min(0.5, max(0.0, excess / max(1.0, float(np.median(n)) - 1)))
    freedom = freedom_of(int(known.sum()))
    for place in np.flatnonzero(known):
        raw = _share_deviate(round(counts[place]), round(of[place]), share, rho)
        found[place] = normal_deviate(raw, freedom)
    return share, found


def _share_deviate(count: int, of: int, share: float, rho: float) -> float:
    """The normal deviate that is as rare as a count where shares differ by ``rho``."""
    if of > _MOST_SUMMED:
        variance = of * share * (1 - share) * (1 + (of - 1) * rho)
        return max(-_FURTHEST, min(_FURTHEST, (count - of * share) / math.sqrt(variance)))
    if rho <= 0:
        return count_deviate(count, of, share)
    return beta_binomial_deviate(count, of, share, rho)


def beta_binomial_deviate(count: int, of: int, share: float, rho: float) -> float:
    """The normal deviate that is as rare as ``count`` of ``of``, by the mid-P value, where each
    unit has a chance of its own around ``share``, any two of its cases correlated by ``rho``.
    """
    strength = 1 / rho - 1
    a, b = share * strength, (1 - share) * strength
    seen = np.arange(of)
    # From no case upwards, each chance by the ratio to the one before it.
    ratios = np.log((of - seen) / (seen + 1) * (a + seen) / (b + of - seen - 1))
    none = math.lgamma(b + of) - math.lgamma(b) + math.lgamma(a + b) - math.lgamma(a + b + of)
    chance = np.exp(none + np.concatenate(([0.0], np.cumsum(ratios))))
    below = float(chance[:count].sum() + chance[count] / 2)
    above = float(chance[count + 1 :].sum() + chance[count] / 2)
    least = NormalDist().cdf(-_FURTHEST)
    if below < above:
        return NormalDist().inv_cdf(max(least, min(below, 0.5)))
    return -NormalDist().inv_cdf(max(least, min(above, 0.5)))
