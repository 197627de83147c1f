"""Medians and quantiles against numpy's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from edgehemo.statistics.medians import column_medians, median_of, quantiles_of

VALUES = hnp.arrays(
    np.float32,
    hnp.array_shapes(max_dims=2, max_side=40),
    elements=st.floats(-1000, 1000, width=32),
)


@given(VALUES)
def test_the_median_is_numpys(values: NDArray[np.float32]) -> None:
    assert median_of(values) == pytest.approx(float(np.median(values)), rel=1e-5, abs=1e-4)


@given(VALUES, st.floats(0, 1))
def test_quantiles_are_numpys(values: NDArray[np.float32], share: float) -> None:
    wanted = float(np.quantile(values.astype(np.float64), share))
    assert quantiles_of(values, (share,))[0] == pytest.approx(wanted, rel=1e-5, abs=1e-3)


def test_of_nothing_there_is_none() -> None:
    nothing = np.zeros(0, np.float32)
    assert np.isnan(median_of(nothing)) and np.isnan(quantiles_of(nothing, (0.5,))[0])


def test_columns_have_their_own_medians() -> None:
    values = np.array([[1.0, 5.0], [2.0, 9.0], [7.0, 1.0], [8.0, 2.0]])
    assert column_medians(values).tolist() == np.median(values, axis=0).tolist() == [4.5, 3.5]
    assert column_medians(values[:3]).tolist() == [2.0, 5.0]
