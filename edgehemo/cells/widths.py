"""How wide the red cells are that the finder found: what a scale is held against."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgehemo.cells.cell import CellKind, FieldCells
from edgehemo.field.canonical import CanonicalField
from edgehemo.field.scale import RED_CELL_DIAMETER_UM, ScaleEstimate
from edgehemo.statistics.medians import median_of, quantiles_of

# A box reaches over the cell's blurred outline, and is wider than a circle of an oblique cell's
# area. Measured where the scale is known: 1.04 on drawn cells, 1.03 to 1.2 on real sets.
BOX_OVER_CELL = 1.06
# Fewer boxes than this say nothing against a scale.
MIN_BOXES = 8
# A box this near the border, px, may be of a cell that it cuts.
_BORDER_PX = 1.0


@dataclass(frozen=True, slots=True)
class CellWidths:
    """Widths of red cells at a field's scale.

    cells: how many. ratio: their median over what a red cell's box should be; 1 agrees, 0.5 is a
    scale of half the true um/px. spread: relative interquartile range. um_per_px: the scale at
    which the ratio would be 1. kinds_in_doubt: more white cells than red were found, so that red
    ones may have been taken for them.
    """

    cells: int
    ratio: float
    spread: float
    um_per_px: float
    kinds_in_doubt: bool

    @property
    def disagreement(self) -> float:
        """How many times too large or too small, 1 or more."""
        return math.exp(abs(math.log(self.ratio)))

    @property
    def estimate(self) -> ScaleEstimate:
        """The scale that the widths ask for."""
        return ScaleEstimate(self.um_per_px, self.cells, self.spread)


def cell_widths(cells: FieldCells, field: CanonicalField) -> CellWidths | None:
    """The widths of the red cells that the border does not cut; None with too few of them.

    Where more cells were called white than red, which no blood has, all are measured: at too large
    an um/px red cells look like white ones.
    """
    doubt = len(cells.of_kind("wbc")) > len(cells.of_kind("rbc"))
    kinds: tuple[CellKind, ...] = ("rbc", "wbc") if doubt else ("rbc",)
    right, bottom = field.frame_width - _BORDER_PX, field.frame_height - _BORDER_PX
    diameters = np.array(
        [
            cell.diameter
            for kind in kinds
            for cell in cells.of_kind(kind)
            if min(cell.x0, cell.y0) > _BORDER_PX and cell.x1 < right and cell.y1 < bottom
        ]
    )
    if len(diameters) < MIN_BOXES:
        return None
    low, high = quantiles_of(diameters, (0.25, 0.75))
    median = median_of(diameters)
    expected_px = BOX_OVER_CELL * RED_CELL_DIAMETER_UM / field.frame_um_per_px
    ratio = median / expected_px
    return CellWidths(
        cells=len(diameters),
        ratio=ratio,
        spread=(high - low) / median,
        um_per_px=field.frame_um_per_px / ratio,
        kinds_in_doubt=doubt,
    )
