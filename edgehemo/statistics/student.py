"""What the device needs of Student's t, without a statistics library."""

from __future__ import annotations

import math

from edgehemo.statistics.normal import Z_95

# Two-sided 95 % quantiles at 1, 2, ... 30 degrees of freedom (tabulated; the tests compare them
# with scipy's).
_T95 = (
    12.7062, 4.30265, 3.18245, 2.77645, 2.57058, 2.44691, 2.36462, 2.30600, 2.26216, 2.22814,
    2.20099, 2.17881, 2.16037, 2.14479, 2.13145, 2.11991, 2.10982, 2.10092, 2.09302, 2.08596,
    2.07961, 2.07387, 2.06866, 2.06390, 2.05954, 2.05553, 2.05183, 2.04841, 2.04523, 2.04227,
)  # fmt: skip


def t95(degrees_of_freedom: int) -> float:
    """Two-sided 95 % quantile of Student's t; ValueError below one degree of freedom.

    Above 30 by the first two terms of its expansion around the normal quantile (Abramowitz and
    Stegun 26.7.5), right to 0.0002.
    """
    if degrees_of_freedom < 1:
        raise ValueError("Student's t needs at least one degree of freedom")
    if degrees_of_freedom <= len(_T95):
        return _T95[degrees_of_freedom - 1]
    z, n = Z_95, float(degrees_of_freedom)
    first = (z**3 + z) / (4 * n)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
    return z + first + second


def normal_deviate(t: float, degrees_of_freedom: float) -> float:
    """The normal deviate that is as rare as a value of Student's t, with its sign.

    Wallace, Annals of Mathematical Statistics 30 (1959) 1124.
    """
    factor = (8 * degrees_of_freedom + 1) / (8 * degrees_of_freedom + 3)
    square = degrees_of_freedom * math.log1p(t * t / degrees_of_freedom)
    return math.copysign(factor * math.sqrt(square), t)


def student_deviate(z: float, degrees_of_freedom: float) -> float:
    """The value of Student's t that is as rare as a normal deviate: `normal_deviate` undone."""
    factor = (8 * degrees_of_freedom + 1) / (8 * degrees_of_freedom + 3)
    square = degrees_of_freedom * math.expm1((z / factor) ** 2 / degrees_of_freedom)
    return math.copysign(math.sqrt(square), z)
