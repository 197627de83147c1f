"""Prediction intervals of samples that a calibration had not seen. Pure functions on arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgehemo.statistics.student import t95

Array = NDArray[np.float64]


def left_out_reach(
    errors: Array,
    spread: Array,
    residual_sd: Array,
    degrees_of_freedom: NDArray[np.int64],
    groups: NDArray[np.int64],
) -> Array:
    """Half widths of the 95 % prediction intervals of left-out samples, float64 (n,).

    errors: estimate minus reference of each sample, from a fit without its group. spread: 1 plus
    its leverage in that fit. residual_sd, degrees_of_freedom: of that fit. groups: who leaves with
    whom. As the device does, the standard deviation is the fit's own or, where larger, that of the
    left-out errors; here of the other groups only, so that no sample widens its own interval.
    Infinite where a fit had no degree of freedom.
    """
    reach = np.full(len(errors), np.inf)
    for group in np.unique(groups):
        own = groups == group
        others = ~own
        if not others.any():
            continue
        nested = float(np.sqrt((errors[others] ** 2 / spread[others]).mean()))
        for i in np.flatnonzero(own):
            freedom = int(degrees_of_freedom[i])
            if freedom >= 1:
                sd = max(float(residual_sd[i]), nested)
                reach[i] = t95(freedom) * sd * float(np.sqrt(spread[i]))
    return reach
