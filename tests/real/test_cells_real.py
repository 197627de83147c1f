"""The shipped finder on real smears: counts, lamps, tiles. Limits are loose; figures are in the
model card, and the kept-out test part is not looked at here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgehemo.bundle.bundle import load_bundle
from edgehemo.cells import CellFinder, finder, open_cell_finder
from edgehemo.cells.finder import interior_mask
from edgehemo.field.canonical import CanonicalField, canonical_field
from edgehemo.images.frame import Frame
from edgehemo.images.reading import read_frame
from edgehemo_export.data.relabels import LabelledImage, labelled_images
from edgehemo_export.data.splits import EARLIER_SPLIT, model_split
from tests.support.smears import set_files

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def cell_finder() -> CellFinder:
    return open_cell_finder(load_bundle(), threads=1)


@pytest.fixture(scope="module")
def labelled(data_root: Path) -> list[LabelledImage]:
    """Completely labelled images that were not trained on, of both microscopes."""
    split = model_split("cell_finder", {"split": EARLIER_SPLIT})  # the shipped finder's
    images = split.select(labelled_images(data_root), "tune")
    chosen: list[LabelledImage] = []
    for source in ("txl_pbc", "txl_raabin"):
        chosen += [image for image in images if image.source == source][:15]
    return chosen


def interior_labels(image: LabelledImage, field: CanonicalField) -> int:
    inside = interior_mask(field.valid)
    across, down = field.frame_px_per_canonical_px
    red = image.boxes[image.kinds == 0]
    column = np.clip((red[:, 0] + red[:, 2]) / 2 / across, 0, field.width - 1).astype(int)
    row = np.clip((red[:, 1] + red[:, 3]) / 2 / down, 0, field.height - 1).astype(int)
    return int(inside[row, column].sum())


def test_interior_red_cells_are_counted(
    cell_finder: CellFinder, labelled: list[LabelledImage]
) -> None:
    expected = counted = low = high = 0.0
    for image in labelled:
        field = canonical_field(read_frame(image.path))
        count = cell_finder.find(field).interior_counts["rbc"]
        counted += count.value
        low, high = low + count.low, high + count.high
        expected += interior_labels(image, field)
    assert expected > 80
    assert abs(counted / expected - 1) < 0.10
    assert low < expected < high


def test_the_white_cell_in_the_middle_is_found(
    cell_finder: CellFinder, labelled: list[LabelledImage]
) -> None:
    found = 0
    for image in labelled:
        cells = cell_finder.find(canonical_field(read_frame(image.path)))
        white = image.boxes[image.kinds == 1]
        centres = [(float(b[0] + b[2]) / 2, float(b[1] + b[3]) / 2) for b in white]
        found += all(
            any(c.x0 < x < c.x1 and c.y0 < y < c.y1 for c in cells.of_kind("wbc"))
            for x, y in centres
        )
    assert found >= 0.93 * len(labelled)


def half_exposure(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return (pixels // 2).astype(np.uint8)


def blue_cast(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(pixels * np.array([0.7, 0.85, 1.0]), np.uint8)


def vignette(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    y, x = np.mgrid[:height, :width]
    radius2 = ((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2) * 2
    return np.asarray(pixels * (1 - 0.4 * radius2)[..., None], np.uint8)


@pytest.mark.parametrize("change", [half_exposure, blue_cast, vignette])
def test_another_lamp_counts_the_same_cells(
    cell_finder: CellFinder,
    data_root: Path,
    change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
) -> None:
    paths = set_files(data_root, "chula_rbc12")[::63]
    before = after = 0.0
    for path in paths:
        frame = read_frame(path)
        altered = Frame(change(frame.pixels), frame.source)
        before += cell_finder.find(canonical_field(frame)).interior_counts["rbc"].value
        after += cell_finder.find(canonical_field(altered)).interior_counts["rbc"].value
    assert before > 300
    assert abs(after / before - 1) < 0.03


def test_tiles_find_what_the_whole_field_shows(
    cell_finder: CellFinder, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = set_files(data_root, "chula_rbc12")[40::150]
    fields = [canonical_field(read_frame(path)) for path in paths]
    whole = sum(cell_finder.find(field).interior_counts["rbc"].value for field in fields)
    monkeypatch.setattr(finder, "MAX_TILE_PX", 256)
    assert all(len(finder.tiles_of(f.width, f.height, cell_finder.spec)) > 1 for f in fields)
    tiled = sum(cell_finder.find(field).interior_counts["rbc"].value for field in fields)
    assert whole > 200
    assert tiled == pytest.approx(whole, rel=0.002)


def test_a_low_magnification_field_has_its_thousand_cells(
    cell_finder: CellFinder, data_root: Path
) -> None:
    """AneRBC says about 1000 red cells a field, far from any scale that was trained on."""
    for path in set_files(data_root, "anerbc", "healthy"):
        if path.stem not in ("001_h", "003_h"):
            continue
        found = cell_finder.find(canonical_field(read_frame(path)))
        assert 500 < found.counts["rbc"] < 2500
        for cell in found.cells:
            assert cell.x1 > cell.x0 and cell.y1 > cell.y0
            assert cell.x0 >= 0 and cell.x1 <= 1224 and cell.y0 >= 0 and cell.y1 <= 960
