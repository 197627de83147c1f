"""Do the nuclei take the stain, and do the red cells have none?

Romanowsky stains colour nuclei by azure B, which absorbs red light, and red cells by eosin, which
does not. So a nucleus stands out in the optical density of red: against the red cells' bodies, and
in the direction of its three densities. Human red cells have no nucleus; those of birds, reptiles
and fish have one in the middle of an oval cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.cells.cell import Cell, FieldCells
from edgehemo.field.canonical import CanonicalField
from edgehemo.guidance.codes import QualityCode
from edgehemo.quality.check import Check
from edgehemo.quality.colour import is_colourless
from edgehemo.quality.regions import (
    ANALYSIS_UM_PER_PX,
    RED_CELL_AREA_UM2,
    TRANSMITTANCE_FLOOR,
    FieldRegions,
)
from edgehemo.quality.verdicts import judged
from edgehemo.statistics.medians import column_medians, quantiles_of

# Above the red cells' bodies by this much in the optical density of red, a pixel is a nucleus's.
NUCLEUS_EXCESS_OD = 0.12
# The middle of a white cell's box, by side, and the share of its pixels that its nucleus fills at
# least: a monocyte's or lymphocyte's fills more.
_BOX_SHARE, _NUCLEUS_SHARE = 0.8, 0.3
# A red cell with a nucleus, bird's to amphibian's, in areas of a human red cell ...
_CELL_AREAS = (0.4, 4.0)
# ... and its nucleus: more than a platelet lying on a cell, less than a lymphocyte's share.
_NUCLEUS_MIN_UM2 = 3.0
_NUCLEUS_MAX_SHARE = 0.45
# The nucleus's centre lies this near the cell's, in diameters of a circle of the cell's area.
_CENTRED = 0.22
# Fewer single cells than this say nothing about the species.
_MIN_CELLS = 8


def nuclei_checks(
    field: CanonicalField, regions: FieldRegions, cells: FieldCells | None = None
) -> Sequence[Check]:
    """Nucleus against cytoplasm, azure against eosin, and red cells that have a nucleus.

    The first two need a white cell that the finder found; without one they pass with value None.
    """
    found = _white_cells(field, regions, cells)
    body = regions.body_density()
    contrast = separation = None
    if found is not None and body is not None:
        contrast = float(found[0] - body[0])
        separation = angle_deg(found, np.array(body))
    share = nucleated_share(regions)
    return (
        _where_measured("nucleus_contrast", contrast, "NUCLEI_PALE"),
        _where_measured("stain_separation", separation, "STAINS_ALIKE"),
        Check("nucleated_red_cells", None, None, "pass")
        if share is None
        else judged("nucleated_red_cells", share, high="NUCLEATED_RED_CELLS"),
    )


def angle_deg(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The angle between two optical densities (RGB) as directions, degrees; 0 is one dye."""
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    cosine = float(one @ other) / max(lengths, 1e-9)
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def nucleated_share(regions: FieldRegions) -> float | None:
    """Share (0-1) of the single red cells that hold a nucleus in their middle.

    None where there are too few single cells to tell, or no colour to tell a nucleus by.
    """
    body = regions.body_density()
    if body is None or is_colourless(regions):
        return None
    count, labels, stats, centres = cv2.connectedComponentsWithStats(
        regions.cells.astype(np.uint8), connectivity=4
    )
    areas = stats[:, cv2.CC_STAT_AREA].astype(np.float64)
    areas_um2 = areas * ANALYSIS_UM_PER_PX**2
    height, width = labels.shape
    left, top, wide, tall = stats[:, :4].T
    low, high = _CELL_AREAS
    single = (areas_um2 >= low * RED_CELL_AREA_UM2) & (areas_um2 <= high * RED_CELL_AREA_UM2)
    single &= (left > 0) & (top > 0) & (left + wide < width) & (top + tall < height)
    single[0] = False
    rows, columns = np.nonzero((_red_density(regions) > body[0] + NUCLEUS_EXCESS_OD) & (labels > 0))
    owner = labels[rows, columns]
    dark = np.bincount(owner, minlength=count).astype(np.float64)
    x = np.bincount(owner, weights=columns, minlength=count) / np.maximum(dark, 1)
    y = np.bincount(owner, weights=rows, minlength=count) / np.maximum(dark, 1)
    off = np.hypot(x - centres[:, 0], y - centres[:, 1]) / np.sqrt(4 / np.pi * np.maximum(areas, 1))
    # Mostly nucleus is a white cell, whatever its size.
    red = single & (dark <= _NUCLEUS_MAX_SHARE * areas)
    if np.count_nonzero(red) < _MIN_CELLS:
        return None
    nucleated = red & (dark * ANALYSIS_UM_PER_PX**2 >= _NUCLEUS_MIN_UM2) & (off <= _CENTRED)
    return float(np.count_nonzero(nucleated) / np.count_nonzero(red))


def _white_cells(
    field: CanonicalField, regions: FieldRegions, cells: FieldCells | None
) -> NDArray[np.float64] | None:
    """Median over the white cells of their nuclei's optical density, RGB; None without one."""
    if cells is None:
        return None
    nuclei = [_nucleus(field, regions, cell) for cell in cells.of_kind("wbc")]
    known = [nucleus for nucleus in nuclei if nucleus is not None]
    return column_medians(np.array(known)) if known else None


def _nucleus(
    field: CanonicalField, regions: FieldRegions, cell: Cell
) -> NDArray[np.float64] | None:
    """Optical density (RGB) of the part of a white cell that absorbs most of the red light."""
    height, width = regions.cells.shape
    across, down = width / field.frame_width, height / field.frame_height
    x, y = cell.centre
    half_width = _BOX_SHARE / 2 * (cell.x1 - cell.x0)
    half_height = _BOX_SHARE / 2 * (cell.y1 - cell.y0)
    part = regions.transmittance[
        max(0, int((y - half_height) * down)) : int(np.ceil((y + half_height) * down)),
        max(0, int((x - half_width) * across)) : int(np.ceil((x + half_width) * across)),
    ].reshape(-1, 3)
    if len(part) < 9:
        return None
    density = -np.log10(np.maximum(part, TRANSMITTANCE_FLOOR)).astype(np.float64)
    darkest = density[:, 0] >= quantiles_of(density[:, 0], (1 - _NUCLEUS_SHARE,))[0]
    return column_medians(density[darkest])


def _red_density(regions: FieldRegions) -> NDArray[np.float32]:
    red = np.maximum(regions.transmittance[..., 0], TRANSMITTANCE_FLOOR)
    return np.asarray(-np.log10(red), dtype=np.float32)


def _where_measured(name: str, value: float | None, low: QualityCode) -> Check:
    return Check(name, None, None, "pass") if value is None else judged(name, value, low=low)
