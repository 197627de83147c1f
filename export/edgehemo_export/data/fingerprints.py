"""Fingerprints of pictures: hashed once, kept in a cache file by path, size and time of change."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import ImageError
from edgehemo.files.atomic import sha256_of_file, write_bytes_atomically
from edgehemo.images.reading import read_frame
from edgehemo_export.data.duplicates import perceptual_hash, thumbnail
from edgehemo_export.data.sets.picture import SetPicture

_CACHE_FORMAT = 1

# Called with pictures hashed and their total.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Fingerprints:
    """What hashing gives, one entry a picture.

    digests: SHA-256. hashes: uint64 (n,). thumbnails: uint8 (n, 64, 64). sizes: (n, 2), width and
    height in px.
    """

    digests: list[str]
    hashes: NDArray[np.uint64]
    thumbnails: NDArray[np.uint8]
    sizes: NDArray[np.int32]


def fingerprints(
    root: Path,
    pictures: Sequence[SetPicture],
    cache: Path | None,
    progress: Progress | None,
) -> tuple[list[int], Fingerprints, dict[str, str]]:
    """Which pictures could be read, their fingerprints, and what is wrong with the others."""
    known = {} if cache is None else _read_cache(cache)
    keys: list[str] = []
    entries: list[_Entry] = []
    readable: list[int] = []
    unreadable: dict[str, str] = {}
    new = 0
    for i, picture in enumerate(pictures):
        status = picture.path.stat()
        name = relative_path(root, picture.path)
        key = f"{name}|{status.st_size}|{status.st_mtime_ns}"
        entry = known.get(key)
        if entry is None:
            try:
                entry = _hash(picture.path)
                new += 1
            except ImageError as error:
                unreadable[name] = str(error)
        if entry is not None:
            keys.append(key)
            entries.append(entry)
            readable.append(i)
        if progress is not None:
            progress(i + 1, len(pictures))
    if cache is not None and new:
        _write_cache(cache, keys, entries)
    return readable, _stacked(entries), unreadable


@dataclass(frozen=True)
class _Entry:
    digest: str
    perceptual: int
    small: NDArray[np.uint8]
    size: tuple[int, int]


def _hash(path: Path) -> _Entry:
    frame = read_frame(path)
    small = thumbnail(frame.pixels)
    return _Entry(
        digest=sha256_of_file(path),
        perceptual=perceptual_hash(small),
        small=small,
        size=(frame.pixels.shape[1], frame.pixels.shape[0]),
    )


def _stacked(entries: Sequence[_Entry]) -> Fingerprints:
    side = (0, 0) if not entries else entries[0].small.shape
    return Fingerprints(
        digests=[entry.digest for entry in entries],
        hashes=np.array([entry.perceptual for entry in entries], np.uint64),
        thumbnails=np.array([e.small for e in entries], np.uint8).reshape(len(entries), *side),
        sizes=np.array([entry.size for entry in entries], np.int32).reshape(-1, 2),
    )


def _read_cache(cache: Path) -> dict[str, _Entry]:
    """Fingerprints kept from another build; nothing where the file is none of ours."""
    try:
        with np.load(cache, allow_pickle=False) as stored:
            if int(stored["format"]) != _CACHE_FORMAT:
                return {}
            keys, digests, sizes = stored["keys"], stored["digests"], stored["sizes"]
            hashes, smalls = stored["hashes"], stored["thumbnails"]
    except (OSError, ValueError, KeyError):
        return {}
    return {
        str(key): _Entry(str(digest), int(value), small, (int(size[0]), int(size[1])))
        for key, digest, value, small, size in zip(
            keys, digests, hashes, smalls, sizes, strict=True
        )
    }


def _write_cache(cache: Path, keys: Sequence[str], entries: Sequence[_Entry]) -> None:
    prints = _stacked(entries)
    packed = io.BytesIO()
    np.savez(
        packed,
        format=np.array(_CACHE_FORMAT),
        keys=np.array(keys),
        digests=np.array(prints.digests),
        hashes=prints.hashes,
        thumbnails=prints.thumbnails,
        sizes=prints.sizes,
    )
    write_bytes_atomically(cache, packed.getvalue())


def relative_path(root: Path, path: Path) -> str:
    """A path below ``root`` as the manifest names it, with slashes on every system."""
    return path.relative_to(root).as_posix()
