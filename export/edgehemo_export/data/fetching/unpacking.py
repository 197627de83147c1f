"""Unpacking what a stranger packed: zip and tar, every name and size looked at first.

No path leads out of the folder, nothing but plain files is made, and no more than was allowed, be
the sizes in the archive true or not. An archive with one entry that breaks this is refused whole,
also where that entry would not be taken.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from edgehemo.files.names import for_terminal
from edgehemo_export.data.fetching.problems import DataSetError, NoSpaceError, space_watched

# What operating systems leave in archives and nobody asked for.
_LEFT_BY_SYSTEMS = frozenset({"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"})
_DEEPEST = 24
_LONGEST_NAME_BYTES = 255
_LONGEST_PATH_BYTES = 1000
_BLOCK_BYTES = 1 << 20
# Of names that an error gives.
_SHOWN = 120
# What the libraries raise for an archive that is not as it should be, beside an OSError for a place
# in the file that there is not (EINVAL).
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    ValueError,
    OverflowError,
    RuntimeError,  # as is the error for a compression that zipfile does not know
)


@dataclass(frozen=True)
class Limits:
    """How much may come out: files, and bytes of all of them together."""

    files: int
    total_bytes: int


@dataclass(frozen=True)
class Member:
    """A plain file of an archive. size: bytes as the archive says, which may be untrue."""

    path: PurePosixPath
    size: int
    open: Callable[[], IO[bytes]]


def kind_of(path: Path) -> str | None:
    """``zip`` or ``tar``, by the content; None for anything else."""
    with contextlib.suppress(OSError, *_BROKEN):
        # First this: a tar that ends in a zip looks like one to zipfile, which reads from the end.
        if tarfile.is_tarfile(path):
            return "tar"
        if zipfile.is_zipfile(path):
            return "zip"
    return None


@contextlib.contextmanager
def opened(archive: Path, limits: Limits) -> Iterator[list[Member]]:
    """The plain files of an archive, all entries looked at. DataSetError where one is not to be
    trusted, where there are too many, and where it is damaged or no archive.
    """
    kind = kind_of(archive)
    if kind is None:
        raise DataSetError(f"{archive}: neither zip nor tar{_begins(archive)}")
    with contextlib.ExitStack() as stack:
        with _damage_told(archive):
            if kind == "zip":
                packed = stack.enter_context(zipfile.ZipFile(archive))
                members = _checked(archive, _of_zip(archive, packed, limits))
            else:
                rolled = stack.enter_context(tarfile.open(archive))
                members = _checked(archive, _of_tar(archive, rolled, limits))
        yield members


def top_with(members: Sequence[Member], holds: Sequence[str]) -> PurePosixPath | None:
    """The outermost folder that has all the paths ``holds`` below it; None where none has."""
    folders = {folder for member in members for folder in member.path.parents}
    paths = folders | {member.path for member in members}
    tops = [top for top in folders if all(top / held in paths for held in holds)]
    return min(tops, key=lambda top: (len(top.parts), top)) if tops else None


def taken(
    members: Sequence[Member], top: PurePosixPath, take: Mapping[str, str]
) -> dict[PurePosixPath, Member]:
    """Members by the path they shall lie at, in the order of the archive. take: paths below ``top``
    and what each is called; the longest that fits counts.
    """
    renamed = sorted(
        ((PurePosixPath(path), PurePosixPath(called)) for path, called in take.items()),
        key=lambda item: -len(item[0].parts),
    )
    found: dict[PurePosixPath, Member] = {}
    for member in members:
        if not member.path.is_relative_to(top):
            continue
        path = member.path.relative_to(top)
        for old, new in renamed:
            if path.is_relative_to(old):
                found[new / path.relative_to(old)] = member
                break
    return found


def unpack(
    archive: Path,
    wanted: Mapping[PurePosixPath, Member],
    folder: Path,
    limits: Limits,
    progress: Callable[[int], None] | None = None,
) -> dict[str, str]:
    """Write members below an empty folder of ours; SHA-256 by path.

    progress: called with files written. Raises DataSetError where more comes out than is allowed or
    a member is damaged, NoSpaceError where the disk is full; the folder is the caller's to remove.
    """
    said = sum(member.size for member in wanted.values())
    free = shutil.disk_usage(folder).free
    if said > limits.total_bytes:
        raise _too_much(archive, limits)
    if said > free:
        raise NoSpaceError(
            f"{folder.parent}: {archive.name} unpacks to {said / 1e6:,.1f} MB and "
            f"{free / 1e6:,.1f} MB are free. Free some and call the same command "
            "again, or give another folder with --data"
        )
    digests: dict[str, str] = {}
    left = limits.total_bytes
    with space_watched(folder.parent, archive.name):
        for path, member in wanted.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256()
            with (
                _damage_told(archive, member.path),
                member.open() as source,
                os.fdopen(
                    os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644),
                    "wb",
                ) as file,
            ):
                while block := source.read(_BLOCK_BYTES):
                    left -= len(block)
                    if left < 0:
                        raise _too_much(archive, limits)
                    digest.update(block)
                    file.write(block)
            digests[path.as_posix()] = digest.hexdigest()
            if progress is not None:
                progress(len(digests))
    return digests


def inner_archives(members: Sequence[Member]) -> list[Member]:
    """Archives in an archive, by their names."""
    named = re.compile(r"(?i)\.(zip|tar|tgz|tar\.\w+)$")
    return [member for member in members if named.search(member.path.name)]


def _of_zip(archive: Path, packed: zipfile.ZipFile, limits: Limits) -> Iterator[Member]:
    infos = packed.infolist()
    if len(infos) > limits.files:
        raise _too_many(archive, limits)
    for info in infos:
        # zipfile cuts a name at a zero byte; what was meant is in the other.
        path = _safe(archive, info.orig_filename)
        mode = stat.S_IFMT(info.external_attr >> 16)
        if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused(archive, info.orig_filename, "a link or a device")
        if info.is_dir() or mode == stat.S_IFDIR:
            continue
        if not path.parts:
            raise _refused(archive, info.orig_filename, "without a name")
        if info.flag_bits & 0x1:
            raise _refused(archive, info.orig_filename, "locked with a password")

        def open_zipped(info: zipfile.ZipInfo = info) -> IO[bytes]:
            return packed.open(info)

        yield Member(path, info.file_size, open_zipped)


def _of_tar(archive: Path, rolled: tarfile.TarFile, limits: Limits) -> Iterator[Member]:
    for number, info in enumerate(rolled):
        if number >= limits.files:
            raise _too_many(archive, limits)
        path = _safe(archive, info.name)
        if info.isdir():
            continue
        if not info.isreg() or info.issparse():
            raise _refused(archive, info.name, "a link or a device")
        if not path.parts:
            raise _refused(archive, info.name, "without a name")

        def open_rolled(info: tarfile.TarInfo = info) -> IO[bytes]:
            return cast("IO[bytes]", rolled.extractfile(info))

        yield Member(path, info.size, open_rolled)


def _checked(archive: Path, members: Iterator[Member]) -> list[Member]:
    """Members without what systems leave behind; no two in one place, none where a folder is."""
    found = [
        member
        for member in members
        if not any(part in _LEFT_BY_SYSTEMS or part.startswith("._") for part in member.path.parts)
    ]
    files: set[PurePosixPath] = set()
    for member in found:
        if member.path in files:
            raise _refused(archive, str(member.path), "there twice")
        files.add(member.path)
    for member in found:
        for folder in member.path.parents:
            if folder in files:
                raise _refused(archive, str(folder), "a file and a folder")
    return found


def _safe(archive: Path, name: str) -> PurePosixPath:
    """The path of an entry; DataSetError for one that leads out or could not be written."""
    # Some programs of Windows write its separator.
    path = PurePosixPath(name.replace("\\", "/"))
    parts = path.parts
    if path.is_absolute() or ".." in parts or (parts and re.match(r"[A-Za-z]:", parts[0])):
        raise _refused(archive, name, "a path out of the folder")
    try:
        lengths = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        raise _refused(archive, name, "a name that is no UTF-8") from None
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in name):
        raise _refused(archive, name, "a name with control characters")
    if len(parts) > _DEEPEST or max(lengths, default=0) > _LONGEST_NAME_BYTES:
        raise _refused(archive, name, "a name too long or too deep")
    if sum(lengths) + len(parts) > _LONGEST_PATH_BYTES:
        raise _refused(archive, name, "a name too long or too deep")
    return path


@contextlib.contextmanager
def _damage_told(archive: Path, path: PurePosixPath | None = None) -> Iterator[None]:
    """Damage that is met while an archive, or a member of it, is read."""
    try:
        yield
    except (*_BROKEN, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        place = f"{archive}:" if path is None else f"{archive}: {for_terminal(str(path))} is"
        said = for_terminal(" ".join(str(error).split())) or type(error).__name__
        raise DataSetError(
            f"{place} damaged ({said}); remove the archive and fetch it again"
        ) from None


def _refused(archive: Path, name: str, why: str) -> DataSetError:
    shown = for_terminal(name.replace("\n", " ").replace("\t", " "))[:_SHOWN]
    return DataSetError(
        f"{archive}: not unpacked, since the entry {shown!r} is {why}. An archive of pictures has "
        "no such entry: tell whoever gave it to you"
    )


def _too_many(archive: Path, limits: Limits) -> DataSetError:
    return DataSetError(
        f"{archive}: not unpacked, since it holds more than the {limits.files:,} entries that this "
        "set may have"
    )


def _too_much(archive: Path, limits: Limits) -> DataSetError:
    return DataSetError(
        f"{archive}: not unpacked, since more comes out than the "
        f"{limits.total_bytes / 1e6:,.0f} MB that this set may have"
    )


def _begins(archive: Path) -> str:
    """What stands in the place of an archive, where it is a page for people."""
    with contextlib.suppress(OSError), archive.open("rb") as file:
        start = file.read(512).lstrip().lower()
        if start.startswith((b"<!doctype", b"<html")):
            return ": it is a page for people. The host may ask for an account or a browser"
    return ""
