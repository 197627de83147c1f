"""What every check looks at, made once a field: cells, background and artefacts, coarsely."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.field.canonical import CANONICAL_UM_PER_PX, CanonicalField
from edgehemo.field.scale import RED_CELL_DIAMETER_UM, cell_mask
from edgehemo.quality.artefacts import artefacts_of
from edgehemo.statistics.medians import median_of

# Colours, covers and shapes need no more than half the canonical resolution (red cell: 15 px).
ANALYSIS_UM_PER_PX = 2 * CANONICAL_UM_PER_PX
# Area of a normal red cell lying flat, um^2.
RED_CELL_AREA_UM2 = float(np.pi / 4 * RED_CELL_DIAMETER_UM**2)
# A cell's body lies this far inside its outline, the background this far outside it: neither the
# blur of the edge nor its halo counts for colour.
MARGIN_UM = 1.0
# Below this many pixels (about two red cells) a colour or density is not a measurement.
MIN_REGION_PX = 300
# Colours are quantiles over at most this many pixels.
SAMPLE_PX = 4000
# Transmittance below which a density says no more than "opaque".
TRANSMITTANCE_FLOOR = 0.02


@dataclass(frozen=True, slots=True)
class FieldRegions:
    """A canonical field at `ANALYSIS_UM_PER_PX`, taken apart. All arrays are (height, width).

    transmittance: float32 (height, width, 3) RGB, background 1.
    valid: bool, inside the field stop and no artefact. artefacts: bool.
    cells: bool, cells with their pallor filled, within valid. bodies: bool, cells eroded by
    `MARGIN_UM`. background: bool, valid and at least `MARGIN_UM` from any cell.
    parts: int32 (n, 5), of each connected part of the cells left, top, width, height, area, px.
    body_sample, ground_sample: float32 (n, 3) RGB, evenly chosen pixels of bodies and background,
    enough for quantiles.
    """

    transmittance: NDArray[np.float32]
    valid: NDArray[np.bool_]
    artefacts: NDArray[np.bool_]
    cells: NDArray[np.bool_]
    bodies: NDArray[np.bool_]
    background: NDArray[np.bool_]
    parts: NDArray[np.int32]
    body_sample: NDArray[np.float32]
    ground_sample: NDArray[np.float32]

    @property
    def cell_cover(self) -> float:
        """Share of the valid area that cells cover, 0 where nothing is valid."""
        return float(np.count_nonzero(self.cells)) / max(1, int(np.count_nonzero(self.valid)))

    @property
    def cell_equivalents(self) -> float:
        """Cell area over the area of one normal red cell: how many would cover as much."""
        area = float(np.count_nonzero(self.cells)) * ANALYSIS_UM_PER_PX**2
        return area / RED_CELL_AREA_UM2

    def body_density(self) -> tuple[float, float, float] | None:
        """Median optical density (log10) of the cells' bodies in R, G, B; None without cells.

        The median over pixels is the red cells': they outnumber nuclei in any countable field.
        """
        if len(self.body_sample) < MIN_REGION_PX:
            return None
        red, green, blue = (median_of(self.body_sample[:, channel]) for channel in range(3))
        return _density(red), _density(green), _density(blue)


def field_regions(field: CanonicalField) -> FieldRegions:
    """Take a canonical field apart; never raises on a valid field."""
    width, height = max(8, field.width // 2), max(8, field.height // 2)
    small = cv2.resize(field.transmittance, (width, height), interpolation=cv2.INTER_AREA)
    transmittance = np.asarray(small, dtype=np.float32)
    inside = _reduced_mask(field.valid, width, height)
    artefacts = artefacts_of(transmittance, inside, ANALYSIS_UM_PER_PX)
    valid = inside & ~artefacts
    green = np.ascontiguousarray(transmittance[..., 1])
    filled = cell_mask(green, valid)
    filled[~valid] = 0
    kernel = _disc(MARGIN_UM / ANALYSIS_UM_PER_PX)
    # A border constant of 255 keeps cells that the frame cuts from being eaten at the cut.
    eroded = cv2.erode(filled, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=255)
    grown = cv2.dilate(filled, kernel)
    bodies = (eroded > 0) & valid
    background = (grown == 0) & valid
    _, _, stats, _ = cv2.connectedComponentsWithStats(filled, connectivity=4)
    return FieldRegions(
        transmittance=transmittance,
        valid=valid,
        artefacts=artefacts,
        cells=filled > 0,
        bodies=bodies,
        background=background,
        parts=np.asarray(stats[1:], dtype=np.int32),
        body_sample=_sample(transmittance, bodies),
        ground_sample=_sample(transmittance, background),
    )


def artefact_share(regions: FieldRegions) -> float:
    """Share (0-1) of the area inside the field stop that artefacts take."""
    taken = int(np.count_nonzero(regions.artefacts))
    return taken / max(1, taken + int(np.count_nonzero(regions.valid)))


def _density(transmittance: float) -> float:
    return float(-np.log10(max(transmittance, TRANSMITTANCE_FLOOR)))


def _sample(picture: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    chosen = np.flatnonzero(mask)
    chosen = chosen[:: len(chosen) // SAMPLE_PX + 1]
    return np.asarray(picture.reshape(-1, 3)[chosen], dtype=np.float32)


def _reduced_mask(mask: NDArray[np.bool_], width: int, height: int) -> NDArray[np.bool_]:
    if mask.all():
        return np.ones((height, width), dtype=np.bool_)
    coded = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(coded, dtype=np.bool_)


def _disc(radius_px: float) -> NDArray[np.uint8]:
    side = 2 * max(1, round(radius_px)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), dtype=np.uint8)
