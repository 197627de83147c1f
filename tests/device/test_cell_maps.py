"""Boxes to maps and back, suppression, tiles, counting."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgehemo.bundle.manifest import InputSpec, KindOperatingPoint, ScoreCalibration
from edgehemo.cells import maps as cell_maps
from edgehemo.cells.counting import expected_count
from edgehemo.cells.finder import (
    MAX_TILE_PX,
    TILE_MARGIN_PX,
    CellFinder,
    calibrate,
    interior_mask,
    tiles_of,
)
from edgehemo.cells.maps import (
    MAP_CHANNELS,
    OTHER_KIND_IOU,
    SAME_KIND_IOU,
    STRIDE,
    read_maps,
    suppress,
)
from edgehemo.errors import BundleError
from edgehemo.field.canonical import CELL_DIAMETER_PX, canonical_field
from edgehemo.images.frame import Frame
from edgehemo.statistics.poisson import poisson_interval

SPEC = InputSpec(
    height_px=None, width_px=None, multiple_of_px=16, um_per_px=0.25, code_of_transmittance_1=200.0
)
FIXED = SPEC.model_copy(update={"height_px": 256, "width_px": 320})


def maps_of(
    boxes: list[tuple[float, float, float, float]], kinds: list[int], height: int, width: int
) -> NDArray[np.float32]:
    """Exact maps of boxes, as a perfect network would answer."""
    maps = np.zeros((height // STRIDE, width // STRIDE, MAP_CHANNELS), np.float32)
    for (x0, y0, x1, y1), kind in zip(boxes, kinds, strict=True):
        cx, cy = (x0 + x1) / 2 / STRIDE, (y0 + y1) / 2 / STRIDE
        column, row = int(cx), int(cy)
        maps[row, column, kind] = 0.9
        maps[row, column, 3:] = (
            cx - column - 0.5,
            cy - row - 0.5,
            math.log((x1 - x0) / CELL_DIAMETER_PX),
            math.log((y1 - y0) / CELL_DIAMETER_PX),
        )
    return maps


@settings(max_examples=60, deadline=None)
@given(
    st.floats(20, 200),
    st.floats(20, 150),
    st.floats(6, 60),
    st.floats(6, 60),
    st.integers(0, 2),
)
def test_a_coded_box_reads_back(cx: float, cy: float, wide: float, tall: float, kind: int) -> None:
    box = (cx - wide / 2, cy - tall / 2, cx + wide / 2, cy + tall / 2)
    rows = read_maps(maps_of([box], [kind], 192, 256))
    assert rows.shape == (1, 6)
    assert rows[0, :4] == pytest.approx(box, abs=1e-2)
    assert rows[0, 5] == kind


def test_suppression_keeps_overlapping_cells_and_drops_twins() -> None:
    rows = np.array(
        [
            [0, 0, 30, 30, 0.9, 0],
            [2, 1, 32, 31, 0.5, 0],  # the same cell again
            [18, 0, 48, 30, 0.8, 0],  # a neighbour that overlaps by 40 %
            [10, 10, 20, 20, 0.7, 2],  # a platelet on the first
        ],
        np.float32,
    )
    kept = suppress(rows)
    assert sorted(kept[:, 4].tolist()) == pytest.approx([0.7, 0.8, 0.9])
    assert suppress(rows[:0]).shape == (0, 6)


def _boxes(rng: np.random.Generator, count: int, reach_px: float) -> NDArray[np.float32]:
    centres = rng.uniform(0, reach_px, (count, 2))
    half = np.exp(rng.normal(2.2, 0.7, (count, 2)))
    told = [rng.random((count, 1)), rng.integers(0, 3, (count, 1))]
    return np.concatenate([centres - half, centres + half, *told], axis=1).astype(np.float32)


def _suppressed_one_by_one(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Greedy suppression as it is defined: every box against all better ones that stayed."""
    kept: list[NDArray[np.float32]] = []
    for row in rows[np.argsort(-rows[:, 4], kind="stable")]:
        for better in kept:
            sides = np.minimum(row[2:4], better[2:4]) - np.maximum(row[:2], better[:2])
            shared = float(np.prod(np.maximum(0, sides)))
            areas = float(np.prod(row[2:4] - row[:2]) + np.prod(better[2:4] - better[:2]))
            limit = SAME_KIND_IOU if row[5] == better[5] else OTHER_KIND_IOU
            if shared / (areas - shared) > limit:
                break
        else:
            kept.append(row)
    return np.array(kept, np.float32)


@pytest.mark.parametrize("few_boxes", [0, cell_maps.FEW_BOXES])
@pytest.mark.parametrize("pairs_at_once", [200, cell_maps.PAIRS_AT_ONCE])
def test_suppression_is_the_same_however_the_boxes_are_compared(
    monkeypatch: pytest.MonkeyPatch, few_boxes: int, pairs_at_once: int
) -> None:
    monkeypatch.setattr(cell_maps, "FEW_BOXES", few_boxes)
    monkeypatch.setattr(cell_maps, "PAIRS_AT_ONCE", pairs_at_once)
    for seed in range(8):
        rows = _boxes(np.random.default_rng(seed), 250, 260.0)
        np.testing.assert_array_equal(suppress(rows), _suppressed_one_by_one(rows))


def test_suppression_of_a_field_full_of_specks_stays_small() -> None:
    # A real phone picture whose scale was misread made 60,000 of them, and 16 GB of pairs.
    rows = _boxes(np.random.default_rng(1), 60_000, 3700.0)
    rows[0, :4] = 100, 100, 330, 330
    tracemalloc.start()
    try:
        assert len(suppress(rows)) > 50_000
        assert tracemalloc.get_traced_memory()[1] < 400e6
    finally:
        tracemalloc.stop()


@settings(max_examples=80, deadline=None)
@given(st.integers(16, 2400), st.integers(16, 2400), st.sampled_from([SPEC, FIXED]))
def test_tiles_answer_for_every_pixel_once(width: int, height: int, spec: InputSpec) -> None:
    answered = np.zeros((height, width), np.uint8)
    for tile in tiles_of(width, height, spec):
        assert tile.x % STRIDE == 0 and tile.y % STRIDE == 0
        assert tile.x <= tile.own_x0 and tile.own_x1 <= tile.x + tile.width
        assert tile.y <= tile.own_y0 and tile.own_y1 <= tile.y + tile.height
        assert tile.width % spec.multiple_of_px == 0 and tile.height % spec.multiple_of_px == 0
        answered[tile.own_y0 : tile.own_y1, tile.own_x0 : tile.own_x1] += 1
    assert (answered == 1).all()


@given(st.integers(769, 4000))
def test_a_tile_of_any_size_is_no_larger_than_its_part_and_margins(width: int) -> None:
    """On the model's coarsest grid, so that it answers what the whole field would."""
    step = SPEC.multiple_of_px
    for tile in tiles_of(width, 100, SPEC):
        assert tile.x % step == 0
        assert tile.width < tile.own_x1 - tile.own_x0 + 2 * TILE_MARGIN_PX + 2 * step
        assert tile.width <= MAX_TILE_PX + step
        assert tile.x == 0 or tile.own_x0 - tile.x >= TILE_MARGIN_PX
        end = min(width, tile.own_x1 + TILE_MARGIN_PX)
        assert tile.x + tile.width >= end


class PerfectRunner:
    """Answers with the exact maps of dark squares in the tile it is given."""

    name, version = "perfect", "0"

    def run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        import cv2

        dark = (codes[0, ..., 1] < 150).astype(np.uint8)
        count, _, stats, _ = cv2.connectedComponentsWithStats(dark)
        boxes = [
            (float(x), float(y), float(x + w), float(y + h))
            for x, y, w, h, _ in stats[1:count]
            if w > 4 and h > 4
        ]
        height, width = codes.shape[1:3]
        return maps_of(boxes, [0] * len(boxes), height, width)[None]


def points(threshold: float = 0.5) -> dict[str, KindOperatingPoint]:
    point = KindOperatingPoint(
        threshold=threshold,
        calibration=ScoreCalibration(slope=1.0, intercept=0.0),
        count_relative_sd=0.02,
    )
    return {"rbc": point, "wbc": point, "platelet": point}


@pytest.mark.parametrize("spec", [SPEC, FIXED])
def test_a_large_field_by_tiles_loses_and_doubles_no_cell(spec: InputSpec) -> None:
    height, width = 900, 1700
    pixels = np.full((height, width, 3), 220, np.uint8)
    wanted = []
    for y in range(40, height - 40, 47):
        for x in range(40, width - 40, 53):
            pixels[y : y + 26, x : x + 26] = 110
            wanted.append((x, y))
    finder = CellFinder(PerfectRunner(), spec, points())
    field = canonical_field(Frame(pixels, "grid"), um_per_px=0.25)
    found = finder.find(field)
    assert found.counts["rbc"] == len(wanted)
    corners = {(round(cell.x0), round(cell.y0)) for cell in found.cells}
    assert corners == set(wanted)


def test_interior_counts_leave_the_border_out() -> None:
    pixels = np.full((320, 320, 3), 220, np.uint8)
    for y, x in ((2, 100), (100, 2), (150, 150), (200, 60)):
        pixels[y : y + 26, x : x + 26] = 110
    finder = CellFinder(PerfectRunner(), SPEC, points())
    found = finder.find(canonical_field(Frame(pixels, "four"), um_per_px=0.25))
    assert found.counts == {"rbc": 4, "wbc": 0, "platelet": 0}
    interior = found.interior_counts["rbc"]
    assert interior.value == pytest.approx(2 * 0.9, abs=0.01)
    assert interior.low < interior.value < interior.high
    side_mm = (320 - 36) * 0.25e-3
    assert found.interior_area_mm2 == pytest.approx(side_mm**2)


def test_interior_respects_the_field_stop() -> None:
    valid = np.zeros((200, 200), np.bool_)
    valid[50:150, 50:150] = True
    inside = interior_mask(valid)
    assert inside[100, 100] and not inside[55, 100] and inside.sum() < valid.sum()


@given(st.floats(0, 5000))
def test_poisson_interval_holds_its_count(count: float) -> None:
    low, high = poisson_interval(count)
    assert 0 <= low <= count <= high
    if count >= 1:
        # Exact limits of Garwood for comparison at a few counts are in the next test.
        assert high - low < 6 * math.sqrt(count) + 6


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(0, 0.0, 3.689), (1, 0.0253, 5.572), (10, 4.795, 18.39), (100, 81.36, 121.63)],
)
def test_poisson_interval_against_exact_limits(count: int, low: float, high: float) -> None:
    """Garwood's exact 95 % limits (chi-squared quantiles); Byar's lie within 2 % from 10 on."""
    ours = poisson_interval(count)
    tolerance = 0.02 if count >= 10 else 0.25
    assert ours[0] == pytest.approx(low, rel=tolerance, abs=0.2)
    assert ours[1] == pytest.approx(high, rel=tolerance, abs=0.2)


def test_expected_count_widens_with_doubt() -> None:
    sure = expected_count(np.ones(100, np.float32), relative_sd=0.0)
    doubtful = expected_count(np.full(200, 0.5, np.float32), relative_sd=0.0)
    systematic = expected_count(np.ones(100, np.float32), relative_sd=0.2)
    assert sure.value == doubtful.value == systematic.value == 100
    assert sure.high - sure.low < doubtful.high - doubtful.low
    assert sure.high - sure.low < systematic.high - systematic.low
    empty = expected_count(np.zeros(0, np.float32), relative_sd=0.1)
    assert empty.value == 0 and empty.low == 0 and empty.high > 3


def test_calibration_is_a_logistic_of_the_logit() -> None:
    point = KindOperatingPoint(
        threshold=0.5,
        calibration=ScoreCalibration(slope=2.0, intercept=1.0),
        count_relative_sd=0.0,
    )
    score = np.array([0.2, 0.5, 0.9], np.float32)
    logit = np.log(score / (1 - score))
    expected = 1 / (1 + np.exp(-(2 * logit + 1)))
    assert calibrate(score, point) == pytest.approx(expected, rel=1e-5)


def test_a_finder_of_another_scale_or_without_points_is_refused() -> None:
    with pytest.raises(BundleError, match="um/px"):
        CellFinder(PerfectRunner(), SPEC.model_copy(update={"um_per_px": 0.1}), points())
    with pytest.raises(BundleError, match="operating point"):
        CellFinder(PerfectRunner(), SPEC, {"rbc": points()["rbc"]})
