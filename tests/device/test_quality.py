"""Quality as a whole: good fields pass, every verdict has its evidence, no frame makes it raise."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from edgehemo.guidance.catalogue import catalogue
from edgehemo.images.frame import Frame
from edgehemo.quality import QualityReport
from edgehemo.quality.limits import LIMITS
from tests.support.quality_frames import empty_frame, frame_of, judge, named


@pytest.fixture(scope="module")
def good() -> Frame:
    return frame_of()


@pytest.mark.parametrize("um_per_px", [0.1, 0.2, 0.35])
def test_a_good_field_is_accepted_at_any_scale(um_per_px: float) -> None:
    report = judge(frame_of(3, um_per_px=um_per_px), um_per_px)
    assert report.accepted, report.failed


def test_a_good_field_is_accepted_by_its_own_cells_scale(good: Frame) -> None:
    report = judge(good, None)
    assert report.accepted, report.failed
    assert named(report, "scale_cells").value is not None


def test_every_limit_has_evidence() -> None:
    assert all(entry.evidence and entry.unit for entry in LIMITS.values())


def test_what_does_not_pass_says_what_to_do(good: Frame) -> None:
    for report in (judge(good), judge(empty_frame(good), None)):
        names = [check.name for check in report.checks]
        assert len(names) == len(set(names))
        for check in report.checks:
            assert bool(check.code) == bool(check.action) == (check.verdict != "pass")
            assert check.code == "" or check.action == catalogue()[check.code].action  # type: ignore[index]


def sane(report: QualityReport) -> None:
    for check in report.checks:
        assert check.value is None or math.isfinite(check.value), check
        assert check.limit is None or math.isfinite(check.limit), check
        assert check.verdict in ("pass", "warn", "fail")
    assert report.accepted == all(check.verdict != "fail" for check in report.checks)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    pixels=hnp.arrays(np.uint8, st.tuples(st.integers(32, 48), st.integers(32, 48), st.just(3))),
    um_per_px=st.one_of(st.none(), st.floats(0.02, 2.0)),
)
def test_no_tiny_frame_makes_it_raise(pixels: NDArray[np.uint8], um_per_px: float | None) -> None:
    sane(judge(Frame(pixels, "any"), um_per_px))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["uniform", "noise", "clouds", "half", "extremes"]),
    width=st.integers(32, 200),
    height=st.integers(32, 200),
    um_per_px=st.one_of(st.none(), st.floats(0.02, 1.0)),
)
def test_no_frame_makes_it_raise(
    seed: int, kind: str, width: int, height: int, um_per_px: float | None
) -> None:
    rng = np.random.default_rng(seed)
    if kind == "uniform":
        pixels = np.full((height, width, 3), rng.integers(0, 256), np.uint8)
    elif kind == "noise":
        pixels = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    elif kind == "clouds":
        small = rng.integers(0, 256, (4, 4, 3)).astype(np.uint8)
        pixels = np.asarray(cv2.resize(small, (width, height)), np.uint8)
    elif kind == "half":
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[:, width // 2 :] = rng.integers(0, 256, 3)
    else:
        pixels = (255 * rng.integers(0, 2, (height, width, 3))).astype(np.uint8)
    sane(judge(Frame(pixels, kind), um_per_px))
