"""A canonical field as tiles of the size that the ResNet18 models take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.field.canonical import CLEAR_FIELD_CODE, CanonicalField

# The side those models take: 56 um, some thirty to forty red cells.
TILE_PX = 224
# More tiles than these say nothing new of one field.
MAX_TILES = 64
# A tile of which less than this share shows smear is not read.
MIN_VALID_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Tile:
    """codes: uint8 (1, TILE_PX, TILE_PX, 3). share: of it that shows smear (0-1); the rest, beyond
    the picture or the field stop, is clear.
    """

    codes: NDArray[np.uint8]
    share: float


def tiles_of_field(field: CanonicalField) -> Iterator[Tile]:
    """Tiles that cover a field evenly, overlapping where its sides are no multiples of a tile's.

    A field of more than `MAX_TILES` is covered in part, evenly. Tiles with little smear are left
    out.
    """
    codes = field.to_uint8()
    valid = field.valid
    if not valid.all():
        codes[~valid] = CLEAR_FIELD_CODE
    below, right = max(0, TILE_PX - field.height), max(0, TILE_PX - field.width)
    if below or right:
        clear = (CLEAR_FIELD_CODE,) * 3
        codes = cv2.copyMakeBorder(
            codes, 0, below, 0, right, cv2.BORDER_CONSTANT, value=clear
        ).astype(np.uint8, copy=False)
        valid = np.pad(valid, ((0, below), (0, right)))
    places = [(y, x) for y in starts(codes.shape[0]) for x in starts(codes.shape[1])]
    if len(places) > MAX_TILES:
        chosen = np.linspace(0, len(places) - 1, MAX_TILES).round().astype(int)
        places = [places[int(i)] for i in chosen]
    for y, x in places:
        part = (slice(y, y + TILE_PX), slice(x, x + TILE_PX))
        share = float(np.count_nonzero(valid[part])) / TILE_PX**2
        if share >= MIN_VALID_SHARE:
            yield Tile(np.ascontiguousarray(codes[part][None]), share)


def starts(length: int) -> list[int]:
    """First pixels of the fewest evenly placed tiles that cover a side of at least one tile."""
    count = -(-length // TILE_PX)
    return [round(float(start)) for start in np.linspace(0, length - TILE_PX, count)]
