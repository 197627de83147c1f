"""Physical indices of one canonical field: cover, optical densities, sizes, count density."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.cells.cell import FieldCells
from edgehemo.estimate.values import FieldIndices
from edgehemo.field.canonical import CANONICAL_UM_PER_PX, UINT8_PER_TRANSMITTANCE, CanonicalField
from edgehemo.field.scale import cell_mask

# A pixel is dark over this green optical density: well above the noise of a background at 1, well
# below the thinnest part of a stained red cell.
DARK_OD = 0.06
# What a single red cell's area can be, um^2: a microspherocyte of 4.4 um to a macro-ovalocyte of
# 14 um (Bain, Blood Cells: normal 6.7 to 7.7 um).
MIN_CELL_AREA_UM2 = 15.0
MAX_CELL_AREA_UM2 = 160.0
# Fewer single cells than this give no typical size.
MIN_SINGLE_CELLS = 5
# Chromatin takes up methylene blue or azure, which absorb in red; haemoglobin and eosin hardly do.
NUCLEUS_MIN_RED_OD = 0.15
NUCLEUS_TIMES_CELL_RED_OD = 2.5
NUCLEUS_ABOVE_CELL_RED_OD = 0.12
# What surrounds a nucleus and is no red cell either: a white cell's cytoplasm.
CYTOPLASM_UM = 2.0
PLATELET_RIM_UM = 0.5
# Chromatin patches above this are nuclei, below it platelets or grains.
MIN_NUCLEUS_AREA_UM2 = 15.0
MIN_PLATELET_AREA_UM2 = 1.0
# Boxes of white cells and platelets are drawn tight: leave out this much more around them.
BOX_MARGIN_UM = 0.5

_UM2_PER_PX = CANONICAL_UM_PER_PX**2
_FLOOR_TRANSMITTANCE = 0.01


def _densities_of_codes() -> NDArray[np.float32]:
    transmittance = np.arange(256) / UINT8_PER_TRANSMITTANCE
    return np.asarray(-np.log10(np.maximum(transmittance, _FLOOR_TRANSMITTANCE)), dtype=np.float32)


_DENSITY_OF_CODE = _densities_of_codes()


def field_indices(field: CanonicalField, cells: FieldCells | None = None) -> FieldIndices:
    """Measure one canonical field.

    White cells and platelets are left out of everything: by their boxes where ``cells`` is given,
    otherwise by the red density of their chromatin. Nothing outside the field stop counts. The
    count density needs ``cells``; without it, it is None.
    """
    # The field's own 8-bit code: the frame was 8 bits too, and a table is far faster than a
    # logarithm.
    codes = field.to_uint8()
    density = np.asarray(cv2.LUT(codes, _DENSITY_OF_CODE), dtype=np.float32)
    valid = field.valid
    red_cells = cell_mask(np.ascontiguousarray(field.transmittance[..., 1]), valid) > 0
    left_out = _boxed(field, cells) if cells is not None else _chromatin(density, red_cells)
    if left_out is not None:
        valid = valid & ~left_out
        red_cells = red_cells & valid

    area_px = int(np.count_nonzero(valid))
    whole = _mean(density, valid)
    within = _mean(density, red_cells)
    dark = int(np.count_nonzero((density[..., 1] > DARK_OD) & valid))
    areas = _single_cell_areas(red_cells, valid)
    enough = len(areas) >= MIN_SINGLE_CELLS
    return FieldIndices(
        cell_cover=int(np.count_nonzero(red_cells)) / max(1, area_px),
        cell_od_red=within[0],
        cell_od_green=within[1],
        cell_od_blue=within[2],
        field_od_red=whole[0],
        field_od_green=whole[1],
        field_od_blue=whole[2],
        dark_share=dark / max(1, area_px),
        cell_area_um2=float(np.median(areas)) if enough else None,
        cell_area_cv=_relative_spread(areas) if enough else None,
        rbc_per_mm2=_count_density(cells),
        area_mm2=area_px * _UM2_PER_PX * 1e-6,
        single_cells=len(areas),
        single_cell_areas_um2=tuple(round(float(area), 2) for area in areas),
        scale_source=field.scale_source,
    )


def _mean(density: NDArray[np.float32], chosen: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Mean over the chosen pixels per channel, zeros where there are none."""
    red, green, blue, _ = cv2.mean(density, mask=chosen.view(np.uint8))
    return float(red), float(green), float(blue)


def _count_density(cells: FieldCells | None) -> float | None:
    if cells is None or cells.interior_area_mm2 <= 0 or "rbc" not in cells.interior_counts:
        return None
    return cells.interior_counts["rbc"].value / cells.interior_area_mm2


def _boxed(field: CanonicalField, cells: FieldCells) -> NDArray[np.bool_] | None:
    """Ellipses in the boxes of white cells and platelets, bool (height, width)."""
    others = [cell for cell in cells.cells if cell.kind != "rbc"]
    if not others:
        return None
    mask = np.zeros((field.height, field.width), dtype=np.uint8)
    across, down = field.frame_px_per_canonical_px
    margin = BOX_MARGIN_UM / CANONICAL_UM_PER_PX
    for cell in others:
        x, y = cell.centre
        centre = (round(x / across), round(y / down))
        axes = (
            max(1, round((cell.x1 - cell.x0) / across / 2 + margin)),
            max(1, round((cell.y1 - cell.y0) / down / 2 + margin)),
        )
        cv2.ellipse(mask, centre, axes, 0, 0, 360, 255, thickness=cv2.FILLED)
    return mask > 0


def _chromatin(
    density: NDArray[np.float32], red_cells: NDArray[np.bool_]
) -> NDArray[np.bool_] | None:
    """Nuclei with their surroundings, and platelets, by their red density; bool or None.

    At half resolution: a quarter of the work, and still four pixels to the smallest platelet.
    """
    height, width = red_cells.shape
    red = cv2.resize(
        np.ascontiguousarray(density[..., 0]),
        (width // 2, height // 2),
        interpolation=cv2.INTER_AREA,
    )
    sample = density[::4, ::4, 0][red_cells[::4, ::4]]
    typical = float(np.median(sample)) if sample.size else 0.0
    above_cells = min(NUCLEUS_TIMES_CELL_RED_OD * typical, typical + NUCLEUS_ABOVE_CELL_RED_OD)
    limit = max(NUCLEUS_MIN_RED_OD, above_cells)
    dark = (red > limit).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(dark, connectivity=8)
    area = stats[:, cv2.CC_STAT_AREA] * 4 * _UM2_PER_PX
    nucleus, platelet = area >= MIN_NUCLEUS_AREA_UM2, area >= MIN_PLATELET_AREA_UM2
    platelet &= ~nucleus
    nucleus[0] = platelet[0] = False
    if count <= 1 or not (nucleus.any() or platelet.any()):
        return None
    left_out = cv2.bitwise_or(
        _grown(nucleus[labels], CYTOPLASM_UM), _grown(platelet[labels], PLATELET_RIM_UM)
    )
    return cv2.resize(left_out, (width, height), interpolation=cv2.INTER_NEAREST) > 0


def _grown(mask: NDArray[np.bool_], by_um: float) -> NDArray[np.uint8]:
    """A half-resolution mask with a rim around it, uint8 0 or 1."""
    side = 2 * round(by_um / CANONICAL_UM_PER_PX / 2) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return np.asarray(cv2.dilate(mask.view(np.uint8), kernel), dtype=np.uint8)


def _single_cell_areas(
    red_cells: NDArray[np.bool_], valid: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Areas of the red cells that touch nothing, um^2.

    A component is one cell when it fills an ellipse in its box, is hardly longer than wide, and
    lies clear of the border and of what is left out: pairs and clumps would pass for macrocytes.
    """
    _, _, stats, _ = cv2.connectedComponentsWithStats(red_cells.view(np.uint8), connectivity=4)
    stats = stats[1:]
    left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    wide, tall = stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT]
    area_px = stats[:, cv2.CC_STAT_AREA].astype(np.float64)
    area = area_px * _UM2_PER_PX
    height, width = red_cells.shape
    keep = (left > 0) & (top > 0) & (left + wide < width) & (top + tall < height)
    keep &= (area >= MIN_CELL_AREA_UM2) & (area <= MAX_CELL_AREA_UM2)
    fill = area_px / (np.pi / 4 * wide * tall)
    aspect = np.maximum(wide, tall) / np.minimum(wide, tall)
    keep &= (fill > 0.88) & (fill < 1.12) & (aspect < 1.5)
    if not valid.all() and keep.any():
        keep &= _clear_of(~valid, np.asarray(stats, dtype=np.int32))
    return np.asarray(area[keep], dtype=np.float64)


def _clear_of(outside: NDArray[np.bool_], stats: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which boxes hold no pixel of ``outside``, by its summed-area table."""
    total = cv2.integral(outside.view(np.uint8))
    left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    height, width = outside.shape
    right = np.minimum(width, left + stats[:, cv2.CC_STAT_WIDTH] + 1)
    bottom = np.minimum(height, top + stats[:, cv2.CC_STAT_HEIGHT] + 1)
    left, top = np.maximum(0, left - 1), np.maximum(0, top - 1)
    inside = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
    return np.asarray(inside == 0, dtype=np.bool_)


def _relative_spread(areas: NDArray[np.float64]) -> float:
    """Interquartile range over 1.349 medians: a standard deviation that no odd cell can inflate."""
    low, middle, high = np.quantile(areas, [0.25, 0.5, 0.75])
    return float((high - low) / 1.349 / max(middle, 1e-9))
