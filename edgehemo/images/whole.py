"""Whether a picture stops half way: judged from its pixels alone, whatever wrote the file.

A transfer that stopped, a frame of a camera that lost its end, a file whose rest is zeros: the
part that is missing comes as one flat colour, or as its last line repeated to the border. No
picture through a lens looks like that: noise makes neighbouring pixels differ. What is flat and
no damage is told apart by its edge and by what is opposite:

- the black around a round field stop, white background that is clipped: their edges are curved
  or ragged, that of a missing part is a straight line from border to border;
- bars on two opposite sides, as a video of another shape has them: two of the same width;
- drawings without noise: nothing is known of them, so nothing is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Side = Literal["lower", "upper", "right", "left", "middle"]

# A missing part smaller than this share of the picture is let pass: it moves no number by more.
MIN_MISSING_SHARE = 0.05
# Wider than the blocks of 16 px a codec works in and the one beside the edge that it smears.
_EDGE_PX = 40
# Rows between the band and the border that are taken for a part of it.
_STRAY_PX = 16
# What a codec or a change of size does to equal lines, counts.
_TOLERANCE = 2
# Of the columns at the edge so many must come alive within `_EDGE_PX`: a straight line. And of
# what is not flat so many small blocks must hold some change, as a picture through a lens does.
# The second of each holds for bands that are neither black nor white, for which light and lens
# have no other explanation.
_STRAIGHT_SHARE = (0.75, 0.40)
_LIVE_SHARE = (0.75, 0.40)
_BLACK, _WHITE = 16, 240
_BLOCK_PX = 8
# Bars of a video on both sides differ in width by no more than this.
_BARS_DIFFER = 0.15
# A picture smaller than this shows too little of an edge to tell.
_MIN_SIDE_PX = 64
# Lines looked at first; nearly every picture ends there.
_PROBED = 48


@dataclass(frozen=True, slots=True)
class MissingPart:
    """The part of a picture that is not there: on which side, and its share (0-1) of the area."""

    side: Side
    share: float

    def __str__(self) -> str:
        where = "a band in the middle" if self.side == "middle" else f"its {self.side} part"
        return (
            f"the picture stops half way: {where} ({100 * self.share:.0f} %) is one flat colour "
            "or one line repeated"
        )


def missing_part(pixels: NDArray[np.uint8]) -> MissingPart | None:
    """The largest missing part of uint8 RGB (height, width, 3), None where the picture is whole."""
    if min(pixels.shape[:2]) < _MIN_SIDE_PX:
        return None
    rows = _missing_rows(pixels)
    if rows is None:
        turned = pixels.swapaxes(0, 1)
        columns = _missing_rows(turned)
        if columns is None:
            return None
        first, last = columns
        return _part(first, last, len(turned), ("left", "right"))
    first, last = rows
    return _part(first, last, len(pixels), ("upper", "lower"))


def _part(first: int, last: int, length: int, sides: tuple[Side, Side]) -> MissingPart:
    side: Side = sides[1] if last == length else sides[0] if first == 0 else "middle"
    return MissingPart(side, (last - first) / length)


def _missing_rows(pixels: NDArray[np.uint8]) -> tuple[int, int] | None:
    """The rows [first, last) that are one row repeated where such a band is a missing part."""
    height = len(pixels)
    least = max(4, round(MIN_MISSING_SHARE * height))
    bands = [band for band in _equal_rows(pixels, least) if band[1] - band[0] >= least]
    if not bands:
        return None
    bands.sort(key=lambda band: band[0] - band[1])
    first, last = bands[0]
    # Less than a row of blocks beyond it is what was written at the end: no picture.
    if first < _STRAY_PX:
        first = 0
    if last > height - _STRAY_PX:
        last = height
    if last - first > 0.98 * height or _are_bars(bands, height):
        return None
    line = pixels[(first + last) // 2]
    extreme = bool(line.max() <= _BLACK or line.min() >= _WHITE)
    which = 0 if extreme else 1
    if _alive_at_edges(pixels, first, last) < _STRAIGHT_SHARE[which]:
        return None
    if _alive_beyond(pixels, first, last) < _LIVE_SHARE[which]:
        return None
    return first, last


def _equal_rows(pixels: NDArray[np.uint8], least: int) -> list[tuple[int, int]]:
    """Runs [first, last) of at least ``least`` rows that are all as one of them."""
    height, width = pixels.shape[:2]
    # Some lines far apart first: a band of that height covers two of them at least.
    step = max(1, least // 2)
    probed = np.ascontiguousarray(pixels[::step, :: max(1, width // _PROBED)])
    alike = np.flatnonzero((cv2.absdiff(probed[1:], probed[:-1]) <= _TOLERANCE).all(axis=(1, 2)))
    found: list[tuple[int, int]] = []
    for index in alike:
        row = int(index) * step
        if found and row < found[-1][1]:
            continue
        line = np.ascontiguousarray(pixels[row])
        top = row
        while top > 0 and _as(line, pixels[top - 1]):
            top -= 1
        bottom = row + 1
        while bottom < height and _as(line, pixels[bottom]):
            bottom += 1
        if bottom - top >= least:
            found.append((top, bottom))
    return found


def _as(line: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    return bool(cv2.absdiff(line, np.ascontiguousarray(other)).max() <= _TOLERANCE)


def _are_bars(bands: list[tuple[int, int]], height: int) -> bool:
    """Whether the picture lies between two bars of one width."""
    upper = max((last for first, last in bands if first == 0), default=0)
    lower = max((height - first for first, last in bands if last == height), default=0)
    return min(upper, lower) > 0 and abs(upper - lower) <= max(2.0, _BARS_DIFFER * upper)


def _alive_at_edges(pixels: NDArray[np.uint8], first: int, last: int) -> float:
    """Share of the columns that differ from the band right beside it, at its less live edge."""
    edges = []
    if first > 0:
        edges.append((pixels[max(0, first - _EDGE_PX) : first], pixels[first]))
    if last < len(pixels):
        edges.append((pixels[last : last + _EDGE_PX], pixels[last - 1]))
    shares = [
        (np.abs(beside.astype(np.int16) - line) > _TOLERANCE).any(axis=(0, 2)).mean()
        for beside, line in edges
    ]
    return float(min(shares))


def _alive_beyond(pixels: NDArray[np.uint8], first: int, last: int) -> float:
    """Share of small blocks beside the band that have noise or texture, as a lens gives them."""
    rest = pixels[:first] if first >= len(pixels) - last else pixels[last:]
    height, width = (side // _BLOCK_PX * _BLOCK_PX for side in rest.shape[:2])
    if height < _BLOCK_PX or width < _BLOCK_PX:
        return 0.0
    blocks = rest[:height, :width].reshape(height // _BLOCK_PX, _BLOCK_PX, -1, _BLOCK_PX, 3)
    return float((blocks != blocks[:, :1, :, :1]).any(axis=(1, 3, 4)).mean())
