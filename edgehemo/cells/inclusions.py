"""Red cells that hold something dark: rings, dots and rods, of parasites or of other things.

To the finder such a cell is a little like a white one, and it divides its score between the two
kinds: called white it is counted wrongly, and where neither kind reaches its threshold it is lost.
What the cell looks like tells: its body is a red cell's, of a red cell's size and stain, and what
is dark in it is small, thin and of another hue. A nucleus is none of these: it is thick, and the
body about it, of a white cell or of a young red one, is larger or otherwise stained.

Malaria parasites, Howell-Jolly and Pappenheimer bodies and basophilic stippling look so; which it
is, a person must say. What is large and compact, as a ripe parasite is, stays what the finder said.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.cells.cell import Cell, FieldCells
from edgehemo.cells.second_look import as_red_cells, with_red_cells
from edgehemo.field.canonical import CANONICAL_UM_PER_PX, CanonicalField
from edgehemo.statistics.medians import column_medians, median_of, quantiles_of

# A box's inscribed ellipse, by its sides: its body, and where no rim or neighbour reaches.
_BODY_SHARE = 0.94
_INNER_SHARE = 0.80
# What lies in a cell ends in it: what is dark and reaches out of it, or so near to its outline, is
# a pointer, a neighbour's nucleus, a platelet beside it, the field stop.
_MARGIN_PX = 3
# Transmittance below which a density says no more than "opaque".
_FLOOR = 0.02
# Fewer red cells than this say nothing of how red cells look in a field.
_MIN_RED_CELLS = 8
# The red cells' bodies are sampled at every so many pixels.
_SAMPLE_STEP = 2
_MOST_SAMPLED = 60
# Dark: above the red cells' bodies by this in the optical density of red light (which azure absorbs
# and eosin and haemoglobin do not: as in `quality.nuclei`), and bluer than they by this factor, so
# that two red cells one on the other are none.
_DARK_EXCESS_OD = 0.12
_BLUER = 1.15
# Dark parts together, um^2: a dot of 0.9 um at least; at most this share of the cell.
_MIN_DARK_UM2 = 0.6
_MAX_DARK_SHARE = 0.30
# Width of the widest circle in them, um: less is noise, more a nucleus or a ripe parasite.
_MIN_CORE_UM = 0.75
_MAX_CORE_UM = 2.85
# The body about them against the field's red cells: density in green, ratio of red to green, and
# how much more red light it absorbs.
_BODY_DENSITY = (0.75, 1.35)
_BODY_HUE = (0.85, 1.20)
_MAX_BODY_EXCESS_OD = 0.05
# Width of a red cell's box, um; more is a white cell's or a clump's.
_BOX_UM = (5.5, 10.5)
# What a red cell's body varies by, as the field's own cells show it: a field of blotches and
# bad focus has cells of any density, and nothing dark in them means anything.
_MAX_BODY_SPREAD = 0.45


@dataclass(frozen=True, slots=True)
class CellLook:
    """How a cell looks against its field's red cells.

    width_um: of its box. dark_um2, dark_share: what in it is dark. core_um: width of the widest
    circle in that. body_density: median green density of the rest over the red cells'.
    body_hue: the same of the ratio of red density to green. body_excess_od: red density of the
    rest above the red cells'.
    """

    width_um: float
    dark_um2: float
    dark_share: float
    core_um: float
    body_density: float
    body_hue: float
    body_excess_od: float

    @property
    def is_red_cell(self) -> bool:
        """Whether the body about what is dark is a red cell's."""
        return (
            _BOX_UM[0] <= self.width_um <= _BOX_UM[1]
            and _BODY_DENSITY[0] <= self.body_density <= _BODY_DENSITY[1]
            and _BODY_HUE[0] <= self.body_hue <= _BODY_HUE[1]
            and abs(self.body_excess_od) <= _MAX_BODY_EXCESS_OD
        )

    @property
    def holds_inclusions(self) -> bool:
        """Whether it is a red cell with something small and dark in it."""
        return (
            self.is_red_cell
            and self.dark_um2 >= _MIN_DARK_UM2
            and self.dark_share <= _MAX_DARK_SHARE
            and _MIN_CORE_UM <= self.core_um <= _MAX_CORE_UM
        )


def with_inclusions(found: FieldCells, field: CanonicalField) -> FieldCells:
    """The cells with those that hold inclusions marked, as red ones whatever they were called, and
    with those of the doubtful that are such; the counts by it. Nothing stays doubtful.

    A field without colour, or with too few red cells to say how one looks, is left as it is.
    """
    plain = replace(found, doubtful=())
    red = [cell for cell in found.cells if cell.kind == "rbc"]
    if len(red) < _MIN_RED_CELLS:
        return plain
    body = _red_body(field, [_box(cell, field) for cell in red])
    if body is None:
        return plain
    dark_px = _dark_sums(field, body)
    platelets = [_box(cell, field) for cell in found.cells if cell.kind == "platelet"]

    def holds(cell: Cell) -> bool:
        if cell.kind == "platelet":
            return False
        box = _box(cell, field)
        x0, y0, x1, y1 = box
        within = dark_px[y1, x1] - dark_px[y0, x1] - dark_px[y1, x0] + dark_px[y0, x0]
        if within * CANONICAL_UM_PER_PX**2 < _MIN_DARK_UM2:
            return False
        look = _look(field, body, box, platelets)
        return look is not None and look.holds_inclusions

    marked = [index for index, cell in enumerate(found.cells) if holds(cell)]
    white = [index for index in marked if found.cells[index].kind == "wbc"]
    out = as_red_cells(plain, white, field)
    cells = list(out.cells)
    for index in marked:
        cells[index] = replace(cells[index], inclusion=True)
    out = replace(out, cells=tuple(cells))
    extra = [
        replace(each, cell=replace(each.cell, inclusion=True))
        for each in found.doubtful
        if holds(each.cell)
    ]
    return with_red_cells(out, extra)


def _densities(transmittance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Optical density (log10) of red and green, float32 (height, width, 2), of RGB."""
    return np.asarray(-np.log10(np.maximum(transmittance[..., :2], _FLOOR)), dtype=np.float32)


def _dark_sums(field: CanonicalField, body: NDArray[np.float64]) -> NDArray[np.int32]:
    """How many pixels above and left of each corner let through so little red light as what is
    dark does: nearly all cells have none, and need no closer look. Int32 (height + 1, width + 1).
    """
    red = cv2.extractChannel(field.transmittance, 0)
    darkest = float(10.0 ** -(body[0] + _DARK_EXCESS_OD))
    dark = cv2.threshold(red, darkest, 1.0, cv2.THRESH_BINARY_INV)[1].astype(np.uint8)
    return np.asarray(cv2.integral(dark), dtype=np.int32)


def _box(cell: Cell, field: CanonicalField) -> tuple[int, int, int, int]:
    """A cell's box in canonical px (x0, y0, x1, y1), not beyond the field."""
    across, down = field.frame_px_per_canonical_px
    x0, y0 = int(cell.x0 / across), int(cell.y0 / down)
    x1, y1 = math.ceil(cell.x1 / across), math.ceil(cell.y1 / down)
    width, height = field.width, field.height
    return min(max(0, x0), width), min(max(0, y0), height), min(x1, width), min(y1, height)


def _red_body(
    field: CanonicalField, boxes: Sequence[tuple[int, int, int, int]]
) -> NDArray[np.float64] | None:
    """How red cells look in a field: median density of their bodies, red and green.

    None where they have no colour of their own, or one too uneven to be told from.
    """
    # Every so many of the cells, and pixels of them: medians need no more.
    chosen = boxes[:: len(boxes) // _MOST_SAMPLED + 1]
    samples, middles = [], []
    for x0, y0, x1, y1 in chosen:
        part = field.transmittance[y0:y1:_SAMPLE_STEP, x0:x1:_SAMPLE_STEP]
        inside = part[_ellipse(part, _INNER_SHARE)]
        if not len(inside):
            continue
        samples.append(inside[:, :2])
        middles.append(median_of(inside[:, 1]))
    if len(samples) < _MIN_RED_CELLS:
        return None
    # The logarithm of a median is the logarithms'.
    through = column_medians(np.concatenate(samples).astype(np.float64))
    body = -np.log10(np.maximum(through, _FLOOR))
    high, low = quantiles_of(-np.log10(np.maximum(middles, _FLOOR)), (0.75, 0.25))
    uneven = (high - low) > _MAX_BODY_SPREAD * body[1]
    if body[1] < 1e-3 or uneven or body[0] > 0.95 * body[1]:
        return None
    return body


def _look(
    field: CanonicalField,
    body: NDArray[np.float64],
    box: tuple[int, int, int, int],
    platelets: Sequence[tuple[int, int, int, int]],
) -> CellLook | None:
    """How the cell in a box looks; None where the border or the field stop cuts it, or next to
    nothing of it is not dark.

    What a platelet's box covers is the platelet's, which lies on the cell.
    """
    x0, y0, x1, y1 = box
    left, top = max(0, x0 - _MARGIN_PX), max(0, y0 - _MARGIN_PX)
    about = _densities(field.transmittance[top : y1 + _MARGIN_PX, left : x1 + _MARGIN_PX])
    own = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    part = about[own]
    whole = _ellipse(part, _BODY_SHARE)
    area = int(np.count_nonzero(whole))
    if area == 0 or not field.valid[y0:y1, x0:x1].all():
        return None
    hue = float(body[0] / max(float(body[1]), _FLOOR))
    bluer = about[..., 0] > _BLUER * hue * np.maximum(about[..., 1], _FLOOR)
    dark_about = (about[..., 0] > body[0] + _DARK_EXCESS_OD) & bluer
    rest = whole & ~dark_about[own]
    if np.count_nonzero(rest) < 0.2 * area:
        return None
    inside = np.zeros(dark_about.shape, dtype=np.bool_)
    inside[own] = whole
    dark = _ending_in(dark_about, inside)[own]
    for p_x0, p_y0, p_x1, p_y1 in platelets:
        dark[max(0, p_y0 - y0) : max(0, p_y1 - y0), max(0, p_x0 - x0) : max(0, p_x1 - x0)] = False
    around = column_medians(part[rest].astype(np.float64))
    width_px = float(np.sqrt((x1 - x0) * (y1 - y0)))
    # A border of nothing: a dark part cut by the box is no thicker for it.
    padded = cv2.copyMakeBorder(dark.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    core_px = 2.0 * float(cv2.distanceTransform(padded, cv2.DIST_L2, 5).max()) - 1.0
    dark_px = int(np.count_nonzero(dark))
    return CellLook(
        width_um=width_px * CANONICAL_UM_PER_PX,
        dark_um2=dark_px * CANONICAL_UM_PER_PX**2,
        dark_share=dark_px / area,
        core_um=max(0.0, core_px) * CANONICAL_UM_PER_PX,
        body_density=float(around[1] / max(float(body[1]), _FLOOR)),
        body_hue=float(around[0] / max(float(around[1]), _FLOOR)) / max(hue, _FLOOR),
        body_excess_od=float(around[0] - body[0]),
    )


def _ending_in(dark: NDArray[np.bool_], inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The connected parts of ``dark`` that lie wholly inside."""
    if not dark.any():
        return dark
    _, labels = cv2.connectedComponents(dark.astype(np.uint8), connectivity=8)
    outside = np.unique(labels[dark & ~inside])
    return np.asarray(dark & ~np.isin(labels, outside), dtype=np.bool_)


def _ellipse(part: NDArray[np.float32], share: float) -> NDArray[np.bool_]:
    """The inscribed ellipse of a box, its axes by ``share`` of the sides; bool (height, width)."""
    height, width = part.shape[0], part.shape[1]
    y = (np.arange(height) + 0.5 - height / 2) / max(0.5, share * height / 2)
    x = (np.arange(width) + 0.5 - width / 2) / max(0.5, share * width / 2)
    return np.asarray(y[:, None] ** 2 + x[None] ** 2 <= 1.0, dtype=np.bool_)
