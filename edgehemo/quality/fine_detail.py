"""Is the fine detail there? What the light still carries of structures 1.0 to 1.8 um wide.

The sharpness of outlines (`edgehemo.quality.focus`) falls steadily with blur, but what a weak
objective leaves of a sharp field, defocus can leave of a strong one's: by outlines alone the two
cannot be told apart. A circle of confusion of radius R has its first dark ring, in frequency, at
0.61 / R (the zero of 2 J1(x) / x at x = 2 pi R f = 3.83; Goodman, Introduction to Fourier Optics):
at 1 um just the band measured here, which every objective that sees red cells resolves. So its
power, over that of the cells' own size, tells focus at 1 um on any microscope. The band above it,
of structures 1.0 to 1.2 um wide, loses its power at 0.7 um already. Neither falls steadily beyond
(rings follow), so they stand beside the outlines' sharpness and not in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.field.canonical import CANONICAL_UM_PER_PX, CanonicalField
from edgehemo.quality.check import Check
from edgehemo.quality.limits import limit
from edgehemo.quality.regions import FieldRegions
from edgehemo.quality.verdicts import flagged
from edgehemo.statistics.medians import quantiles_of

# Bands, cycles per um: what a blur of 1 um takes away; what one of 0.7 um does; the cells' own
# size; and what is noise alone, for no structure of a cell is half a micrometre wide and dark.
_FINE = (0.56, 0.80)
_FINEST = (0.80, 1.05)
_COARSE = (0.08, 0.32)
_NOISE = (1.70, 2.00)
_TILE_PX = 64
# Judged on at most so many tiles, among those that hold most outlines.
_MAX_TILES = 10


@dataclass(frozen=True, slots=True)
class Detail:
    """Ln of green's mean power in the fine and in the finest band over the coarse one, noise taken
    off. Light, stain and contrast cancel.
    """

    fine: float
    finest: float


def detail_checks(field: CanonicalField, regions: FieldRegions) -> Sequence[Check]:
    """Verdicts on fine detail; a field without tiles of cells to judge is left to the focus check.

    Values: natural logarithms of the shares, see `Detail`.
    """
    found = detail_of(field, regions)
    return (
        _judged("fine_detail", None if found is None else found.fine),
        _judged("finest_detail", None if found is None else found.finest),
    )


def _judged(name: str, value: float | None) -> Check:
    lowest = limit(f"{name}.fail_below")
    if value is not None and value < lowest:
        return flagged(name, value, lowest, "OUT_OF_FOCUS", "fail")
    return Check(name, value, lowest, "pass")


def detail_of(field: CanonicalField, regions: FieldRegions) -> Detail | None:
    """The detail of a field; None where no tile of 16 um holds cells."""
    corners = _tiles(field, regions)
    if not corners:
        return None
    tiles = np.stack(
        [
            field.transmittance[row : row + _TILE_PX, column : column + _TILE_PX, 1]
            for row, column in corners
        ]
    )
    tiles -= tiles.mean(axis=(1, 2), keepdims=True)
    tiles *= _hann()
    spectra = np.fft.rfft2(tiles)
    power = np.mean(spectra.real**2 + spectra.imag**2, axis=0)
    coarse, noise = (float(power[_band(*band)].mean()) for band in (_COARSE, _NOISE))
    if coarse <= noise:
        return None

    def share(band: tuple[float, float]) -> float:
        found = float(power[_band(*band)].mean())
        return float(np.log(max(found - noise, 1e-3 * found) / (coarse - noise)))

    return Detail(share(_FINE), share(_FINEST))


def _tiles(field: CanonicalField, regions: FieldRegions) -> list[tuple[int, int]]:
    """Top left corners (row, column) of the tiles that are judged: rich in cells, evenly chosen."""
    down, across = field.height // _TILE_PX, field.width // _TILE_PX
    if down == 0 or across == 0:
        return []
    height, width = regions.cells.shape
    used_rows = max(1, round(height * down * _TILE_PX / field.height))
    used_columns = max(1, round(width * across * _TILE_PX / field.width))
    cells = (regions.cells & regions.valid)[:used_rows, :used_columns].astype(np.float32)
    share = cv2.resize(cells, (across, down), interpolation=cv2.INTER_AREA).ravel()
    # Cell and background both: half covered is richest in outlines.
    edges = share * (1.0 - share)
    if edges.max() <= 0:
        return []
    rich = np.flatnonzero(edges >= 0.5 * quantiles_of(edges, (0.9,))[0])
    chosen = rich[np.linspace(0, len(rich) - 1, min(_MAX_TILES, len(rich))).astype(int)]
    return [(int(index) // across * _TILE_PX, int(index) % across * _TILE_PX) for index in chosen]


@cache
def _hann() -> NDArray[np.float32]:
    side = np.hanning(_TILE_PX)
    return np.outer(side, side).astype(np.float32)


@cache
def _band(low: float, high: float) -> NDArray[np.bool_]:
    """The frequencies (of a tile's real spectrum) from low to high cycles per um."""
    cycles = np.hypot(np.fft.fftfreq(_TILE_PX)[:, None], np.fft.rfftfreq(_TILE_PX)[None])
    cycles = cycles / CANONICAL_UM_PER_PX
    return np.asarray((cycles >= low) & (cycles < high), np.bool_)
