"""A model bundle in one file: a ZIP of its folder, in a fixed order and without times."""

from __future__ import annotations

import atexit
import errno
import io
import lzma
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from edgehemo.errors import BundleError
from edgehemo.files.atomic import written_atomically

PACKED_SUFFIX = ".zip"
# What a bundle may hold unpacked and packed, as a file or a folder.
MAX_UNPACKED_BYTES = 1_000_000_000
MAX_PACKED_BYTES = 1_000_000_000
MAX_FILES = 1000
_BLOCK_BYTES = 1 << 20
# What zipfile raises for a damaged archive or member, by what is damaged. RuntimeError: locked with
# a password, or packed in a way that it does not know. The rest: of sizes, offsets, names and
# extra fields that are none, and of the decompressors of other methods.
DAMAGED = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    ValueError,
    OverflowError,
    struct.error,
    IndexError,
    KeyError,
    AttributeError,
)
# What the system says to names and offsets that a damaged archive states; any other error (a full
# or broken disk) is not the archive's.
_NAMED_BY_THE_ARCHIVE = (
    errno.EINVAL,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    None,  # a decompressor's own
)


def is_packed(path: Path) -> bool:
    """Whether a path names a bundle in one file."""
    return path.suffix.lower() == PACKED_SUFFIX


def pack_files(folder: Path, names: Sequence[str], target: Path) -> None:
    """Put files of a folder into one ZIP file, which appears whole or not at all."""
    with written_atomically(target) as file:
        _pack(folder, names, file)


def packed_bytes(folder: Path, names: Sequence[str]) -> bytes:
    """The same ZIP file in memory: nothing of it lies on the disk where the process is killed."""
    file = io.BytesIO()
    _pack(folder, names, file)
    return file.getvalue()


def _pack(folder: Path, names: Sequence[str], file: IO[bytes]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for item in names:
            info = zipfile.ZipInfo(item)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            packed.writestr(info, (folder / item).read_bytes())


def unpack(source: Path, folder: Path) -> None:
    """The content of a packed bundle into an empty folder; BundleError for what leaves it."""
    _refuse_no_file(source)
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
    except DAMAGED as error:
        raise _damaged(source, error) from None
    except OSError as error:
        if error.errno not in _NAMED_BY_THE_ARCHIVE:
            raise
        raise _damaged(source, error) from None


def _refuse_no_file(source: Path) -> None:
    """A pipe or device may never end; what is far larger than a bundle is none."""
    try:
        status = source.stat()
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        reason = "no such bundle" if missing else f"cannot be opened ({error})"
        raise BundleError(f"{source}: {reason}") from None
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(f"{source}: is not a regular file; name a folder or a {PACKED_SUFFIX}")
    if status.st_size > MAX_PACKED_BYTES:
        raise BundleError(f"{source}: is too large to be a bundle")


def _damaged(source: Path, error: Exception) -> BundleError:
    said = error.strerror if isinstance(error, OSError) else str(error)
    return BundleError(
        f"{source}: is not a bundle, which is a folder or a whole {PACKED_SUFFIX} file "
        f"({said or type(error).__name__})"
    )


def unpacked(source: Path) -> Path:
    """A folder with the content of a packed bundle, deleted when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="edgehemo-bundle-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    unpack(source, folder)
    return folder
