"""Images for int8 calibration: canonical fields by the device's own function, nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import EdgeHemoError, UsageError
from edgehemo.field import UINT8_PER_TRANSMITTANCE, canonical_field
from edgehemo.images import images_in, read_frame
from edgehemo_export.datasets import READERS, read_data_root
from edgehemo_export.splits import part_of

# Fewer samples give ranges that clip in the field; below the first number int8 is refused.
MIN_SAMPLES = 100
ADVISED_SAMPLES = 300
MAX_SAMPLES = 320
# Fields are cut to tiles of at most this side, so that one large field does not outweigh many.
TILE_PX = 256


@dataclass(frozen=True)
class CalibrationSet:
    """files: what the samples are drawn from. digest: SHA-256 over their contents, sorted.
    skipped: unreadable images, one line each."""

    files: tuple[Path, ...]
    tiles: tuple[NDArray[np.uint8], ...]
    digest: str
    skipped: tuple[str, ...]

    def batches(self) -> Iterator[NDArray[np.uint8]]:
        """uint8 (1, h, w, 3) canonical codes."""
        for tile in self.tiles:
            yield tile[None]


def read_calibration_set(source: Path, *, multiple_of_px: int, seed: int = 0) -> CalibrationSet:
    """Calibration tiles from a data root (its training part only) or a folder of fields.

    Raises UsageError when fewer than `MIN_SAMPLES` tiles can be had.
    """
    files = _files_of(source)
    order = np.random.default_rng(seed).permutation(len(files))
    tiles: list[NDArray[np.uint8]] = []
    used: list[Path] = []
    skipped: list[str] = []
    for index in order:
        if len(tiles) >= MAX_SAMPLES:
            break
        path = files[int(index)]
        try:
            codes = canonical_field(read_frame(path)).to_uint8()
        except EdgeHemoError as error:
            skipped.append(str(error))
            continue
        used.append(path)
        tiles.extend(_tiles(codes, multiple_of_px)[:4])
    if len(tiles) < MIN_SAMPLES:
        raise UsageError(
            f"{source}: only {len(tiles)} calibration samples could be drawn, int8 needs at least "
            f"{MIN_SAMPLES} (better {ADVISED_SAMPLES}); give --calibration a larger set of fields"
        )
    digests = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in used)
    return CalibrationSet(
        files=tuple(used),
        tiles=tuple(tiles),
        digest=hashlib.sha256("\n".join(digests).encode()).hexdigest(),
        skipped=tuple(skipped),
    )


def _files_of(source: Path) -> list[Path]:
    if not source.is_dir():
        raise UsageError(f"{source}: --calibration takes a folder of fields or a data root")
    if any((source / name).is_dir() for name in READERS):
        return [i.path for i in read_data_root(source) if part_of(i.group) == "train"]
    return images_in([source])


def _tiles(codes: NDArray[np.uint8], multiple: int) -> list[NDArray[np.uint8]]:
    """Cut a field into tiles of at most `TILE_PX`, padded with clear field to whole steps."""
    out: list[NDArray[np.uint8]] = []
    pad = round(UINT8_PER_TRANSMITTANCE)
    height, width = codes.shape[:2]
    for y in range(0, height, TILE_PX):
        for x in range(0, width, TILE_PX):
            part = codes[y : y + TILE_PX, x : x + TILE_PX]
            if min(part.shape[:2]) < TILE_PX // 4:
                continue
            below, right = -part.shape[0] % multiple, -part.shape[1] % multiple
            padded = cv2.copyMakeBorder(
                part, 0, below, 0, right, cv2.BORDER_CONSTANT, value=(pad, pad, pad)
            )
            out.append(np.ascontiguousarray(padded, dtype=np.uint8))
    return out


def shared_contents(a: Sequence[Path], b: Sequence[Path]) -> list[Path]:
    """Files of ``b`` whose content is also in ``a``, by SHA-256."""
    ours = {hashlib.sha256(path.read_bytes()).digest() for path in a}
    return [path for path in b if hashlib.sha256(path.read_bytes()).digest() in ours]
