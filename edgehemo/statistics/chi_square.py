"""The interval of a standard deviation, without a statistics library."""

from __future__ import annotations

import math

from edgehemo.statistics.normal import Z_95

# 2.5 % and 97.5 % quantiles of chi-square at 1 to 30 degrees of freedom (tabulated; the tests
# compare them with scipy's): the device has no statistics library.
_CHI2_LOW = (
    0.000982, 0.050636, 0.215795, 0.484419, 0.831212, 1.23734, 1.68987, 2.17973, 2.70039, 3.24697,
    3.81575, 4.40379, 5.00875, 5.62873, 6.26214, 6.90766, 7.56419, 8.23075, 8.90652, 9.59078,
    10.2829, 10.9823, 11.6886, 12.4011, 13.1197, 13.8439, 14.5734, 15.3079, 16.0471, 16.7908,
)  # fmt: skip

_CHI2_HIGH = (
    5.02389, 7.37776, 9.3484, 11.1433, 12.8325, 14.4494, 16.0128, 17.5345, 19.0228, 20.4832,
    21.92, 23.3367, 24.7356, 26.1189, 27.4884, 28.8454, 30.191, 31.5264, 32.8523, 34.1696,
    35.4789, 36.7807, 38.0756, 39.3641, 40.6465, 41.9232, 43.1945, 44.4608, 45.7223, 46.9792,
)  # fmt: skip


def sd_interval(sd: float, degrees_of_freedom: int) -> tuple[float, float]:
    """95 % interval of a standard deviation of normal values (chi-square).

    Above 30 degrees of freedom by Wilson and Hilferty 1931, there right to four digits. Raises
    ValueError below one.
    """
    n = degrees_of_freedom
    if n < 1:
        raise ValueError("a standard deviation needs at least one degree of freedom")
    if n <= len(_CHI2_LOW):
        low, high = _CHI2_LOW[n - 1], _CHI2_HIGH[n - 1]
    else:
        part = 2 / (9 * n)
        low = n * (1 - part - Z_95 * math.sqrt(part)) ** 3
        high = n * (1 - part + Z_95 * math.sqrt(part)) ** 3
    return sd * math.sqrt(n / high), sd * math.sqrt(n / low)
