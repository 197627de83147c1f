"""Medians and quantiles, without what `numpy.median` loads at a command's start.

`numpy.quantile` besides costs more than the sorting of the few thousand values it is asked about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def median_of(values: NDArray[Any]) -> float:
    """The median of all values; NaN where there are none."""
    flat = values.ravel()
    if flat.size == 0:
        return float("nan")
    middle = flat.size // 2
    if flat.size % 2:
        return float(np.partition(flat, middle)[middle])
    parted = np.partition(flat, (middle - 1, middle))
    return (float(parted[middle - 1]) + float(parted[middle])) / 2


def column_medians(values: NDArray[Any]) -> NDArray[np.float64]:
    """The median of each column of (n, k) values, float64 (k,)."""
    return np.array([median_of(column) for column in np.asarray(values).T], np.float64)


def quantiles_of(values: NDArray[Any], shares: Sequence[float]) -> list[float]:
    """The quantiles at ``shares`` (0-1) of all values, linear between neighbours; NaN of none."""
    ordered = np.sort(values, axis=None)
    if ordered.size == 0:
        return [float("nan")] * len(shares)
    found = []
    for share in shares:
        place = share * (ordered.size - 1)
        below = int(place)
        above = min(below + 1, ordered.size - 1)
        low, high = float(ordered[below]), float(ordered[above])
        found.append(low + (place - below) * (high - low))
    return found
