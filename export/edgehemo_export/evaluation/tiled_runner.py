"""Runs pictures of any size through an artefact that takes one size, the way the device tiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import InputSpec
from edgehemo.cells.finder import tiles_of
from edgehemo.cells.maps import STRIDE
from edgehemo.field.canonical import CLEAR_FIELD_CODE
from edgehemo.inference import Runner


class TiledRunner:
    """A runner for networks that answer maps of `STRIDE`; see `edgehemo.inference.Runner`.

    spec: with the fixed height and width. What reaches past the picture is clear field.
    """

    def __init__(self, runner: Runner, spec: InputSpec) -> None:
        self.name, self.version = runner.name, runner.version
        self._runner = runner
        self._spec = spec

    def run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (n, h, w, 3), sides multiples of the stride, to float32 (n, h/4, w/4, c)."""
        return np.stack([self._one(picture) for picture in codes])

    def _one(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        height, width = picture.shape[:2]
        out: NDArray[np.float32] | None = None
        for tile in tiles_of(width, height, self._spec):
            whole = np.full((tile.height, tile.width, 3), CLEAR_FIELD_CODE, np.uint8)
            part = picture[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
            whole[: part.shape[0], : part.shape[1]] = part
            maps = self._runner.run(whole[None])[0]
            if out is None:
                out = np.zeros((height // STRIDE, width // STRIDE, maps.shape[2]), np.float32)
            top, left = tile.own_y0 // STRIDE, tile.own_x0 // STRIDE
            bottom = min(-(-tile.own_y1 // STRIDE), out.shape[0])
            right = min(-(-tile.own_x1 // STRIDE), out.shape[1])
            y, x = tile.y // STRIDE, tile.x // STRIDE
            out[top:bottom, left:right] = maps[top - y : bottom - y, left - x : right - x]
        assert out is not None, "a picture has at least one tile"
        return out
