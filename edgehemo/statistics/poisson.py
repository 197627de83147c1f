"""Intervals of counts."""

from __future__ import annotations

import math

from edgehemo.statistics.normal import Z_95

# Below this count Byar's lower limit is no longer monotone; it is 0 for all purposes.
_BYAR_FROM = 0.3


def poisson_interval(count: float) -> tuple[float, float]:
    """95 % interval of a Poisson mean from a (possibly fractional) count, by Byar."""
    low = 0.0
    if count > _BYAR_FROM:
        low = max(0.0, count * (1 - 1 / (9 * count) - Z_95 / (3 * math.sqrt(count))) ** 3)
    above = count + 1
    high = above * (1 - 1 / (9 * above) + Z_95 / (3 * math.sqrt(above))) ** 3
    return low, high
