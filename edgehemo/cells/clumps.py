"""Red cells that their neighbours hide: a second look at what the finder leaves of a clump.

Of two cells that overlap, the finder is sure of one and half sure of the other, and in a dense
clump it is half sure of many: by its own score alone they would be lost, and with a lower threshold
for all cells dirt and halves of cells would come with them. What the field shows beside the score
tells them apart. Stain that no reported cell accounts for is there for a reason; where the finder
itself proposes a cell of ordinary size for it, in a red cell's colour and against a reported cell,
that is the hidden one. What half of a cell looks like says nothing of its type: a hidden cell
counts and is not named.

The limits were set on BCCD's tune and training parts and on fields of five other sources, by
looking at what was added; `benchmarks/clumped_cells.py` measures them on boxes drawn by hand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.cells.cell import CELL_KINDS
from edgehemo.field.canonical import CanonicalField
from edgehemo.field.scale import cell_mask
from edgehemo.statistics.medians import median_of

# From this calibrated probability on the finder's own proposal is looked at.
HIDDEN_FROM = 0.25
# Of those that pass, so many are cells (looked at: 80 of BCCD's tune and training parts). It is the
# probability they are counted with.
HIDDEN_SHARE_RIGHT = 0.9
# Stain that no other cell accounts for, as a share of the area of the field's median red cell.
_MIN_NEW_SHARE = 0.15
# Stain within the proposed outline. A pale cell shows its rim alone.
_MIN_STAINED_SHARE = 0.5
# Diameter over the median's of the field.
_DIAMETERS = (0.7, 1.4)
# Part of the outline that lies on other cells: what stands alone needs no second look.
_MIN_COVERED_SHARE = 0.02
# Greatest difference of a channel's share of the optical density from the field's red cells.
# Pointers, platelets and crystals of stain lie from 0.1 on.
_MAX_TINT_APART = 0.075
# Optical density of the new stain over the red cells' (0.5 to 1.44 of those looked at): what is
# opaque is no cell, nor is a breath of stain.
_DENSITIES = (0.4, 1.6)
# Red cells whose channels' shares differ less than this from a third each have no colour to tell
# them by: a picture without any, or a field stop that was taken for cells.
_LEAST_TINT = 0.03
# Fewer whole red cells than this say nothing of how red cells look in a field.
_MIN_RED_CELLS = 4
# Sums of optical densities below this have no colour.
_MIN_DENSITY = 0.03
_FLOOR = 0.01
# Bits after the binary point of the coordinates of drawn ellipses.
_SUBPIXEL_BITS = 4

_RED, _WHITE = CELL_KINDS.index("rbc"), CELL_KINDS.index("wbc")


def hidden_cells(
    rows: NDArray[np.float32],
    probability: NDArray[np.float32],
    reported: NDArray[np.bool_],
    field: CanonicalField,
) -> NDArray[np.intp]:
    """Places of the candidates that are cells hidden in clumps, likeliest first, intp (n,).

    rows: float32 (n, 6 or more), candidates as `read_maps` gives them, in canonical px of the
    field. probability: float32 (n,), calibrated. reported: bool (n,), those that are cells by it.
    """
    asked = ~reported & (rows[:, 5] == _RED) & (probability >= HIDDEN_FROM)
    red = reported & (rows[:, 5] == _RED)
    diameters = np.sqrt(np.prod(rows[:, 2:4] - rows[:, :2], axis=1))
    uncut = red & _uncut(rows, field)
    if not asked.any() or np.count_nonzero(uncut) < _MIN_RED_CELLS:
        return np.zeros(0, np.intp)
    median = median_of(diameters[uncut])
    least, most = (limit * median for limit in _DIAMETERS)
    asked &= (diameters >= least) & (diameters <= most)
    white = reported & (rows[:, 5] == _WHITE)
    places = _meeting(rows, np.flatnonzero(asked), red | white)
    if not len(places):
        return np.zeros(0, np.intp)

    stained = cell_mask(field.transmittance[..., 1], field.valid)
    covered = np.zeros(stained.shape, np.uint8)
    _draw(covered, rows[red], 1)
    body = stained & covered
    _draw(body, rows[white], 0)
    _draw(covered, rows[white], 1)
    usual = _stain(field.transmittance, body)
    if usual is None or np.abs(usual.tint - 1 / 3).max() < _LEAST_TINT:
        return np.zeros(0, np.intp)
    thinnest, densest = (limit * usual.density for limit in _DENSITIES)

    found: list[int] = []
    for place in places[np.argsort(-probability[places], kind="stable")].tolist():
        part = _around(rows[place], stained.shape)
        outline = np.zeros(stained[part].shape, np.uint8)
        _draw(outline, rows[place : place + 1, :4] - _offset(part), 1)
        area = int(np.count_nonzero(outline))
        own = stained[part] & outline
        new = own & ~covered[part]
        on_others = int(np.count_nonzero(outline & covered[part]))
        if (
            area == 0
            or np.count_nonzero(own) < _MIN_STAINED_SHARE * area
            or np.count_nonzero(new) < _MIN_NEW_SHARE * math.pi / 4 * median**2
            or on_others < _MIN_COVERED_SHARE * area
        ):
            continue
        stain = _stain(field.transmittance[part], new)
        if stain is None or not thinnest <= stain.density <= densest:
            continue
        if np.abs(stain.tint - usual.tint).max() > _MAX_TINT_APART:
            continue
        found.append(place)
        covered[part] |= outline
    return np.array(found, np.intp)


def _uncut(rows: NDArray[np.float32], field: CanonicalField) -> NDArray[np.bool_]:
    """Boxes that the picture's border does not cut, bool (n,)."""
    within = (rows[:, :2] > 0).all(axis=1) & (rows[:, 2] < field.width)
    return np.asarray(within & (rows[:, 3] < field.height), np.bool_)


def _meeting(
    rows: NDArray[np.float32], places: NDArray[np.intp], others: NDArray[np.bool_]
) -> NDArray[np.intp]:
    """Those of the places whose box meets one of the other rows', intp (m,)."""
    x0, y0, x1, y1 = rows[others, :4].T
    met = [
        bool(((x0 < a1) & (a0 < x1) & (y0 < b1) & (b0 < y1)).any())
        for a0, b0, a1, b1 in rows[places, :4].tolist()
    ]
    return places[np.array(met, np.bool_)]


def _draw(canvas: NDArray[np.uint8], boxes: NDArray[np.float32], value: int) -> None:
    """Fill the boxes' ellipses with a value; what reaches out of the canvas is cut."""
    ones = 1 << _SUBPIXEL_BITS
    for x0, y0, x1, y1 in boxes[:, :4].tolist():
        # A pixel's middle has whole coordinates here, and halves in a box.
        centre = round(((x0 + x1) / 2 - 0.5) * ones), round(((y0 + y1) / 2 - 0.5) * ones)
        axes = max(0, round((x1 - x0) / 2 * ones)), max(0, round((y1 - y0) / 2 * ones))
        cv2.ellipse(canvas, centre, axes, 0, 0, 360, value, -1, cv2.LINE_8, _SUBPIXEL_BITS)


def _around(box: NDArray[np.float32], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The rows and columns that a box reaches, within the picture."""
    x0, y0, x1, y1 = box[:4].tolist()
    return (
        slice(max(0, math.floor(y0)), min(shape[0], math.ceil(y1) + 1)),
        slice(max(0, math.floor(x0)), min(shape[1], math.ceil(x1) + 1)),
    )


def _offset(part: tuple[slice, slice]) -> NDArray[np.float32]:
    """What to take off a box (its first four columns) within a part of the picture."""
    rows, columns = part
    return np.array([columns.start, rows.start, columns.start, rows.start], np.float32)


@dataclass(frozen=True, slots=True)
class _Stain:
    """density: optical, all channels together. tint: each channel's share of it, float64 (3,)."""

    density: float
    tint: NDArray[np.float64]


def _stain(transmittance: NDArray[np.float32], where: NDArray[np.uint8]) -> _Stain | None:
    """The mean stain of a region, None where it is empty or has no density.

    where: uint8, not 0 in the region.
    """
    if not where.any():
        return None
    mean = np.array(cv2.mean(transmittance, mask=where)[:3])
    density = -np.log10(np.clip(mean, _FLOOR, 1.0))
    total = float(density.sum())
    return _Stain(total, density / total) if total >= _MIN_DENSITY else None
