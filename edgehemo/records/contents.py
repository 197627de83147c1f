"""Files called by what is in them: pictures, readings, bundles and profiles.

A file lies at ``contents/ab/abcd...`` by its SHA-256. It is written beside, synced, and moved to
its name before any row names it. It never changes; the same content is kept once.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from edgehemo.errors import RecordsError
from edgehemo.files.atomic import flush_folder, sha256_of_file, write_bytes_atomically

ContentKind = Literal["picture", "reading", "bundle", "profile"]
_DIGEST = re.compile(r"[0-9a-f]{64}")


def sha256_of(data: bytes) -> str:
    """Hexadecimal SHA-256: what a content is called."""
    return hashlib.sha256(data).hexdigest()


class Contents:
    """The folder of contents; made when the first is put into it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def place(self, sha256: str) -> Path:
        """Where a content lies."""
        if not _DIGEST.fullmatch(sha256):
            raise RecordsError(f"{sha256[:80]!r} names no content")
        return self.path / sha256[:2] / sha256

    def put(self, data: bytes) -> str:
        """Keep a content; it is on the disk when this returns. OSError where it cannot be."""
        digest = sha256_of(data)
        place = self.place(digest)
        if self._is_whole(place, len(data)):
            return digest
        _made(place.parent)
        write_bytes_atomically(place, data)
        return digest

    def read(self, sha256: str) -> bytes:
        """A content, checked. RecordsError where it is gone or was changed."""
        try:
            data = self.place(sha256).read_bytes()
        except FileNotFoundError:
            raise RecordsError(
                f"the content {sha256[:16]} is not there: it was purged, or lies in a backup alone"
            ) from None
        except OSError as error:
            raise RecordsError(
                f"the content {sha256[:16]} cannot be read ({error.strerror or error})"
            ) from None
        if sha256_of(data) != sha256:
            raise RecordsError(f"the content {sha256[:16]} was changed or is damaged")
        return data

    def has(self, sha256: str) -> bool:
        """Whether a content is there; what is in it is not looked at."""
        return self.place(sha256).is_file()

    def is_intact(self, sha256: str) -> bool:
        """Whether a content is there and what its name says."""
        place = self.place(sha256)
        try:
            return sha256_of_file(place) == sha256
        except OSError:
            return False

    def remove(self, sha256: str) -> None:
        """Delete a content; nothing where it is gone."""
        self.place(sha256).unlink(missing_ok=True)

    def all(self) -> Iterator[str]:
        """The digests of all that is there."""
        if not self.path.is_dir():
            return
        for folder in sorted(self.path.iterdir()):
            if folder.is_dir():
                yield from sorted(
                    item.name for item in folder.iterdir() if _DIGEST.fullmatch(item.name)
                )

    @staticmethod
    def _is_whole(place: Path, size: int) -> bool:
        """Whether the content is there whole already: a damaged file is written anew."""
        try:
            return place.stat().st_size == size and sha256_of_file(place) == place.name
        except OSError:
            return False


def _made(folder: Path) -> None:
    """Make a folder whose name survives a pulled plug."""
    if folder.is_dir():
        return
    missing = [folder, *(parent for parent in folder.parents if not parent.exists())]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        if os.path.lexists(made.parent):
            flush_folder(made.parent)
