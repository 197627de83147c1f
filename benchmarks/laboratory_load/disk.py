"""A disk of its own for the database that can be filled to the last byte and freed again."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LARGE, _SMALL = 16 << 20, 4096


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """Where it is mounted."""

    folder: Path

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self) -> int:
        """Leave nothing; how many bytes that took."""
        with self._ballast.open("ab", buffering=0) as file:
            begun = file.tell()
            for piece in (_LARGE, _SMALL):
                with contextlib.suppress(OSError):
                    while True:
                        os.posix_fallocate(file.fileno(), file.tell(), piece)
                        file.seek(piece, os.SEEK_CUR)
            return file.tell() - begun

    def free(self) -> None:
        """Give back what `fill` took."""
        self._ballast.unlink(missing_ok=True)


@contextlib.contextmanager
def small_disk(folder: Path, size_mb: int) -> Iterator[SmallDisk]:
    """An ext4 of this size in a file. It needs root. Raises CalledProcessError."""
    image, place = folder / "disk.img", folder / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(size_mb * 1_000_000)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
    try:
        yield SmallDisk(place)
    finally:
        subprocess.run(["umount", str(place)], check=False)
        image.unlink()
