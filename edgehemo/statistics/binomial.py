"""The interval of a share, and how rare a count is."""

from __future__ import annotations

import math
from statistics import NormalDist

from edgehemo.statistics.normal import Z_95

_FURTHEST = 8.0


def share_interval(count: int, of: int) -> tuple[float, float]:
    """95 % interval of a share (0-1) that was seen as ``count`` of ``of``; (0, 1) of none.

    Wilson, Journal of the American Statistical Association 22 (1927) 209.
    """
    if of <= 0:
        return 0.0, 1.0
    share, square = count / of, Z_95 * Z_95
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = Z_95 * math.sqrt(share * (1 - share) / of + square / (4 * of * of)) / (1 + square / of)
    return max(0.0, middle - half), min(1.0, middle + half)


def count_deviate(count: int, of: int, share: float) -> float:
    """The normal deviate that is as rare as ``count`` of ``of`` where each is one with a chance of
    ``share`` (between 0 and 1), with its sign.

    By the mid-P value, which counts half of what was seen itself to either tail (Lancaster, Journal
    of the American Statistical Association 56 (1961) 223). At most 8 either way.
    """
    chance, below = (1 - share) ** of, 0.0
    for seen in range(count):
        below += chance
        chance *= (of - seen) / (seen + 1) * share / (1 - share)
    middle = below + chance / 2
    # Beyond it the sum is rounding alone.
    least = NormalDist().cdf(-_FURTHEST)
    if middle > 0.5:
        above = max(least, _tail(count, of, share, chance))
        return -NormalDist().inv_cdf(min(above, 0.5))
    return NormalDist().inv_cdf(max(least, middle))


def _tail(count: int, of: int, share: float, chance: float) -> float:
    """Half the chance of ``count`` itself and all of what lies above it."""
    total = chance / 2
    for seen in range(count, of):
        chance *= (of - seen) / (seen + 1) * share / (1 - share)
        total += chance
        if chance < 1e-18 * total:
            break
    return total
