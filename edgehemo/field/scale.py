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

from edgehemo.statistics.medians import median_of, quantiles_of

ScaleSource = Literal["profile", "given", "red_cells", "assumed"]

# Diameter of a normal red cell on a dried thin smear (7-8 um; Bain, Blood Cells).
RED_CELL_DIAMETER_UM = 7.5
# Cells are measured on the frame reduced to these longest sides, the smallest first that shows
# them at least this wide: a close-up needs few pixels, low magnification all of them.
MEASURE_SIDES_PX = (320, 640, 1280)
GOOD_CELL_DIAMETER_PX = 16.0
# Limits of what a frame can plausibly be: 2x phone eyepiece shots to 100x oil with a small pixel.
MIN_UM_PER_PX = 0.02
MAX_UM_PER_PX = 2.0
# Fewer measurable cells than this give no scale.
MIN_CELLS = 4

# With this many cells lying apart, touching ones need not be measured.
ENOUGH_SEPARATE_CELLS = 20

# Cells are told from background on 8-bit codes, lightly smoothed against noise.
_CODE_OF_CLEAR = 200.0
_SMOOTHING_PX = (5, 5)
_SMOOTHING_SD_PX = 0.8
_MIN_DIAMETER_PX = 7.0
_MAX_PEAKS = 400
_NUCLEUS_DENSITY_RATIO = 2.2


@dataclass(frozen=True, slots=True)
class ScaleEstimate:
    """um_per_px of the frame measured, cells: how many it stands on, spread: their relative IQR.

    coarsest_um_per_px: the largest of several scales that were read of the one frame, None where
    one alone was. Sharpness per um is judged at it: a blur that misled one of them must not look
    sharp at another.
    """

    um_per_px: float
    cells: int
    spread: float
    coarsest_um_per_px: float | None = None


def estimate_scale(
    transmittance_green: NDArray[np.float32], valid: NDArray[np.bool_]
) -> ScaleEstimate | None:
    """Scale from the widths of separate red cells, or None where too few can be measured.

    transmittance_green: float32 (height, width), background 1. valid: bool, same shape. The
    result is in um per pixel of this picture.
    """
    mask = cell_mask(transmittance_green, valid)
    diameters = _separate_cell_diameters(mask)
    if len(diameters) < ENOUGH_SEPARATE_CELLS:
        # A close-up of a dozen cells, most of them touching: their inscribed circles tell as well.
        diameters = np.concatenate([diameters, _inscribed_widths(mask, transmittance_green)])
    if len(diameters) < MIN_CELLS:
        return None
    typical = _typical(diameters)
    near = diameters[np.abs(np.log(diameters / typical)) < 0.35]
    if len(near) < MIN_CELLS:
        return None
    diameter = median_of(near)
    low, high = quantiles_of(near, (0.25, 0.75))
    return ScaleEstimate(
        um_per_px=RED_CELL_DIAMETER_UM / diameter,
        cells=len(near),
        spread=(high - low) / diameter,
    )


def cell_mask(
    transmittance_green: NDArray[np.float32], valid: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Cells against background, holes (central pallor) filled; uint8 0 or 255, same shape.

    The threshold is Otsu's between background and cells, kept within bounds that neither noise
    nor a dark nucleus can push it out of.
    """
    coded = cv2.convertScaleAbs(transmittance_green, alpha=_CODE_OF_CLEAR, beta=-0.5)
    coded = np.asarray(cv2.GaussianBlur(coded, _SMOOTHING_PX, _SMOOTHING_SD_PX))
    whole = bool(valid.all())
    inside = None if whole else valid.view(np.uint8)
    counts = np.asarray(cv2.calcHist([coded], [0], inside, [256], [0, 256])).ravel()
    if not counts.any():
        return np.zeros(coded.shape, dtype=np.uint8)
    # Nuclei would drag Otsu's threshold down: they are put at the level of a well-stained cell.
    # Glare would pull it up, and is put a little above the background.
    low, high = round(0.55 * _CODE_OF_CLEAR), round(1.1 * _CODE_OF_CLEAR)
    levels = counts[low : high + 1].astype(np.float64)
    levels[0] += counts[:low].sum()
    levels[-1] += counts[high + 1 :].sum()
    threshold = low + _otsu(levels)
    level = float(np.clip(threshold, 0.70 * _CODE_OF_CLEAR, 0.955 * _CODE_OF_CLEAR))
    below = int(np.ceil(level)) - 1
    mask = np.asarray(cv2.threshold(coded, below, 255, cv2.THRESH_BINARY_INV)[1], dtype=np.uint8)
    if not whole:
        mask[~valid] = 0
    return _filled_without_large_holes(mask)


def _otsu(counts: NDArray[np.float64]) -> int:
    """Otsu's threshold of a histogram: the last bin of the darker class."""
    weight = np.cumsum(counts)
    first = np.cumsum(counts * np.arange(len(counts)))
    apart = first[-1] * weight - weight[-1] * first
    between = apart**2 / np.maximum(weight * (weight[-1] - weight), 1e-9)
    return int(between.argmax())


def _filled_without_large_holes(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
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
    if not pallor.any():
        return mask
    level = np.where(pallor, 255, 0).astype(np.uint8)
    return np.asarray(cv2.bitwise_or(mask, level.take(np.asarray(labels))), dtype=np.uint8)


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


def _inscribed_widths(
    mask: NDArray[np.uint8], transmittance_green: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Widths of the largest circles inscribed in clumps and in cells cut by the border, px.

    A circle whose centre lies in a larger one is part of the same cell. Circles far darker than
    most are nuclei, not red cells.
    """
    distance = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    peak = cv2.dilate(distance, np.ones((9, 9), np.uint8))
    # Flat first: `numpy.nonzero` of two dimensions takes several times as long.
    peaks = np.flatnonzero((distance == peak) & (distance >= _MIN_DIAMETER_PX / 2))
    rows, columns = np.unravel_index(peaks, distance.shape)
    radii = distance[rows, columns]
    order = np.argsort(-radii)[:_MAX_PEAKS]
    points = np.stack([rows[order], columns[order]], axis=1).astype(np.float64)
    radii = radii[order].astype(np.float64)
    kept: list[int] = []
    left = np.ones(len(radii), dtype=np.bool_)
    while left.any():
        largest = int(left.argmax())
        kept.append(largest)
        left &= np.hypot(*(points - points[largest]).T) >= radii[largest]
        left[largest] = False
    if not kept:
        return np.empty(0)
    soft = cv2.GaussianBlur(transmittance_green, (0, 0), 3.0)
    at = soft[points[kept, 0].astype(int), points[kept, 1].astype(int)]
    density = -np.log(np.maximum(at, 0.01))
    # Every other row and column is enough for a median, whose logarithm is the logarithms'.
    middle = median_of(soft[::2, ::2][mask[::2, ::2] > 0])
    red = density < -_NUCLEUS_DENSITY_RATIO * np.log(max(middle, 0.01))
    return np.asarray(2.0 * radii[kept][red], dtype=np.float64)


def _typical(diameters: NDArray[np.float64]) -> float:
    """The mode of log diameter, each cell weighted by its area.

    Weighting by area lets a dozen red cells outvote a hundred platelets and grains; a window of
    some 12 % lets them outvote the one white cell beside them.
    """
    logs = np.log(diameters)
    weights = diameters**2
    distance = (logs[:, None] - logs[None, :]) / 0.12 if len(logs) <= 2000 else None
    if distance is None:
        chosen = logs[:: len(logs) // 2000 + 1]
        distance = (chosen[:, None] - chosen[None, :]) / 0.12
        weights, logs = weights[:: len(weights) // 2000 + 1], chosen
    density = np.exp(-0.5 * distance**2) @ weights
    return float(np.exp(logs[int(density.argmax())]))
