"""The line of few pairs: what is known beforehand, what the pairs add, a pair that is mixed up."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgehemo.statistics.student import t95
from edgehemo_calibration.analyser.line import (
    ERROR_FREEDOM,
    FIELD_ERROR_SHARE,
    OFFSET_SHARE,
    SAMPLE_ERROR_SHARE,
    Array,
    fit_line,
    left_out_estimates,
)

ERROR = 0.17


def pairs(count: int, seed: int, offset: float = 0.0, error: float = ERROR) -> tuple[Array, Array]:
    """Covers and haemoglobins of a microscope, 330 g/L at full cover; offset and error as shares
    of the typical value.
    """
    rng = np.random.default_rng(seed)
    cover = rng.uniform(0.15, 0.5, count)
    hgb = 330 * cover + 107 * offset
    return cover[:, None], hgb + 107 * error * rng.standard_normal(count)


def test_the_line_by_hand() -> None:
    """Ridge on the intercept alone, and the error of pairs and of what is known before them."""
    x, y = pairs(8, 0)
    line = fit_line(x, y, mixed_up=0.0)
    assert line is not None
    design = np.column_stack([np.ones(8), x])
    error = float(np.median(y)) * math.hypot(SAMPLE_ERROR_SHARE, FIELD_ERROR_SHARE)
    prior = np.diag([(error / (OFFSET_SHARE * float(np.median(y)))) ** 2, 0.0])
    inverse = np.linalg.inv(design.T @ design + prior)
    expected = inverse @ design.T @ y
    assert line.coefficients == pytest.approx(expected)
    assert line.unscaled_covariance == pytest.approx(inverse)
    residual = y - design @ expected
    squares = residual @ residual + prior[0, 0] * expected[0] ** 2 + ERROR_FREEDOM * error**2
    assert line.prediction_sd == pytest.approx(math.sqrt(squares / (ERROR_FREEDOM + 7)))
    assert line.degrees_of_freedom == 10
    assert line.residual_sd(x, y) == pytest.approx(math.sqrt(residual @ residual / 6))


def test_many_pairs_have_the_last_word() -> None:
    """A line far from zero, which nothing beforehand expects."""
    x, y = pairs(2000, 1, offset=0.8)
    line = fit_line(x, y)
    assert line is not None
    assert line.coefficients == pytest.approx([107 * 0.8, 330], rel=0.05)
    assert line.prediction_sd == pytest.approx(107 * ERROR, rel=0.05)


def test_few_pairs_are_held_to_what_is_known() -> None:
    """Eight pairs: nearer the truth than a free line, over many microscopes."""
    held, free = [], []
    true = 330 * np.linspace(0.15, 0.5, 8)
    for seed in range(150):
        x, y = pairs(8, seed, offset=0.1 * float(np.random.default_rng(seed).standard_normal()))
        line = fit_line(x, y)
        assert line is not None
        at = np.linspace(0.15, 0.5, 8)[:, None]
        held.append(np.abs(line.at(at) - true).mean())
        slope, intercept = np.polyfit(x[:, 0], y, 1)
        free.append(np.abs(intercept + slope * at[:, 0] - true).mean())
    assert np.mean(held) < 0.93 * np.mean(free)


def test_a_mixed_up_pair_is_told_and_hardly_moves_the_line() -> None:
    moved, plain, told = [], [], []
    at = np.linspace(0.15, 0.5, 8)[:, None]
    for seed in range(60):
        x, y = pairs(8, seed, error=0.08)
        good = fit_line(x, y, fields_per_sample=10)
        low = int(np.argmin(y))
        y[low] = 180.0
        line = fit_line(x, y, fields_per_sample=10)
        trusting = fit_line(x, y, fields_per_sample=10, mixed_up=0.0)
        assert good is not None and line is not None and trusting is not None
        told.append(line.mixed_up[low])
        moved.append(np.abs(line.at(at) - good.at(at)).mean())
        plain.append(np.abs(trusting.at(at) - good.at(at)).mean())
        assert trusting.mixed_up.max() == 0.0
    assert np.mean(told) > 0.8
    assert np.mean(moved) < 0.4 * np.mean(plain)


def test_intervals_hold_on_new_patients() -> None:
    inside = []
    for seed in range(150):
        x, y = pairs(8, seed)
        new, truth = pairs(40, 10_000 + seed)
        line = fit_line(x, y)
        assert line is not None
        reach = t95(line.degrees_of_freedom) * line.prediction_sd * np.sqrt(line.spread(new))
        inside.append(np.abs(line.at(new) - truth) <= reach)
    assert 0.93 <= np.mean(inside) <= 0.98


def test_more_fields_are_expected_to_err_less() -> None:
    x, y = pairs(8, 3, error=0.05)
    one, ten = fit_line(x, y), fit_line(x, y, fields_per_sample=10)
    assert one is not None and ten is not None
    assert ten.prediction_sd < 0.8 * one.prediction_sd


def test_left_out_estimates_are_those_of_lines_without_the_group() -> None:
    x, y = pairs(9, 4)
    groups = np.array([0, 0, 1, 2, 3, 4, 5, 6, 7])
    together = left_out_estimates(x, y, groups)
    assert together is not None
    for group in range(8):
        out = groups == group
        line = fit_line(x[~out], y[~out], mixed_up=0.0)
        assert line is not None
        # The typical value is another without the group; it hardly matters.
        assert together[out] == pytest.approx(line.at(x[out]), rel=0.02)


def test_features_that_do_not_vary_give_no_line() -> None:
    constant, y = np.ones((8, 1)), np.linspace(80.0, 150.0, 8)
    assert fit_line(constant, y) is None
    assert left_out_estimates(constant, y, np.arange(8)) is None
    assert fit_line(np.arange(2.0)[:, None], np.array([80.0, 150.0])) is None
