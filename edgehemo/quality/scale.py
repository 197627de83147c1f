"""Is the scale known, and do the red cells agree with it?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgehemo.cells.cell import FieldCells
from edgehemo.cells.widths import CellWidths, cell_widths
from edgehemo.field.canonical import CanonicalField
from edgehemo.field.scale import RED_CELL_DIAMETER_UM
from edgehemo.quality.check import Check
from edgehemo.quality.limits import limit
from edgehemo.quality.regions import ANALYSIS_UM_PER_PX, FieldRegions
from edgehemo.quality.verdicts import flagged, judged

# Fewer measured cells than this cannot contradict a calibrated scale.
_MIN_CELLS_TO_CONTRADICT = 8
# Roundness cannot be told of anything smaller (1.5 um across).
_MIN_PART_PX = 7


def scale_checks(
    field: CanonicalField,
    regions: FieldRegions,
    cells: FieldCells | None = None,
    calibrated_px: tuple[int, int] | None = None,
) -> Sequence[Check]:
    """Where the scale is from, and how well it is known or agrees with the cells.

    cells: what the finder found. calibrated_px: width and height of the pictures the profile's
    scale was measured on.
    """
    widths = None if cells is None else cell_widths(cells, field)
    if field.scale_source == "assumed":
        return (flagged("scale", None, limit("scale_cells.fail_below"), "SCALE_UNKNOWN", "fail"),)
    estimate = field.scale_estimate
    if field.scale_source == "red_cells" and estimate is not None:
        return (
            judged("scale_cells", float(estimate.cells), low="SCALE_UNCERTAIN"),
            judged("scale_spread", estimate.spread, high="SCALE_UNCERTAIN"),
            cell_widths_check(widths),
        )
    agreement = scale_agreement_check(regions, widths)
    if field.scale_source == "profile" and calibrated_px is not None:
        return (frame_size_check(field.frame_width, field.frame_height, calibrated_px), agreement)
    return (agreement,)


def frame_size_check(width: int, height: int, calibrated_px: tuple[int, int]) -> Check:
    """The frame's diagonal over that of the calibrated size; anything but 1 is another mode.

    A camera's other modes bin or crop its pixels: the scale holds for the calibrated one alone.
    """
    ratio = math.hypot(width, height) / math.hypot(*calibrated_px)
    if (width, height) != calibrated_px:
        return flagged("frame_size", ratio, 1.0, "SCALE_MISMATCH", "fail")
    return Check("frame_size", ratio, 1.0, "pass")


def cell_widths_check(widths: CellWidths | None) -> Check:
    """The found red cells' width over what it should be at the scale read from the cells, or its
    inverse; 1 agrees. None where too few were found.
    """
    if widths is None:
        return Check("cell_widths", None, limit("cell_widths.fail_above"), "pass")
    return judged("cell_widths", widths.disagreement, high="SCALE_CONTRADICTED")


def scale_agreement_check(regions: FieldRegions, widths: CellWidths | None = None) -> Check:
    """The red cells' size at a given scale over what it should be, or its inverse; 1 agrees.

    A sample's own macrocytosis or microcytosis moves this by up to a fifth; a wrong objective by
    half or more. Two measures are weighed: the round parts of the picture, and ``widths``, of the
    cells that were found. Parts may be clumps or white cells, so found cells of the right size
    speak for the scale whatever the parts are; found cells of the wrong size speak against it.
    """
    parts = _parts_disagreement(regions)
    found = None if widths is None else widths.disagreement
    kinds_known = widths is not None and not widths.kinds_in_doubt
    if found is not None and kinds_known and found <= limit("scale_agreement.warn_above"):
        return judged("scale_agreement", found, high="SCALE_MISMATCH")
    worst = max((each for each in (parts, found) if each is not None), default=None)
    if worst is None:
        return Check("scale_agreement", None, limit("scale_agreement.fail_above"), "pass")
    return judged("scale_agreement", worst, high="SCALE_MISMATCH")


def _parts_disagreement(regions: FieldRegions) -> float | None:
    """By how much the typical round part is too large or too small, 1 or more; None with few."""
    diameters = single_cell_diameters_um(regions)
    if len(diameters) < _MIN_CELLS_TO_CONTRADICT:
        return None
    # Weighted by area: a dozen red cells outvote a hundred platelets and grains.
    order = np.argsort(diameters)
    weights = np.cumsum(diameters[order] ** 2)
    typical = float(diameters[order][np.searchsorted(weights, weights[-1] / 2)])
    ratio = typical / RED_CELL_DIAMETER_UM
    # Symmetric: twice as large and half as large are one fault.
    return math.exp(abs(math.log(ratio)))


def single_cell_diameters_um(regions: FieldRegions) -> NDArray[np.float64]:
    """Area-equivalent diameters of the round parts that the border does not cut, um."""
    height, width = regions.cells.shape
    left, top, wide, tall, area = regions.parts.T.astype(np.float64)
    inner = (left > 0) & (top > 0) & (left + wide < width) & (top + tall < height)
    # An ellipse along the axes fills pi / 4 of its box; a pair of cells is longer than wide.
    filling = area / np.maximum(1.0, np.pi / 4 * wide * tall)
    round_ = (filling > 0.88) & (filling < 1.12) & (wide < 1.4 * tall) & (tall < 1.4 * wide)
    keep = inner & round_ & (area >= _MIN_PART_PX)
    return np.asarray(np.sqrt(4 / np.pi * area[keep]) * ANALYSIS_UM_PER_PX, dtype=np.float64)
