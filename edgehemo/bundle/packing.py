"""A model bundle in one file: a ZIP of its folder, in a fixed order and without times."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from edgehemo.errors import BundleError

PACKED_SUFFIX = ".zip"
# What a bundle may hold unpacked, as a file or a folder.
MAX_UNPACKED_BYTES = 1_000_000_000
MAX_FILES = 1000
_BLOCK_BYTES = 1 << 20


def is_packed(path: Path) -> bool:
    """Whether a path names a bundle in one file."""
    return path.suffix.lower() == PACKED_SUFFIX


def pack_files(folder: Path, names: Sequence[str], target: Path) -> None:
    """Put files of a folder into one ZIP file, which appears whole or not at all."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
                for item in names:
                    info = zipfile.ZipInfo(item)
                    info.compress_type = zipfile.ZIP_DEFLATED
                    info.external_attr = 0o644 << 16
                    packed.writestr(info, (folder / item).read_bytes())
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def unpack(source: Path, folder: Path) -> None:
    """The content of a packed bundle into an empty folder; BundleError for what leaves it."""
    try:
        with zipfile.ZipFile(source) as packed:
            entries = [entry for entry in packed.infolist() if not entry.is_dir()]
            if len(entries) > MAX_FILES:
                raise BundleError(f"{source}: holds {len(entries)} files, too many for a bundle")
            left = MAX_UNPACKED_BYTES
            for entry in entries:
                name = PurePosixPath(entry.filename)
                if name.is_absolute() or ".." in name.parts or "\\" in entry.filename:
                    raise BundleError(f"{source}: {entry.filename!r} leaves the bundle")
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                # Counted as it comes: the sizes that the file states need not be true.
                with packed.open(entry) as stored, target.open("wb") as file:
                    while block := stored.read(_BLOCK_BYTES):
                        left -= len(block)
                        if left < 0:
                            raise BundleError(f"{source}: is too large unpacked to be a bundle")
                        file.write(block)
    except FileNotFoundError:
        raise BundleError(f"{source}: no such bundle") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        # RuntimeError: locked with a password, or packed in a way that zipfile does not know.
        raise BundleError(
            f"{source}: is not a bundle, which is a folder or a whole {PACKED_SUFFIX} file "
            f"({error})"
        ) from None


def unpacked(source: Path) -> Path:
    """A folder with the content of a packed bundle, deleted when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="edgehemo-bundle-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    unpack(source, folder)
    return folder
