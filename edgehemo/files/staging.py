"""A folder made beside its place and moved there whole.

Until it is published, what stands at the place is untouched. One process at a time makes it. What a
killed one left is taken up again where the caller asks for it, else it is removed; a publication
that was cut short is finished by the next one that opens the folder.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from edgehemo.files.atomic import flush_folder, write_text_atomically

# Where a folder is made: hidden, beside its place, or in it where that is the only way.
_SUFFIX = ".edgehemo-new"
# In a folder that is being moved file by file: what is still to be removed at its place.
_MOVING = ".edgehemo-moving"
# In a folder that another one takes the place of: it is never taken for one in the making.
_FORMER = ".edgehemo-former"
_OWN = (_MOVING, _FORMER)
_LONGEST_NAME_BYTES = 200
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


class FolderBusyError(Exception):
    """Another process is making the folder."""


class StagedFolder:
    """A folder in the making.

    place: where it will lie. path: where it is made; write into it. resume: go on with what an
    interrupted process left here. Raises FolderBusyError, or OSError where it cannot be made.
    """

    def __init__(self, place: Path, *, resume: bool = False) -> None:
        self.place = Path(os.path.realpath(place))
        self.path = _stage_of(self.place)
        self.place.parent.mkdir(parents=True, exist_ok=True)
        self._handle: int | None = self._locked()
        if (self.path / _MOVING).is_file():
            self._move_files()
            os.close(self._handle)
            self._handle = self._locked()
        elif not resume or (self.path / _FORMER).exists():
            _empty(self.path)
        (self.place / _FORMER).unlink(missing_ok=True)

    def publish(self, former: Collection[str]) -> None:
        """Move it to its place, where it replaces the files of ``former`` (paths below the place).

        All else that lies there stays, and no link is followed. OSError, and nothing changed, where
        a file would take the place of one that is not of ``former``.
        """
        assert self._handle is not None, "published once"
        new = _files(self.path)
        there = _files(self.place) if self.place.is_dir() else []
        for name in new:
            if name not in former and os.path.lexists(self.place / name):
                raise FileExistsError(
                    errno.EEXIST, "stands in the way and is not replaced", str(self.place / name)
                )
        for folder in {self.path, *((self.path / name).parent for name in new)}:
            flush_folder(folder)
        if not self._moved_whole(bool(there), set(there) <= set(former)):
            note = {"former": sorted(former)}
            write_text_atomically(self.path / _MOVING, json.dumps(note))
            self._move_files()
        self._close()

    def discard(self) -> None:
        """Remove what was made; what stands at the place stays. Nothing after `publish`."""
        if self._handle is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            self._close()

    def _close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _locked(self) -> int:
        """The descriptor of the folder in the making, which holds its lock."""
        while True:
            self.path.mkdir(exist_ok=True)
            handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                raise FolderBusyError(str(self.place)) from None
            except OSError:
                pass  # a file system without locks
            with contextlib.suppress(OSError):
                if os.path.samestat(os.fstat(handle), self.path.lstat()):
                    return handle
            os.close(handle)  # it was published between opening and locking

    def _moved_whole(self, holds_files: bool, all_former: bool) -> bool:
        """Whether the folder could take its place in one step."""
        if self.path.parent == self.place or _in_use(self.place):
            return False
        try:
            if not holds_files:
                _remove_empty(self.place)
                self.path.rename(self.place)
                flush_folder(self.place.parent)
                return True
            if not all_former:
                return False
            _keep_mode(self.place, self.path)
            (self.place / _FORMER).touch()
            _exchange(self.path, self.place)
            flush_folder(self.place.parent)
        except OSError:
            (self.place / _FORMER).unlink(missing_ok=True)
            return False
        shutil.rmtree(self.path, ignore_errors=True)
        return True

    def _move_files(self) -> None:
        """Move it file by file: first what is replaced goes, the outermost files come last.

        Interrupted anywhere, it can be begun again.
        """
        mark = self.path / _MOVING
        note = json.loads(mark.read_text(encoding="utf-8"))
        self.place.mkdir(parents=True, exist_ok=True)
        former = sorted(note["former"], key=lambda name: name.count("/"))
        for name in former:
            if _real_parents(self.place, name):
                (self.place / name).unlink(missing_ok=True)
        write_text_atomically(mark, json.dumps({"former": []}))
        for name in sorted(_files(self.path), key=lambda name: (-name.count("/"), name)):
            target = self.place / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not _real_parents(self.place, name):
                raise OSError(errno.ELOOP, "leads out by a link", str(target))
            (self.path / name).replace(target)
            flush_folder(target.parent)
        for name in former:
            with contextlib.suppress(OSError):  # other files lie there
                if "/" in name:
                    (self.place / name).parent.rmdir()
        shutil.rmtree(self.path)


def _stage_of(place: Path) -> Path:
    """Beside the place, so that it can be moved there in one step; in it where nothing may be
    written beside it, or where what lies beside it is on another file system.
    """
    name = os.fsencode(place.name)
    if len(name) > _LONGEST_NAME_BYTES:
        name = hashlib.sha256(name).hexdigest().encode()
    beside = place.parent / f".{os.fsdecode(name)}{_SUFFIX}"
    if place.is_dir() and (os.path.ismount(place) or not os.access(place.parent, os.W_OK)):
        return place / _SUFFIX
    return beside


def _files(folder: Path) -> list[str]:
    """Paths of all that lies below a folder and is no real folder, without this module's own."""
    found = []
    for root, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        if _SUFFIX in folders:
            folders.remove(_SUFFIX)
        found += [(Path(root) / name).relative_to(folder).as_posix() for name in [*names, *links]]
    return [name for name in found if name not in _OWN]


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _remove_empty(folder: Path) -> None:
    """Remove a folder in which there are only folders; OSError where a file has come."""
    if folder.is_dir():
        for root, _, _ in os.walk(folder, topdown=False):
            Path(root).rmdir()


def _in_use(folder: Path) -> bool:
    """Whether the process stands in the folder, which must not be taken away from under it."""
    with contextlib.suppress(OSError):
        return Path.cwd().is_relative_to(folder)
    return True


def _keep_mode(former: Path, new: Path) -> None:
    status = former.stat()
    with contextlib.suppress(OSError):
        os.chown(new, status.st_uid, status.st_gid)
    with contextlib.suppress(OSError):
        new.chmod(stat.S_IMODE(status.st_mode))


def _exchange(one: Path, other: Path) -> None:
    """Exchange the names of two folders in one step; OSError where the system cannot."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, "no exchange of names")
    pair = (os.fsencode(one), os.fsencode(other))
    if call(_AT_FDCWD, pair[0], _AT_FDCWD, pair[1], _RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(other))


def _parents(folder: Path, name: str) -> Iterator[Path]:
    path = folder
    for part in Path(name).parent.parts:
        path = path / part
        yield path


def _real_parents(folder: Path, name: str) -> bool:
    """Whether every folder on the way to a file below is one and no link out."""
    return ".." not in Path(name).parts and all(
        path.is_dir() and not path.is_symlink() for path in _parents(folder, name)
    )
