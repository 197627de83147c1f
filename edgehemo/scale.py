"""The scale of a frame from the size of its red cells, where nothing better is known.

A scale made this way cannot see macrocytosis or microcytosis of the whole sample: it takes the
typical red cell for 7.5 um wide. Where the profile or the operator gives um/px, that is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

ScaleSource = Literal["profile", "given", "red_cells", "assumed"]

# Diameter of a normal red cell on a dried thin smear (7-8 um; Bain, Blood Cells).
RED_CELL_DIAMETER_UM = 7.5
# Frames are reduced to this longest side before cells are measured.
MEASURE_SIDE_PX = 1280
# Limits of what a frame can plausibly be: 2x phone eyepiece shots to 100x oil with a small pixel.
MIN_UM_PER_PX = 0.02
MAX_UM_PER_PX = 2.0
# Fewer measurable cells than this give no scale.
MIN_CELLS = 4

_MIN_DIAMETER_PX = 7.0


@dataclass(frozen=True, slots=True)
class ScaleEstimate:
    """um_per_px of the frame measured, cells: how many it stands on, spread: their relative IQR."""

    um_per_px: float
    cells: int
    spread: float


def estimate_scale(
    transmittance_green: NDArray[np.float32], valid: NDArray[np.bool_]
) -> ScaleEstimate | None:
    """Scale from the widths of separate red cells, or None where too few can be measured.

    transmittance_green: float32 (height, width), background 1. valid: bool, same shape. The
    result is in um per pixel of this picture.
    """
    mask = cell_mask(transmittance_green, valid)
    diameters = _separate_cell_diameters(mask)
    if len(diameters) < MIN_CELLS:
        diameters = _clump_widths(mask)
    if len(diameters) < MIN_CELLS:
        return None
    typical = _typical(diameters)
    near = diameters[np.abs(np.log(diameters / typical)) < 0.35]
    if len(near) < MIN_CELLS:
        return None
    diameter = float(np.median(near))
    low, high = np.quantile(near, [0.25, 0.75])
    return ScaleEstimate(
        um_per_px=RED_CELL_DIAMETER_UM / diameter,
        cells=len(near),
        spread=float((high - low) / diameter),
    )


def cell_mask(
    transmittance_green: NDArray[np.float32], valid: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Cells against background, holes (central pallor) filled; uint8 0 or 255, same shape.

    The threshold is Otsu's between background and cells, kept within bounds that neither noise
    nor a dark nucleus can push it out of.
    """
    clipped = np.clip(transmittance_green, 0.0, 1.1)
    coded = np.asarray(clipped * 200.0, dtype=np.uint8)
    coded = cv2.GaussianBlur(coded, (0, 0), 0.8)
    sample = coded[valid]
    if sample.size == 0:
        return np.zeros(coded.shape, dtype=np.uint8)
    # Nuclei would drag Otsu's threshold down: they are put at the level of a well-stained cell.
    floor = int(0.55 * 200)
    threshold, _ = cv2.threshold(
        np.maximum(sample, floor).reshape(1, -1), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU
    )
    level = float(np.clip(threshold, 0.70 * 200, 0.955 * 200))
    mask = ((coded < level) & valid).astype(np.uint8) * 255
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return np.asarray(_filled_without_large_holes(mask, contours))


def _filled_without_large_holes(mask: NDArray[np.uint8], contours: object) -> NDArray[np.uint8]:
    """Fill the holes that a pallor can be, leave the gaps a ring of cells encloses."""
    inverse = cv2.bitwise_not(mask)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(inverse, connectivity=4)
    if count <= 1:
        return mask
    area = stats[:, cv2.CC_STAT_AREA]
    left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    right = left + stats[:, cv2.CC_STAT_WIDTH]
    bottom = top + stats[:, cv2.CC_STAT_HEIGHT]
    height, width = mask.shape
    closed = (left > 0) & (top > 0) & (right < width) & (bottom < height)
    roundness = area / np.maximum(1, stats[:, cv2.CC_STAT_WIDTH] * stats[:, cv2.CC_STAT_HEIGHT])
    cells_area = float(np.count_nonzero(mask))
    pallor = closed & (roundness > 0.45) & (area < 0.02 * cells_area + 400)
    pallor[0] = False
    filled = mask.copy()
    filled[pallor[labels]] = 255
    return filled


def _separate_cell_diameters(mask: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Area-equivalent diameters of the round components that do not touch the border, px."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    stats = stats[1:]
    left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    wide, tall = stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT]
    area = stats[:, cv2.CC_STAT_AREA].astype(np.float64)
    height, width = mask.shape
    inner = (left > 0) & (top > 0) & (left + wide < width) & (top + tall < height)
    ellipse = area / (np.pi / 4 * np.maximum(1, wide * tall))
    aspect = np.maximum(wide, tall) / np.maximum(1, np.minimum(wide, tall))
    diameter = np.sqrt(4 * area / np.pi)
    keep = inner & (ellipse > 0.88) & (ellipse < 1.12) & (aspect < 1.4)
    keep &= diameter >= _MIN_DIAMETER_PX
    return np.asarray(diameter[keep], dtype=np.float64)


def _clump_widths(mask: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Twice the peak heights of the distance transform: widths within clumps, px."""
    distance = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    peak = cv2.dilate(distance, np.ones((9, 9), np.uint8))
    heights = distance[(distance == peak) & (distance >= _MIN_DIAMETER_PX / 2)]
    return np.asarray(2.0 * heights, dtype=np.float64)


def _typical(diameters: NDArray[np.float64]) -> float:
    """The mode of log diameter, each cell weighted by its area.

    Weighting by area lets a dozen red cells outvote a hundred platelets and grains; a window of
    +-20 % lets them outvote the one white cell beside them.
    """
    logs = np.log(diameters)
    weights = diameters**1.5
    distance = (logs[:, None] - logs[None, :]) / 0.12 if len(logs) <= 2000 else None
    if distance is None:
        chosen = logs[:: len(logs) // 2000 + 1]
        distance = (chosen[:, None] - chosen[None, :]) / 0.12
        weights, logs = weights[:: len(weights) // 2000 + 1], chosen
    density = np.exp(-0.5 * distance**2) @ weights
    return float(np.exp(logs[int(density.argmax())]))
