"""What lies in a red cell: rings and dots as young malaria parasites and nuclear remnants show.

Sizes as described for stained thin films (WHO, Basic Malaria Microscopy): a ring of a fifth to a
third of the cell's width with a chromatin dot on it, single dots under a micrometre, several to a
cell at times.
"""

from __future__ import annotations

import math

import numpy as np

from edgehemo.simulation.cells import CellShape, Floats, Patch
from edgehemo.simulation.parameters import StainParameters

# Radius of a ring's middle line and half its thickness; radius of a chromatin dot, um.
RING_RADIUS_UM = (0.75, 1.2)
RING_HALF_WIDTH_UM = (0.18, 0.30)
DOT_RADIUS_UM = (0.40, 0.65)
# Rings and dots in one cell.
MOST_RINGS, MOST_DOTS = 2, 4
# Their density over a compact nucleus's.
_DOT_STRENGTH = (0.7, 1.2)
_RING_STRENGTH = (0.45, 0.8)
# How far from the centre they lie at most, in radii of the cell.
_REACH = 0.55
# Widths of their soft edges, um.
_EDGE_UM = 0.12


def inclusion_density(
    rng: np.random.Generator,
    cell: CellShape,
    patch: Patch,
    x_px: float,
    y_px: float,
    um_per_px: float,
    stain: StainParameters,
) -> Floats:
    """Optical density that inclusions add to a red cell, float32 (rows, columns, 3) over its patch.

    x_px, y_px: the cell's centre on the canvas.
    """
    rows, columns = patch.inside.shape
    y = (np.arange(rows) + 0.5 + patch.row - y_px)[:, None] * um_per_px
    x = (np.arange(columns) + 0.5 + patch.column - x_px)[None, :] * um_per_px
    amount = np.zeros((rows, columns), np.float64)
    rings = int(rng.integers(0, MOST_RINGS + 1))
    dots = int(rng.integers(1, MOST_DOTS + 1)) if rings == 0 else 0
    for _ in range(rings):
        centre_x, centre_y = _place(rng, cell)
        radius, half = rng.uniform(*RING_RADIUS_UM), rng.uniform(*RING_HALF_WIDTH_UM)
        away = np.abs(np.hypot(x - centre_x, y - centre_y) - radius)
        amount = np.maximum(amount, rng.uniform(*_RING_STRENGTH) * _soft(half - away))
        angle = rng.uniform(0, 2 * math.pi)
        dot = (centre_x + radius * math.cos(angle), centre_y + radius * math.sin(angle))
        amount = np.maximum(amount, _dot(rng, x, y, dot))
    for _ in range(dots):
        amount = np.maximum(amount, _dot(rng, x, y, _place(rng, cell)))
    amount *= patch.inside
    hue = np.asarray(stain.nucleus_hue, np.float32)
    return np.asarray(amount[..., None] * hue * stain.nucleus_od, dtype=np.float32)


def _dot(rng: np.random.Generator, x: Floats, y: Floats, centre: tuple[float, float]) -> Floats:
    away = np.hypot(x - centre[0], y - centre[1])
    drawn = rng.uniform(*_DOT_STRENGTH) * _soft(rng.uniform(*DOT_RADIUS_UM) - away)
    return np.asarray(drawn, dtype=np.float32)


def _place(rng: np.random.Generator, cell: CellShape) -> tuple[float, float]:
    radius = _REACH * cell.radius_um * math.sqrt(rng.uniform(0.0, 1.0))
    angle = rng.uniform(0, 2 * math.pi)
    return radius * math.cos(angle), radius * math.sin(angle)


def _soft(inside_um: Floats) -> Floats:
    """0 outside to 1 inside, by the distance within an edge, um."""
    return np.asarray(1.0 / (1.0 + np.exp(-inside_um / (0.5 * _EDGE_UM))), dtype=np.float32)
