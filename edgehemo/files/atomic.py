"""Atomic writing: a reader sees the old file or the new one, never half of either.

Only a regular file, or nothing, is replaced. A pipe or device is written into; a link stays, and
what it leads to is replaced. A file keeps its owner and its mode; a new one gets what the umask
leaves. What an interrupted writer left beside is removed by the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from edgehemo.files.names import well_formed

# What is being written is called so until it is whole; no other program's file is.
_PREFIX, _SUFFIX = ".edgehemo-", ".part"
_MAX_LINKS = 40


@contextlib.contextmanager
def written_atomically(path: Path, *, private: bool = False) -> Iterator[IO[bytes]]:
    """A file to write to; at the end it takes the place of what stood at ``path``.

    It and its folder are fsynced, so that the new name survives a pulled plug. Missing parent
    folders are made. private: a new file can be read by its owner only. Raises OSError, which names
    ``path``, and leaves what stood there untouched on failure (what went into a pipe or device is
    gone).
    """
    target = _replaceable(path)
    if target is None:
        with _named_in_errors(path):
            handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            with os.fdopen(handle, "wb") as file:
                yield file
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with _named_in_errors(path):
        former = _status(target)
        if former is not None and not os.access(target, os.W_OK):
            raise PermissionError(13, "may not be written", str(path))
        remove_leftovers(target.parent)
        temporary, handle = _begun(
            target.parent, 0o666 if former is None and not private else 0o600
        )
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                if former is not None:
                    _keep_owner_and_mode(file.fileno(), former)
                os.fsync(file.fileno())
                # Still locked: until it has its name nobody takes it for a leftover.
                temporary.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        flush_folder(target.parent)


def write_bytes_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``; see `written_atomically`."""
    with written_atomically(path) as file:
        file.write(data)


def write_text_atomically(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8; see `written_atomically`."""
    write_bytes_atomically(path, well_formed(text).encode("utf-8"))


def dump_json(value: Any) -> str:
    """JSON text with a final newline; NaN and infinity become null, which JSON can hold, and bytes
    of a name that are no UTF-8 are written out (`well_formed`).
    """
    # Python's own indenting is written in Python, and takes four times as long for the same text.
    import msgspec  # noqa: PLC0415  `edgehemo --help` loads this module

    text = json.dumps(_storable(value), ensure_ascii=False, allow_nan=False)
    return msgspec.json.format(text, indent=2) + "\n"


def write_json_atomically(path: Path, value: Any) -> None:
    """Write `dump_json` of ``value``; see `written_atomically`."""
    write_text_atomically(path, dump_json(value))


def sha256_of_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def flush_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(folder: Path) -> None:
    """Remove what interrupted writers left in a folder: parts that no living one has locked."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX) and entry.name.endswith(_SUFFIX):
                _remove_if_left(Path(entry.path))


def _remove_if_left(part: Path) -> None:
    with contextlib.suppress(OSError):
        handle = os.open(part, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()
        finally:
            os.close(handle)


def _begun(folder: Path, mode: int) -> tuple[Path, int]:
    """A new locked file in a folder, and its descriptor."""
    while True:
        part = folder / f"{_PREFIX}{os.urandom(8).hex()}{_SUFFIX}"
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return part, handle
        os.close(handle)  # another writer took it for a leftover before it was locked


def _replaceable(path: Path) -> Path | None:
    """Where a file may take the place of what ``path`` leads to; None for a pipe, a device and a
    descriptor of a process (/dev/stdout), which are written into.
    """
    status = _status(path)
    if status is not None:
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(21, "is a folder", str(path))
        if not stat.S_ISREG(status.st_mode):
            return None
    for _ in range(_MAX_LINKS):
        folder = Path(os.path.realpath(path.parent))
        if folder.is_relative_to("/proc"):
            return None
        path = folder / path.name
        if not path.is_symlink():
            return path
        path = folder / path.readlink()
    raise OSError(40, "leads round in links", str(path))


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _keep_owner_and_mode(handle: int, former: os.stat_result) -> None:
    with contextlib.suppress(OSError):  # only root gives files away; not every file system has them
        own = os.fstat(handle)
        if (own.st_uid, own.st_gid) != (former.st_uid, former.st_gid):
            os.fchown(handle, former.st_uid, former.st_gid)
    with contextlib.suppress(OSError):
        os.fchmod(handle, stat.S_IMODE(former.st_mode) & 0o777)


@contextlib.contextmanager
def _named_in_errors(path: Path) -> Iterator[None]:
    """Errors name the file that was asked for, not the one beside it or none ("no space left")."""
    try:
        yield
    except OSError as error:
        if error.filename is None or Path(os.fsdecode(error.filename)).name.startswith(_PREFIX):
            error.filename, error.filename2 = str(path), None
        raise


def _storable(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    return value
