"""Pictures as the networks see them: decoded, resized, and where asked made alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgehemo.files.atomic import sha256_of_file
from edgehemo.images.reading import read_frame
from edgehemo_export.data.duplicates import perceptual_hash, thumbnail
from edgehemo_export.studies.remya.cohorts import StudyPicture
from edgehemo_export.studies.remya.configuration import PicturesConfig

# Of a picture's pixels, by brightness: what counts as the background between cells.
BACKGROUND_QUANTILE = 0.90
# What the file alone tells: see `file_features`.
FILE_FEATURES = ("width", "height", "bytes a pixel", "JPEG quantisation")


@dataclass(frozen=True)
class Decoded:
    """Every picture once, in the order of ``keys``.

    as_is, levelled: uint8 (n, side, side, 3) RGB. of_file: float64 (n, 4), `FILE_FEATURES`.
    digests, hashes, thumbnails: of the file behind a picture, as `duplicates` wants them.
    """

    keys: Sequence[str]
    as_is: NDArray[np.uint8]
    levelled: NDArray[np.uint8]
    of_file: NDArray[np.float64]
    digests: NDArray[np.str_]
    hashes: NDArray[np.uint64]
    thumbnails: NDArray[np.uint8]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As they are stored."""
        return {
            "keys": np.array(self.keys),
            "as_is": self.as_is,
            "levelled": self.levelled,
            "of_file": self.of_file,
            "digests": self.digests,
            "hashes": self.hashes,
            "thumbnails": self.thumbnails,
        }

    @classmethod
    def stored(cls, arrays: dict[str, NDArray[Any]]) -> Decoded:
        """From `arrays`."""
        return cls(
            keys=[str(key) for key in arrays["keys"]],
            as_is=arrays["as_is"],
            levelled=arrays["levelled"],
            of_file=arrays["of_file"],
            digests=arrays["digests"],
            hashes=arrays["hashes"],
            thumbnails=arrays["thumbnails"],
        )

    def places(self, pictures: Sequence[StudyPicture]) -> NDArray[np.intp]:
        """Where pictures stand in these arrays."""
        index = {key: place for place, key in enumerate(self.keys)}
        return np.array([index[picture.key] for picture in pictures], np.intp)


def decoded(
    pictures: Sequence[StudyPicture],
    config: PicturesConfig,
    tell: Callable[[str], None] = lambda says: None,
) -> Decoded:
    """Read, cut and resize; each file is opened once. Raises ImageError for one that cannot be."""
    unique = list({picture.key: picture for picture in pictures}.values())
    side = config.side_px
    as_is = np.zeros((len(unique), side, side, 3), np.uint8)
    level = np.zeros_like(as_is)
    of_file = np.zeros((len(unique), len(FILE_FEATURES)))
    digests: list[str] = []
    hashes = np.zeros(len(unique), np.uint64)
    thumbnails: list[NDArray[np.uint8]] = []
    path: Path | None = None
    for place, picture in enumerate(unique):
        if picture.path != path:
            path = picture.path
            whole = read_frame(path).pixels
            alike = levelled(whole, config.levelled_width_px, config.levelled_jpeg_quality)
            small, digest, features = thumbnail(whole), sha256_of_file(path), file_features(path)
            tell(f"picture {place + 1} of {len(unique)}")
        as_is[place] = resized(tile_of(whole, picture), side)
        level[place] = resized(tile_of(alike, picture), side)
        of_file[place] = features
        digests.append(digest)
        hashes[place] = perceptual_hash(small)
        thumbnails.append(small)
    return Decoded(
        keys=[picture.key for picture in unique],
        as_is=as_is,
        levelled=level,
        of_file=of_file,
        digests=np.array(digests),
        hashes=hashes,
        thumbnails=np.array(thumbnails, np.uint8),
    )


def tile_of(pixels: NDArray[np.uint8], picture: StudyPicture) -> NDArray[np.uint8]:
    """The part of a whole picture uint8 (h, w, 3) that a tile is."""
    height, width = pixels.shape[:2]
    (row, column), n = picture.tile, picture.tiles
    return pixels[
        row * height // n : (row + 1) * height // n,
        column * width // n : (column + 1) * width // n,
    ]


def resized(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """uint8 (side, side, 3), whatever the proportions were: as the paper resizes."""
    down = cv2.INTER_AREA if min(pixels.shape[:2]) > side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (side, side), interpolation=down), np.uint8)


def levelled(pixels: NDArray[np.uint8], width: int, jpeg_quality: int) -> NDArray[np.uint8]:
    """A picture uint8 (h, w, 3) without what its file and lamp tell: one width, one compression,
    the background of every channel at 230.
    """
    height = max(1, round(width * pixels.shape[0] / pixels.shape[1]))
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    background = np.maximum(np.quantile(small.reshape(-1, 3), BACKGROUND_QUANTILE, axis=0), 1.0)
    even = np.clip(small * (230.0 / background), 0, 255).astype(np.uint8)
    _, packed = cv2.imencode(
        ".jpg", cv2.cvtColor(even, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality]
    )
    again = cv2.imdecode(packed, cv2.IMREAD_COLOR)
    assert again is not None, "just encoded"
    return np.asarray(cv2.cvtColor(again, cv2.COLOR_BGR2RGB), np.uint8)


def file_features(path: Path) -> tuple[float, float, float, float]:
    """`FILE_FEATURES` of a file, none of which has seen a pixel; quantisation 0 of no JPEG."""
    with Image.open(path) as picture:
        width, height = picture.size
        tables = getattr(picture, "quantization", None) or {}
        coarse = float(sum(tables[0])) if 0 in tables else 0.0
    return float(width), float(height), path.stat().st_size / (width * height), coarse
