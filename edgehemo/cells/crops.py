"""Pictures of one cell as every classifier sees them: canonical codes, the cell in the middle.

Two ways lead to the same kind of crop. `canonical_crop` takes a picture that holds one cell and
little else; `crops_at` cuts cells out of a canonical field. Training, int8 calibration, evaluation
and the device all call these two.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import FieldError
from edgehemo.field.canonical import CANONICAL_UM_PER_PX, CLEAR_FIELD_CODE, UINT8_PER_TRANSMITTANCE
from edgehemo.field.scale import (
    MAX_UM_PER_PX,
    MIN_UM_PER_PX,
    RED_CELL_DIAMETER_UM,
    ScaleSource,
    cell_mask,
    estimate_scale,
)

# A picture of one cell is by custom cut about this wide: PBC Barcelona's are 36 um, LMU's 30 um.
ASSUMED_PICTURE_WIDTH_UM = 33.0
# A measured scale that makes the picture narrower or wider than this is not believed.
MIN_PICTURE_WIDTH_UM = 12.0
MAX_PICTURE_WIDTH_UM = 120.0
# A picture of one red cell is measured at this many px on its longer side.
_ONE_CELL_PICTURE_PX = 96
# The middle cell covers a point this close to the picture's middle, as a share of its longer side.
_MIDDLE_SHARE = 1 / 6
# Pale cells are broken rings: gaps up to this wide are closed before the cell is filled.
_RING_GAP_PX = 7
# A smaller middle cell, as a share of the longer side, has whole neighbours that tell more.
_MIN_CELL_SHARE = 0.25
# A red cell fills the ellipse in its box at least this well; less is a clump.
_CELL_FILL = 0.88
# Red cells are measured on the picture at this many px per assumed cell, whatever its size.
_MEASURE_CELL_PX = 33.0
MIN_SIDE_PX = 16
# Half the width of the background's mode in log intensity, as in `edgehemo.field.illumination`.
_BACKGROUND_HALF_WIDTH = 0.035
# The background is the brightest mode that holds at least this share of the highest one.
_PEAK_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class CropScale:
    """Scale of a picture of one cell, and where it is from (given, red_cells or assumed)."""

    um_per_px: float
    source: ScaleSource


def background_level(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What a clear field would give in a picture of one cell: float32 (3,), RGB counts, >= 1.

    pixels: uint8 RGB (h, w, 3). The level is flat: over some 30 um a lamp is even, and a surface
    would follow the pale cytoplasm of a large cell. The background is the brightest mode of green;
    each channel's level is its median over that mode.
    """
    green = pixels[..., 1]
    counts = np.bincount(green.ravel(), minlength=256).astype(np.float64)
    # Modes are as wide as noise and JPEG make them; a share of the level on the bright side.
    smooth = np.convolve(counts, np.hanning(9)[1:-1] / np.hanning(9).sum(), mode="same")
    smooth[:8] = 0.0
    if smooth.max() <= 0:
        return np.ones(3, np.float32)
    inner = (smooth >= np.roll(smooth, 1)) & (smooth >= np.roll(smooth, -1))
    peaks = np.flatnonzero(inner & (smooth >= _PEAK_SHARE * smooth.max()))
    level = float(peaks[-1]) if len(peaks) else float(smooth.argmax())
    near = np.abs(np.log(np.maximum(green, 1) / max(level, 1.0))) < _BACKGROUND_HALF_WIDTH
    chosen = pixels[near] if near.any() else pixels.reshape(-1, 3)
    return np.asarray(np.maximum(np.median(chosen, axis=0), 1.0), dtype=np.float32)


def crop_scale(
    pixels: NDArray[np.uint8], um_per_px: float | None = None, *, of_red_cell: bool = False
) -> CropScale:
    """The scale of a picture of one cell: given, else from its red cells, else assumed by custom.

    pixels: uint8 RGB (h, w, 3). of_red_cell: the cell in the middle is a red cell, and is itself
    measured where it fills the picture: then its own size can tell nothing any more. Raises
    FieldError where a given scale is out of bounds.
    """
    if um_per_px is not None:
        if not MIN_UM_PER_PX <= um_per_px <= MAX_UM_PER_PX:
            raise FieldError(
                f"a scale of {um_per_px:g} um/px is outside {MIN_UM_PER_PX:g} to "
                f"{MAX_UM_PER_PX:g}; check --um-per-px"
            )
        return CropScale(um_per_px, "given")
    if of_red_cell and (own := _scale_of_middle_cell(pixels)) is not None:
        return CropScale(own, "red_cells")
    longest = max(pixels.shape[:2])
    assumed = ASSUMED_PICTURE_WIDTH_UM / longest
    factor = min(1.0, _MEASURE_CELL_PX * assumed / RED_CELL_DIAMETER_UM)
    width = max(1, round(pixels.shape[1] * factor))
    height = max(1, round(pixels.shape[0] * factor))
    green = cv2.resize(
        np.ascontiguousarray(pixels[..., 1]), (width, height), interpolation=cv2.INTER_AREA
    )
    level = float(background_level(pixels)[1])
    measured = estimate_scale(
        np.asarray(green, np.float32) / np.float32(level), np.ones((height, width), np.bool_)
    )
    if measured is not None:
        scale = measured.um_per_px * width / pixels.shape[1]
        if MIN_PICTURE_WIDTH_UM <= scale * longest <= MAX_PICTURE_WIDTH_UM:
            return CropScale(scale, "red_cells")
    return CropScale(assumed, "assumed")


def _scale_of_middle_cell(pixels: NDArray[np.uint8]) -> float | None:
    """um/px were the red cell in the middle `RED_CELL_DIAMETER_UM` wide; None where it is none.

    The width is that of the circle of the cell's area, of a cell that is cut or touches others
    that of the largest circle inside it.
    """
    factor = _ONE_CELL_PICTURE_PX / max(pixels.shape[:2])
    green = cv2.resize(
        np.ascontiguousarray(pixels[..., 1]),
        None,
        fx=factor,
        fy=factor,
        interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR,
    )
    transmittance = np.asarray(green, np.float32) / np.float32(background_level(pixels)[1])
    mask = cell_mask(transmittance, np.ones(green.shape, np.bool_))
    gap = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_RING_GAP_PX, _RING_GAP_PX))
    mask = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, gap), np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    filled = np.asarray(cv2.drawContours(np.zeros_like(mask), outlines, -1, 255, cv2.FILLED))
    height, width = filled.shape
    rows, columns = np.mgrid[:height, :width]
    off = np.hypot(rows - (height - 1) / 2, columns - (width - 1) / 2)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(filled, connectivity=4)
    near = labels[(off < _MIDDLE_SHARE * _ONE_CELL_PICTURE_PX) & (filled > 0)]
    if not near.size:
        return None
    cell = int(np.bincount(near).argmax())
    left, top, wide, tall, area = (int(value) for value in stats[cell])
    whole = left > 0 and top > 0 and left + wide < width and top + tall < height
    if whole and area > _CELL_FILL * np.pi / 4 * wide * tall:
        diameter = float(np.sqrt(4 * area / np.pi))
    else:
        inside = np.asarray(cv2.distanceTransform(filled, cv2.DIST_L2, 5))
        diameter = 2.0 * float(inside[labels == cell].max())
    if diameter < _MIN_CELL_SHARE * _ONE_CELL_PICTURE_PX:
        return None
    scale = RED_CELL_DIAMETER_UM / diameter * factor
    return scale if MIN_UM_PER_PX <= scale <= MAX_UM_PER_PX else None


def canonical_crop(
    frame_rgb_uint8: NDArray[np.uint8],
    um_per_px: float | None,
    side_px: int,
    *,
    crop_um_per_px: float = CANONICAL_UM_PER_PX,
) -> NDArray[np.uint8]:
    """A picture of one cell as canonical codes, uint8 RGB (side_px, side_px, 3).

    The picture over its background level, at ``crop_um_per_px`` (the model's scale), its middle in
    the middle; what lies beyond it is padded as clear field. ``um_per_px`` None: see `crop_scale`.
    Raises FieldError for a picture too small or a scale out of bounds.
    """
    height, width = frame_rgb_uint8.shape[:2]
    if min(height, width) < MIN_SIDE_PX:
        raise FieldError(
            f"{width}x{height} is too small for a picture of a cell; "
            f"the shorter side must have at least {MIN_SIDE_PX} px"
        )
    scale = crop_scale(frame_rgb_uint8, um_per_px).um_per_px
    gain = UINT8_PER_TRANSMITTANCE / background_level(frame_rgb_uint8)
    factor = scale / crop_um_per_px
    # Of a large picture only the part that the crop shows is worth resampling.
    reach = int(np.ceil(side_px / factor / 2)) + 2
    top, left = max(0, height // 2 - reach), max(0, width // 2 - reach)
    part = frame_rgb_uint8[top : height - top, left : width - left]
    size = (max(1, round(part.shape[1] * factor)), max(1, round(part.shape[0] * factor)))
    resized = cv2.resize(
        part, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    )
    codes = np.clip(np.rint(resized * gain.astype(np.float32)), 0, 255).astype(np.uint8)
    middle = np.array([[size[0] / 2, size[1] / 2]], np.float32)
    return np.asarray(crops_at(codes, middle, side_px)[0], np.uint8)


def crop_at(
    field_codes: NDArray[np.uint8],
    centre: tuple[float, float],
    side_px: int,
    *,
    field_px_per_crop_px: float = 1.0,
) -> NDArray[np.uint8]:
    """One cell of a canonical field; see `crops_at`."""
    cut = crops_at(
        field_codes,
        np.array([centre], np.float32),
        side_px,
        field_px_per_crop_px=field_px_per_crop_px,
    )
    return np.asarray(cut[0], np.uint8)


def crops_at(
    field_codes: NDArray[np.uint8],
    centres: NDArray[np.float32],
    side_px: int,
    *,
    field_px_per_crop_px: float = 1.0,
) -> NDArray[np.uint8]:
    """Cells cut from a canonical field, uint8 (n, side_px, side_px, 3), padded with clear field.

    field_codes: uint8 (h, w, 3), `CanonicalField.to_uint8`. centres: float32 (n, 2), x y in
    canonical px (pixel i reaches from i to i + 1), each taken to the nearest whole pixel, so that
    nothing is resampled. field_px_per_crop_px: where the model's scale is not the field's, its
    um/px over the field's; then the crops are resampled.
    """
    height, width = field_codes.shape[:2]
    own = round(side_px * field_px_per_crop_px)
    out = np.full((len(centres), own, own, 3), CLEAR_FIELD_CODE, np.uint8)
    corners = np.rint(np.asarray(centres, np.float64).reshape(-1, 2) - own / 2).astype(int)
    for crop, (x, y) in zip(out, corners, strict=True):
        x0, y0 = max(0, x), max(0, y)
        x1, y1 = min(width, x + own), min(height, y + own)
        if x0 < x1 and y0 < y1:
            crop[y0 - y : y1 - y, x0 - x : x1 - x] = field_codes[y0:y1, x0:x1]
    if own == side_px:
        return out
    flag = cv2.INTER_AREA if own > side_px else cv2.INTER_CUBIC
    resized = [cv2.resize(crop, (side_px, side_px), interpolation=flag) for crop in out]
    return np.asarray(resized, np.uint8).reshape(-1, side_px, side_px, 3)
