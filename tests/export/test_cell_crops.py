"""One cell's picture: cut out, brought to one scale, its background and its mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from edgehemo.cells.crops import background_level, canonical_crop, crop_at, crop_scale, crops_at
from edgehemo.errors import FieldError
from edgehemo.images.reading import read_frame
from edgehemo_export.data.cell_masks import middle_cell

pytestmark = pytest.mark.host


def test_crops_at_shows_the_centre_and_pads_with_clear_field(rng: np.random.Generator) -> None:
    field = rng.integers(0, 255, (50, 60, 3)).astype(np.uint8)
    whole = crop_at(field, (30.0, 20.0), 16)
    assert np.array_equal(whole, field[12:28, 22:38])
    cut = crops_at(field, np.array([[0.0, 0.0], [60.0, 50.0], [500.0, 9.0]], np.float32), 16)
    assert np.array_equal(cut[0, 8:, 8:], field[:8, :8])
    assert (cut[0, :8] == 200).all() and (cut[0, :, :8] == 200).all()
    assert np.array_equal(cut[1, :8, :8], field[-8:, -8:])
    assert (cut[2] == 200).all()


def test_crops_at_another_scale_keeps_the_middle(rng: np.random.Generator) -> None:
    field = np.full((80, 80, 3), 200, np.uint8)
    field[38:42, 38:42] = 20
    finer = crop_at(field, (40.0, 40.0), 50, field_px_per_crop_px=0.8)
    assert finer.shape == (50, 50, 3)
    dark = np.argwhere(finer[..., 0] < 100)
    assert abs(dark.mean(axis=0) - 24.5).max() < 0.6
    assert abs(np.ptp(dark[:, 0]) + 1 - 5) <= 1
    assert crops_at(field, np.empty((0, 2), np.float32), 32).shape == (0, 32, 32, 3)


def test_background_is_the_brightest_mode_whatever_the_lamp() -> None:
    rng = np.random.default_rng(3)
    picture = np.full((90, 90, 3), (240.0, 225.0, 200.0)) + rng.normal(0, 2, (90, 90, 3))
    picture[20:70, 20:75] = (120, 70, 150)
    pixels = np.clip(picture, 0, 255).astype(np.uint8)
    assert np.abs(background_level(pixels) - (240, 225, 200)).max() < 2
    codes = canonical_crop(pixels, 0.25, 64)
    dim = canonical_crop((pixels * 0.6).astype(np.uint8), 0.25, 64)
    assert np.abs(codes[:5, :5].astype(float) - 200).mean() < 4
    assert np.abs(codes.astype(float) - dim).mean() < 2


@pytest.mark.real
def test_canonical_crop_has_one_scale_for_any_picture_size(data_root: Path) -> None:
    """Republished at 360 px and at 160 px, one PBC cell gives nearly one crop."""
    big = data_root / "three_class" / "basophil"
    small = data_root / "pbc" / "basophil"
    shared = [path.name for path in sorted(big.glob("*.jpg")) if (small / path.name).is_file()][:8]
    assert shared
    first = canonical_crop(read_frame(big / shared[0]).pixels, 0.092, 96)
    for name in shared:
        large = read_frame(big / name).pixels
        little = read_frame(small / name).pixels
        crops = [
            canonical_crop(pixels, 36.8 / max(pixels.shape[:2]), 96) for pixels in (large, little)
        ]
        greens = [crop[..., 1].astype(float).ravel() for crop in (*crops, first)]
        likeness = np.corrcoef(greens)
        assert likeness[0, 1] > 0.9
        if name != shared[0]:
            assert likeness[1, 2] < 0.85, "another cell is another crop"


@pytest.mark.real
def test_scale_is_given_measured_or_assumed(data_root: Path) -> None:
    pixels = read_frame(next(iter(sorted((data_root / "pbc" / "platelet").glob("*"))))).pixels
    assert crop_scale(pixels, 0.3).source == "given"
    measured = crop_scale(pixels)
    assert measured.source == "red_cells" and 0.18 < measured.um_per_px < 0.3
    blank = np.full((100, 100, 3), 230, np.uint8)
    assert crop_scale(blank).source == "assumed"
    with pytest.raises(FieldError, match="um-per-px"):
        crop_scale(blank, 40.0)
    with pytest.raises(FieldError, match="too small"):
        canonical_crop(blank[:8], 0.2, 32)


def test_middle_cell_is_masked_without_its_neighbours() -> None:
    side = 96
    codes = np.full((side, side, 3), 200, np.uint8)
    y, x = np.mgrid[:side, :side]
    neighbour = np.hypot(y - 20, x - 20) < 15
    codes[neighbour] = (190, 120, 130)
    cell = np.hypot(y - 48, x - 50) < 22
    codes[cell] = (150, 140, 180)
    codes[np.hypot(y - 48, x - 50) < 13] = (70, 40, 120)
    mask = middle_cell(codes, 0.25)
    assert (mask & cell).sum() > 0.95 * cell.sum()
    assert (mask & neighbour).sum() < 0.15 * neighbour.sum()
    assert not middle_cell(np.full((side, side, 3), 200, np.uint8), 0.25).any()
