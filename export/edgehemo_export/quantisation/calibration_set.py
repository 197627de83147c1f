"""Images for int8 calibration: canonical fields by the device's own function, nothing else."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import EdgeHemoError, UsageError
from edgehemo.field.canonical import CLEAR_FIELD_CODE, CanonicalField, canonical_field
from edgehemo.images.reading import images_in, read_frame
from edgehemo_export.data.duplicates import (
    CANDIDATE_BITS,
    COPY_CORRELATION,
    likeness,
    perceptual_hash,
    thumbnail,
)
from edgehemo_export.data.relabels import BOXED_SETS, labelled_images
from edgehemo_export.data.sets import set_folder
from edgehemo_export.data.sets.own import own_sets
from edgehemo_export.data.splits import CURRENT, ModelSplit

# Fewer samples give ranges that clip in the field; below the first number int8 is refused.
MIN_SAMPLES = 100
ADVISED_SAMPLES = 300
MAX_SAMPLES = 320
# Fields are cut to tiles of this side, of which a field gives a few: a large one must not outweigh
# many small ones. A multiple of every model's step.
TILE_PX = 128
TILES_PER_FIELD = 4
# A field whose codes span less than this holds no cell: it would teach ranges that clip.
LEAST_CONTRAST = 20
# A manifest of images is text: one path a line, relative to it; or CSV with a column `image`.
MANIFEST_SUFFIXES = (".txt", ".csv")


@dataclass(frozen=True)
class CalibrationSet:
    """files: what the samples are drawn from. digest: SHA-256 over their contents, sorted.
    skipped: unreadable images, one line each.
    """

    files: tuple[Path, ...]
    tiles: tuple[NDArray[np.uint8], ...]
    digest: str
    skipped: tuple[str, ...]

    @classmethod
    def of(
        cls,
        files: Sequence[Path],
        tiles: Sequence[NDArray[np.uint8]],
        skipped: Sequence[str] = (),
        *,
        drawn: Sequence[str] = (),
    ) -> Self:
        """With the digest over the files' contents and over how ``drawn`` samples were made."""
        digests = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
        return cls(
            files=tuple(files),
            tiles=tuple(np.ascontiguousarray(tile) for tile in tiles),
            digest=hashlib.sha256("\n".join([*digests, *drawn]).encode()).hexdigest(),
            skipped=tuple(skipped),
        )

    def batches(self) -> Iterator[NDArray[np.uint8]]:
        """uint8 (1, h, w, 3) canonical codes."""
        for tile in self.tiles:
            yield tile[None]


def read_calibration_set(
    source: Path, *, split: ModelSplit = CURRENT, seed: int = 0
) -> CalibrationSet:
    """Calibration tiles from a data root (its training part only) or a folder of fields.

    Raises UsageError when fewer than `MIN_SAMPLES` tiles can be had.
    """
    return CalibrationSet.of(
        *drawn_tiles(
            source,
            calibration_files(source, split),
            lambda field: _tiles(field.to_uint8()),
            wanted=MAX_SAMPLES,
            per_field=TILES_PER_FIELD,
            seed=seed,
        )
    )


def drawn_tiles(
    source: Path,
    files: Sequence[Path],
    cut: Callable[[CanonicalField], list[NDArray[np.uint8]]],
    *,
    wanted: int,
    per_field: int,
    seed: int,
) -> tuple[list[Path], list[NDArray[np.uint8]], list[str]]:
    """Files used, tiles and reasons why others were not: about ``wanted`` tiles, in chance order.

    Unreadable fields are skipped, and those that show nothing: they would teach ranges that clip.
    Raises UsageError when fewer than `MIN_SAMPLES` tiles can be had.
    """
    rng = np.random.default_rng(seed)
    tiles: list[NDArray[np.uint8]] = []
    used: list[Path] = []
    skipped: list[str] = []
    for index in rng.permutation(len(files)):
        if len(tiles) >= wanted:
            break
        path = files[int(index)]
        try:
            field = canonical_field(read_frame(path))
        except EdgeHemoError as error:
            skipped.append(str(error))
            continue
        if shows_nothing(field.to_uint8()):
            skipped.append(f"{path.name}: shows nothing but one even colour")
            continue
        used.append(path)
        own = cut(field)
        tiles += [own[int(i)] for i in rng.permutation(len(own))[:per_field]]
    if len(tiles) < MIN_SAMPLES:
        raise UsageError(
            f"{source}: only {len(tiles)} calibration samples could be drawn, int8 needs at least "
            f"{MIN_SAMPLES} (better {ADVISED_SAMPLES}); give --calibration a larger set of fields"
        )
    return used, tiles, skipped


def shows_nothing(codes: NDArray[np.uint8]) -> bool:
    """Whether a picture is one even colour: it would teach ranges that clip."""
    return int(np.ptp(codes)) < LEAST_CONTRAST


def calibration_files(source: Path, split: ModelSplit = CURRENT) -> list[Path]:
    """The images of the training part of a data root, of a folder or of a manifest."""
    public = any(set_folder(source, name) is not None for name in BOXED_SETS)
    if source.is_dir() and (public or any(own.in_fields for own in own_sets(source))):
        return [image.path for image in split.select(labelled_images(source), "train")]
    return listed_images(source)


def listed_images(source: Path) -> list[Path]:
    """The images of a folder or of a manifest; UsageError for anything else."""
    if source.is_file() and source.suffix.lower() in MANIFEST_SUFFIXES:
        return manifest_files(source)
    if not source.is_dir():
        raise UsageError(
            f"{source}: --calibration takes a folder of images, a data root, or a manifest "
            f"({' or '.join(MANIFEST_SUFFIXES)}) of image paths"
        )
    return images_in([source])


def manifest_files(manifest: Path) -> list[Path]:
    """The images that a manifest lists; UsageError where it lists none or a missing one."""
    try:
        text = manifest.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{manifest}: is not readable text ({error})") from None
    if manifest.suffix.lower() == ".csv":
        rows = list(csv.DictReader(text.splitlines()))
        if rows and "image" not in rows[0]:
            raise UsageError(f"{manifest}: has no column `image`")
        names = [row["image"] for row in rows]
    else:
        names = [line.strip() for line in text.splitlines()]
    files = [manifest.parent / name for name in names if name and not name.startswith("#")]
    if not files:
        raise UsageError(f"{manifest}: lists no image")
    for path in files:
        if not path.is_file():
            raise UsageError(f"{manifest}: {path} does not exist")
    return files


def _tiles(codes: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Cut a field into tiles of `TILE_PX` squared, the last ones flush with its border.

    All are of one size, which the percentile and entropy calibrators need; a smaller field is
    padded with clear field.
    """
    pad = (CLEAR_FIELD_CODE,) * 3
    below, right = max(0, TILE_PX - codes.shape[0]), max(0, TILE_PX - codes.shape[1])
    if below or right:
        codes = np.asarray(
            cv2.copyMakeBorder(codes, 0, below, 0, right, cv2.BORDER_CONSTANT, value=pad),
            dtype=np.uint8,
        )
    height, width = codes.shape[:2]
    return [
        np.ascontiguousarray(codes[y : y + TILE_PX, x : x + TILE_PX])
        for y in _starts(height)
        for x in _starts(width)
    ]


def _starts(length: int) -> list[int]:
    starts = list(range(0, length - TILE_PX + 1, TILE_PX))
    if length % TILE_PX > TILE_PX // 2:
        starts.append(length - TILE_PX)
    return starts


def shared_pictures(a: Sequence[Path], b: Sequence[Path]) -> list[Path]:
    """Files of ``b`` that show the same picture as one of ``a``.

    By content (SHA-256), and by look: the same exposure stored anew in another format, quality or
    size; see `edgehemo_export.data.duplicates`.
    """
    contents = {hashlib.sha256(path.read_bytes()).digest() for path in a}
    ours = [look for path in a if (look := _look(path)) is not None]
    hashes = np.array([found for found, _ in ours], np.uint64)
    out = []
    for path in b:
        if hashlib.sha256(path.read_bytes()).digest() in contents:
            out.append(path)
            continue
        look = _look(path)
        if look is None or not ours:
            continue
        near = np.flatnonzero(np.bitwise_count(hashes ^ np.uint64(look[0])) <= CANDIDATE_BITS)
        if any(likeness(ours[int(i)][1], look[1]) >= COPY_CORRELATION for i in near):
            out.append(path)
    return out


def _look(path: Path) -> tuple[int, NDArray[np.uint8]] | None:
    """Perceptual hash and thumbnail; None for what is no picture."""
    try:
        small = thumbnail(read_frame(path).pixels)
    except EdgeHemoError:
        return None
    return perceptual_hash(small), small
