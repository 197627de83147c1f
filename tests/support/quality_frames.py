"""Frames of the simulated microscope, good but for what a test spoils, and their verdict."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from edgehemo.field.canonical import canonical_field
from edgehemo.images.frame import Frame
from edgehemo.profile.parts import ScaleCalibration
from edgehemo.profile.profile import CalibrationProfile, new_profile
from edgehemo.quality import Check, QualityReport, check_field
from edgehemo.simulation.field import simulate_field
from edgehemo.simulation.panels import CBCPanel
from edgehemo.simulation.parameters import OpticsParameters, SensorParameters, SmearParameters

PANEL = CBCPanel.from_indices(hgb_g_per_l=140.0, mcv_fl=88.0, mchc_g_per_l=332.0)
SCALE = 0.2


def frame_of(
    seed: int = 0,
    *,
    um_per_px: float = SCALE,
    optics: OpticsParameters | None = None,
    smear: SmearParameters | None = None,
    sensor: SensorParameters | None = None,
    size_px: tuple[int, int] = (480, 360),
) -> Frame:
    return simulate_field(
        PANEL,
        rng=np.random.default_rng(seed),
        width_px=size_px[0],
        height_px=size_px[1],
        um_per_px=um_per_px,
        optics=optics,
        smear=smear,
        sensor=sensor,
    ).frame


def judge(frame: Frame, um_per_px: float | None = SCALE, **parts: object) -> QualityReport:
    field = canonical_field(frame, um_per_px=um_per_px)
    return check_field(field, frame, **parts)  # type: ignore[arg-type]


def pixels_of(frame: Frame) -> NDArray[np.float32]:
    return frame.pixels.astype(np.float32)


def changed(frame: Frame, pixels: NDArray[np.floating]) -> Frame:
    return replace(frame, pixels=np.clip(np.round(pixels), 0, 255).astype(np.uint8))


def codes(report: QualityReport, verdict: str) -> set[str]:
    return {check.code for check in report.checks if check.verdict == verdict}


def named(report: QualityReport, name: str) -> Check:
    return next(check for check in report.checks if check.name == name)


def profile_with(**parts: object) -> CalibrationProfile:
    empty = new_profile(datetime(2026, 11, 1, tzinfo=UTC), software_version="test")
    return empty.model_copy(update=parts)


def scale_of(um_per_px: float, frame_px: tuple[int, int] | None) -> ScaleCalibration:
    return ScaleCalibration(
        um_per_px=um_per_px, relative_uncertainty=0.002, method="test", frame_px=frame_px
    )


def empty_frame(good: Frame) -> Frame:
    field = canonical_field(good, um_per_px=SCALE)
    light = field.illumination.resampled(good.width, good.height)
    return changed(good, light + np.random.default_rng(0).normal(0, 1.5, light.shape))
