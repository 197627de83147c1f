"""Where the cells of a smear come to lie."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Places tried for a cell that avoids the others; the one with the least overlap is taken.
TRIES = 60
CLUMP_TRIES = 6
# Cells may touch: the least distance of two centres, relative to the two radii.
TOUCH = 1.0
# A clumped cell's distance from its neighbour, relative to the two radii.
CLUMP_DISTANCE = (0.72, 1.0)


def place(
    radii_px: NDArray[np.float64],
    kinds: Sequence[str],
    *,
    low: float,
    width: float,
    height: float,
    crowding: float,
    clumping: float,
    rng: np.random.Generator,
) -> list[tuple[float, float]]:
    """Centres (x, y) of discs in a rectangle that starts at (low, low), in the order given.

    ``crowding`` is the probability that a red cell lies wherever it falls; ``clumping`` that it
    adheres to one already lying. White cells and platelets always avoid the others. Every disc
    is placed, so that numbers stay Poisson's: where there is no room, with the least overlap.
    """
    placed = _Placed(low, float(radii_px.max(initial=1.0)))
    out: list[tuple[float, float]] = []
    for radius, kind in zip(radii_px.tolist(), kinds, strict=True):
        fallen = kind == "rbc" and rng.random() < crowding
        clumped = kind == "rbc" and placed.red and rng.random() < clumping
        if clumped:
            x, y = _beside(placed, radius, low, width, height, rng)
        else:
            tries = 1 if fallen else TRIES
            points = rng.random((tries, 2))
            x, y = placed.freest(
                low + points[:, 0] * width, low + points[:, 1] * height, radius, stop_at_free=True
            )
        placed.add(x, y, radius, kind)
        out.append((x, y))
    return out


def _beside(
    placed: _Placed,
    radius: float,
    low: float,
    width: float,
    height: float,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Beside one of the red cells already lying, where there is most room."""
    chosen = [placed.red[int(i)] for i in rng.integers(0, len(placed.red), CLUMP_TRIES)]
    angles = rng.uniform(0, 2 * math.pi, CLUMP_TRIES)
    apart = rng.uniform(*CLUMP_DISTANCE) * np.array([placed.radius[i] + radius for i in chosen])
    x = np.array([placed.x[i] for i in chosen]) + apart * np.cos(angles)
    y = np.array([placed.y[i] for i in chosen]) + apart * np.sin(angles)
    x, y = np.clip(x, low, low + width), np.clip(y, low, low + height)
    return placed.freest(x, y, radius, stop_at_free=False)


class _Placed:
    """The discs that lie already, in square bins so that only neighbours are looked at."""

    def __init__(self, low: float, largest: float) -> None:
        # Lists, not arrays: they are read one number at a time.
        self.x: list[float] = []
        self.y: list[float] = []
        self.radius: list[float] = []
        self.red: list[int] = []
        self._low = low
        self._side = max(2 * largest, 1e-6)
        self._bins: dict[tuple[int, int], list[int]] = {}

    def add(self, x: float, y: float, radius: float, kind: str) -> None:
        index = len(self.x)
        self.x.append(x)
        self.y.append(y)
        self.radius.append(radius)
        self._bins.setdefault(self._bin(x, y), []).append(index)
        if kind == "rbc":
            self.red.append(index)

    def freest(
        self,
        xs: NDArray[np.float64],
        ys: NDArray[np.float64],
        radius: float,
        *,
        stop_at_free: bool,
    ) -> tuple[float, float]:
        """The place with the least overlap; with ``stop_at_free`` the first that has none."""
        best, least = (float(xs[0]), float(ys[0])), math.inf
        if len(xs) == 1:
            return best
        for x, y in zip(xs.tolist(), ys.tolist(), strict=True):
            overlap = self._overlap(x, y, radius, least)
            if overlap < least:
                best, least = (x, y), overlap
                if stop_at_free and overlap <= 0:
                    break
        return best

    def _overlap(self, x: float, y: float, radius: float, enough: float) -> float:
        """Summed depth by which a disc here would lie over others, px (given up at ``enough``)."""
        column, row = self._bin(x, y)
        total = 0.0
        for i in (column - 1, column, column + 1):
            for j in (row - 1, row, row + 1):
                for index in self._bins.get((i, j), ()):
                    reach = TOUCH * (radius + self.radius[index])
                    dx, dy = self.x[index] - x, self.y[index] - y
                    if abs(dx) < reach and abs(dy) < reach:
                        total += max(0.0, reach - math.hypot(dx, dy))
                        if total >= enough:
                            return total
        return total

    def _bin(self, x: float, y: float) -> tuple[int, int]:
        return int((x - self._low) // self._side), int((y - self._low) // self._side)
