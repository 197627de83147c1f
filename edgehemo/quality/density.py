"""Are there enough red cells, and do they lie singly enough, to be counted and measured?"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edgehemo.cells.cell import FieldCells
from edgehemo.field.scale import RED_CELL_DIAMETER_UM
from edgehemo.quality.check import Check
from edgehemo.quality.regions import ANALYSIS_UM_PER_PX, RED_CELL_AREA_UM2, FieldRegions
from edgehemo.quality.verdicts import judged

# A connected part larger than this many red cells is a clump.
CLUMP_CELLS = 4.0
# A stack of coins (rouleau): at least so many cells' area, at most so many cells wide, so many
# times as long as wide, and filling this share of the rectangle around it.
STACK_CELLS = 2.2
STACK_WIDTH = 1.6
STACK_LENGTH = 3.0
STACK_FILLS = 0.6


def density_checks(regions: FieldRegions, cells: FieldCells | None = None) -> Sequence[Check]:
    """Cell count, crowding, clumping, rouleaux and evenness of spread.

    The count is the finder's where ``cells`` is given, else the covered area over that of one
    red cell.
    """
    count = regions.cell_equivalents if cells is None else float(cells.counts.get("rbc", 0))
    return (
        judged("cell_count", count, low="TOO_FEW_CELLS"),
        judged("crowding", regions.cell_cover, high="TOO_CROWDED"),
        judged("clumping", clumped_share(regions), high="CELLS_CLUMPED"),
        judged("rouleaux", stacked_share(regions), high="ROULEAUX"),
        judged("spread", largest_gap_um(regions), high="CELLS_UNEVEN"),
    )


def clumped_share(regions: FieldRegions) -> float:
    """Share (0-1) of the cells' area in connected parts of more than `CLUMP_CELLS` cells."""
    areas = regions.parts[:, cv2.CC_STAT_AREA] * ANALYSIS_UM_PER_PX**2
    total = float(areas.sum())
    if total <= 0:
        return 0.0
    return float(areas[areas > CLUMP_CELLS * RED_CELL_AREA_UM2].sum()) / total


def stacked_share(regions: FieldRegions) -> float:
    """Share (0-1) of the cells' area in straight stacks: as wide as a cell, three times as long."""
    outlines, _ = cv2.findContours(
        regions.cells.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    total = stacked = 0.0
    for outline in outlines:
        area = cv2.contourArea(outline)
        total += area
        if area * ANALYSIS_UM_PER_PX**2 < STACK_CELLS * RED_CELL_AREA_UM2:
            continue
        _, sides, _ = cv2.minAreaRect(outline)
        width, length = min(sides), max(sides)
        thin = width <= STACK_WIDTH * RED_CELL_DIAMETER_UM / ANALYSIS_UM_PER_PX
        if thin and length >= STACK_LENGTH * width and area >= STACK_FILLS * width * length:
            stacked += area
    return stacked / total if total > 0 else 0.0


def largest_gap_um(regions: FieldRegions) -> float:
    """Diameter of the largest circle without a cell, um; the diagonal where there is no cell."""
    free = (~regions.cells).astype(np.uint8)
    if free.all():
        return float(np.hypot(*free.shape)) * ANALYSIS_UM_PER_PX
    free[~regions.valid] = 0
    # Half the resolution is plenty for a gap.
    height, width = free.shape
    small = cv2.resize(
        free, (max(2, width // 2), max(2, height // 2)), interpolation=cv2.INTER_NEAREST
    )
    if small.all():
        # What little there is of cells fell between the samples.
        return float(np.hypot(width, height)) * ANALYSIS_UM_PER_PX
    distance = cv2.distanceTransform(small, cv2.DIST_L2, 3)
    px_um = ANALYSIS_UM_PER_PX * width / small.shape[1]
    return float(2.0 * distance.max() * px_um)
