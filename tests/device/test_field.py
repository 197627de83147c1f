"""The canonical field: the same slide under two lamps is the same; scale and geometry."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgehemo.errors import FieldError
from edgehemo.field.canonical import (
    CANONICAL_UM_PER_PX,
    MAX_TRANSMITTANCE,
    UINT8_PER_TRANSMITTANCE,
    canonical_field,
)
from edgehemo.field.illumination import estimate_illumination, field_stop_mask
from edgehemo.images.frame import Frame
from edgehemo.images.reading import read_frame
from edgehemo.profile.parts import IlluminationCalibration
from edgehemo.profile.profile import new_profile
from edgehemo.simulation.field import simulate_field
from edgehemo.simulation.panels import draw_panel
from tests.support.smears import set_files

# The limit the project promises: mean absolute transmittance between two lamps.
MAX_LAMP_DIFFERENCE = 0.02
REAL_SETS = {
    "bccd": 6,
    "chula_rbc12": 10,
    "chula_disease": 3,
    "anerbc": 3,
    "txl_pbc": 6,
}


def another_lamp(pixels: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Recoloured, vignetted (off centre) and with a tilted lamp; never brighter than before."""
    rng = np.random.default_rng(seed)
    height, width = pixels.shape[:2]
    y, x = np.mgrid[:height, :width]
    cx, cy = width * rng.uniform(0.4, 0.6), height * rng.uniform(0.4, 0.6)
    radius2 = ((x - cx) ** 2 + (y - cy) ** 2) / (width**2 / 4 + height**2 / 4)
    light = 1 - rng.uniform(0.15, 0.35) * radius2
    light = light * (1 + rng.uniform(-0.1, 0.1) * (x / width - 0.5))
    gains = rng.uniform(0.65, 0.95, 3)
    out = pixels * light[..., None] * gains + 0.5
    return np.asarray(np.clip(out, 0, 255), np.uint8)


@pytest.mark.real
@pytest.mark.parametrize("name", REAL_SETS)
def test_two_lamps_give_the_same_field(name: str, data_root: Path) -> None:
    paths = set_files(data_root, name)
    chosen = paths[:: max(1, len(paths) // REAL_SETS[name])][: REAL_SETS[name]]
    for number, path in enumerate(chosen):
        frame = read_frame(path)
        untouched = canonical_field(frame, um_per_px=0.2)
        altered = canonical_field(
            Frame(another_lamp(frame.pixels, number), frame.source), um_per_px=0.2
        )
        both = untouched.valid & altered.valid
        difference = np.abs(untouched.transmittance - altered.transmittance)[both]
        assert difference.mean() < MAX_LAMP_DIFFERENCE, path.name


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "um_per_px", "tolerance"),
    [("chula_rbc12", 0.20, 0.20), ("anerbc", 0.38, 0.15), ("bccd", 0.08, 0.3)],
)
def test_scale_from_red_cells_is_what_the_set_has(
    name: str, um_per_px: float, tolerance: float, data_root: Path
) -> None:
    paths = set_files(data_root, name)
    chosen = paths[:: max(1, len(paths) // 12)][:12]
    found = [canonical_field(read_frame(path)) for path in chosen]
    measured = [field.frame_um_per_px for field in found if field.scale_source == "red_cells"]
    assert len(measured) >= 0.8 * len(chosen)
    assert abs(np.log(np.median(measured) / um_per_px)) < tolerance


@pytest.mark.parametrize("um_per_px", [0.1, 0.2, 0.35])
def test_transmittance_of_a_simulated_field_is_the_truth(um_per_px: float) -> None:
    rng = np.random.default_rng(5)
    made = simulate_field(
        draw_panel(rng), rng=rng, width_px=480, height_px=360, um_per_px=um_per_px
    )
    field = canonical_field(made.frame, um_per_px=CANONICAL_UM_PER_PX)
    assert field.transmittance.shape == made.truth.transmittance.shape
    difference = np.abs(field.transmittance - made.truth.transmittance)
    assert difference.mean() < MAX_LAMP_DIFFERENCE


@pytest.mark.parametrize("um_per_px", [0.1, 0.2, 0.38])
def test_scale_of_a_simulated_field(um_per_px: float) -> None:
    rng = np.random.default_rng(11)
    panel = draw_panel(rng, hgb_g_per_l=140.0)
    made = simulate_field(
        panel,
        rng=rng,
        width_px=round(90 / um_per_px),
        height_px=round(70 / um_per_px),
        um_per_px=um_per_px,
    )
    areas = [cell.area_um2 for cell in made.truth.cells if cell.kind == "rbc"]
    true_diameter_um = np.sqrt(4 * np.median(areas) / np.pi)
    field = canonical_field(made.frame)
    assert field.scale_source == "red_cells"
    expected = um_per_px * 7.5 / true_diameter_um
    assert field.frame_um_per_px == pytest.approx(expected, rel=0.08)


def test_a_measured_flat_field_and_dark_level_are_divided_out() -> None:
    """A steep vignette over a pedestal: with both measured, the truth comes back."""
    rng = np.random.default_rng(8)
    made = simulate_field(draw_panel(rng), rng=rng, width_px=480, height_px=360, um_per_px=0.2)
    y, x = np.mgrid[:360, :480]
    light = 190 * (1 - 0.45 * ((x - 250) ** 2 + (y - 170) ** 2) / (250**2 + 190**2))
    dark = 12.0
    gains = np.array([1.0, 0.9, 0.7])
    pixels = made.truth.transmittance * light[..., None] * gains + dark
    frame = Frame(np.round(pixels).astype(np.uint8), "vignetted")
    grid_y, grid_x = np.linspace(0, 359, 24).astype(int), np.linspace(0, 479, 32).astype(int)
    flat = light[np.ix_(grid_y, grid_x)][..., None] * gains + dark
    profile = new_profile(datetime(2026, 11, 22, tzinfo=UTC), software_version="0").model_copy(
        update={
            "illumination": IlluminationCalibration(
                flat_field=flat.tolist(), target_level=190.0, dark_level=dark
            )
        }
    )
    field = canonical_field(frame, um_per_px=CANONICAL_UM_PER_PX, profile=profile)
    assert field.illumination.source == "flat_field"
    assert np.abs(field.transmittance - made.truth.transmittance).mean() < 0.01
    without_dark = profile.model_copy(
        update={
            "illumination": IlluminationCalibration(flat_field=flat.tolist(), target_level=190.0)
        }
    )
    wrong = canonical_field(frame, um_per_px=CANONICAL_UM_PER_PX, profile=without_dark)
    assert (
        np.abs(wrong.transmittance - made.truth.transmittance).mean()
        > np.abs(field.transmittance - made.truth.transmittance).mean()
    )


def test_field_codes_and_geometry(small_frame: Frame) -> None:
    field = canonical_field(small_frame, um_per_px=0.5)
    assert field.scale_source == "given"
    assert field.width == round(small_frame.width * 0.5 / CANONICAL_UM_PER_PX)
    across, down = field.frame_px_per_canonical_px
    assert across == pytest.approx(0.5) and down == pytest.approx(0.5)
    codes = field.to_uint8()
    assert codes.dtype == np.uint8 and codes.shape == field.transmittance.shape
    expected = np.minimum(np.round(field.transmittance * UINT8_PER_TRANSMITTANCE), 255)
    assert np.abs(codes.astype(float) - expected).max() <= 1


def test_blank_frame_has_no_measured_scale() -> None:
    field = canonical_field(Frame(np.full((240, 320, 3), 200, np.uint8), "blank"))
    assert field.scale_source == "assumed"
    assert field.transmittance.mean() == pytest.approx(1.0, abs=0.01)


def test_too_small_and_mad_scales_are_refused() -> None:
    with pytest.raises(FieldError, match="too small"):
        canonical_field(Frame(np.zeros((20, 400, 3), np.uint8), "strip"))
    frame = Frame(np.full((64, 64, 3), 200, np.uint8), "x")
    for scale in (0.001, 50.0, float("nan")):
        with pytest.raises(FieldError, match="um/px"):
            canonical_field(frame, um_per_px=scale)


def test_field_stop_is_found_and_left_out() -> None:
    y, x = np.mgrid[:300, :400]
    inside = (x - 200) ** 2 + (y - 150) ** 2 < 140**2
    pixels = np.where(inside[..., None], 210, 8).astype(np.uint8).repeat(1, axis=2)
    pixels = np.broadcast_to(pixels, (300, 400, 3)).copy()
    pixels[140:160, 190:215] = 40  # a nucleus in the middle stays inside
    mask = field_stop_mask(pixels)
    assert mask[150, 200] and not mask[5, 5]
    assert not (mask & ~inside).any()
    assert mask.sum() > 0.8 * inside.sum()


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(32, 90),
    st.integers(32, 90),
    st.sampled_from(["noise", "black", "white", "ramp"]),
)
def test_any_frame_gives_a_finite_field(seed: int, height: int, width: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    pixels = {
        "noise": rng.integers(0, 256, (height, width, 3)).astype(np.uint8),
        "black": np.zeros((height, width, 3), np.uint8),
        "white": np.full((height, width, 3), 255, np.uint8),
        "ramp": np.broadcast_to(
            np.linspace(0, 255, width)[None, :, None], (height, width, 3)
        ).astype(np.uint8),
    }[kind]
    field = canonical_field(Frame(pixels, kind), um_per_px=0.25)
    assert np.isfinite(field.transmittance).all()
    assert field.transmittance.min() >= 0
    assert field.transmittance.max() <= MAX_TRANSMITTANCE + 1e-6


def test_lamp_colour_and_level_do_not_move_the_surface_quotient() -> None:
    rng = np.random.default_rng(2)
    made = simulate_field(draw_panel(rng), rng=rng, width_px=400, height_px=300, um_per_px=0.2)
    bright = estimate_illumination(made.frame.pixels)
    dim = estimate_illumination((made.frame.pixels * np.array([0.5, 0.7, 0.6])).astype(np.uint8))
    ratio = dim.surface / bright.surface
    assert np.abs(ratio / ratio.mean(axis=(0, 1)) - 1).max() < 0.03
