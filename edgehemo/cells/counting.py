"""Counts with their intervals, from calibrated probabilities."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgehemo.cells.cell import CountInterval
from edgehemo.statistics.normal import Z_95
from edgehemo.statistics.poisson import poisson_interval


def expected_count(probabilities: NDArray[np.float32], *, relative_sd: float) -> CountInterval:
    """The expected number of cells with a 95 % interval.

    probabilities: float32 (n,), of every candidate, also those below the reporting threshold, so
    that the count hangs on no single threshold. The interval joins, in quadrature, the Poisson
    error of seeing a sample of the smear (Byar's approximation, good from a count of 0 on), the
    finder's doubt about each candidate (sum of p (1 - p)), and the relative error it showed on
    kept-out fields.
    """
    p = probabilities.astype(np.float64)
    value = float(p.sum())
    doubt = float((p * (1 - p)).sum()) + (relative_sd * value) ** 2
    low, high = poisson_interval(value)
    own = Z_95 * math.sqrt(doubt)
    return CountInterval(
        value=value,
        low=max(0.0, value - math.hypot(value - low, own)),
        high=value + math.hypot(high - value, own),
    )


def recounted(interval: CountInterval, value: float) -> CountInterval:
    """The interval about another count: its Poisson error anew, what it held beyond that kept."""
    low, high = poisson_interval(interval.value)
    own_low = _without(interval.value - interval.low, interval.value - low)
    own_high = _without(interval.high - interval.value, high - interval.value)
    low, high = poisson_interval(value)
    return CountInterval(
        value=value,
        low=max(0.0, value - math.hypot(value - low, own_low)),
        high=value + math.hypot(high - value, own_high),
    )


def _without(whole: float, part: float) -> float:
    """What joins a part in quadrature to the whole; none where the whole was cut off at zero."""
    return math.sqrt(max(0.0, whole * whole - part * part))
