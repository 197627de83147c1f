"""Where the objects of an archive lie: a folder, or S3. Both make an object once, whole or not."""

from __future__ import annotations

import contextlib
import errno
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edgehemo.files.atomic import flush_folder
from edgehemo_laboratory.errors import StorageError, StorageFullError
from edgehemo_laboratory.pictures.store import s3_store

if TYPE_CHECKING:
    from obstore.store import S3Store

# No object takes so long to be written.
_OLD_S = 86_400.0
_PART_SUFFIX = ".part"


class ObjectStore(Protocol):
    """Objects by their keys. StorageError, one line, where it cannot be reached or written."""

    @property
    def about(self) -> str:
        """Where it is, for people."""

    @property
    def folder(self) -> Path | None:
        """The folder, where it is one: its objects can be opened as files."""

    def put_new(self, key: str, data: bytes) -> bool:
        """Make an object, on the disk when this returns; False, and nothing done, where it is."""

    def get(self, key: str) -> bytes | None:
        """An object's bytes; None where there is none."""

    def has(self, key: str) -> bool: ...

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys that begin so; prefix ends with a slash. In no order."""

    def remove(self, key: str) -> None:
        """Take an object away, where it is there."""


class FolderStore:
    """A folder. An object has its name only once it is whole: a hard link, which never takes
    another's place.
    """

    def __init__(self, folder: Path) -> None:
        self.folder: Path = folder
        self.about = str(folder)

    def put_new(self, key: str, data: bytes) -> bool:
        target = self.folder / key
        try:
            if target.exists():
                return False
            _make_folder(target.parent)
            part = target.parent / f".{uuid.uuid4().hex}{_PART_SUFFIX}"
            try:
                with part.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                try:
                    os.link(part, target)
                except FileExistsError:
                    return False
            finally:
                part.unlink(missing_ok=True)
            flush_folder(target.parent)
        except OSError as error:
            raise self._fault(error) from None
        return True

    def get(self, key: str) -> bytes | None:
        try:
            return (self.folder / key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._fault(error) from None

    def has(self, key: str) -> bool:
        return (self.folder / key).is_file()

    def keys(self, prefix: str) -> Iterator[str]:
        top = self.folder / prefix
        for root, folders, names in os.walk(top):
            folders.sort()
            for name in sorted(names):
                path = Path(root, name)
                if name.startswith("."):
                    self._remove_if_old(path)
                else:
                    yield path.relative_to(self.folder).as_posix()

    def remove(self, key: str) -> None:
        try:
            (self.folder / key).unlink(missing_ok=True)
        except OSError as error:
            raise self._fault(error) from None

    def _remove_if_old(self, part: Path) -> None:
        """What a killed writer left; another that lives may be writing a younger one."""
        if part.suffix == _PART_SUFFIX:
            with contextlib.suppress(OSError):
                if time.time() - part.stat().st_mtime > _OLD_S:
                    part.unlink()

    def _fault(self, error: OSError) -> StorageError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StorageFullError(f"{self.about}: there is no space left")
        return StorageError(f"{self.about}: {error.strerror or error}")


class S3ObjectStore:
    """S3 by obstore, with its ``create``: one request makes an object, or finds it there."""

    folder = None

    def __init__(self, store: S3Store, about: str) -> None:
        self._store = store
        self.about = about

    def put_new(self, key: str, data: bytes) -> bool:
        import obstore  # noqa: PLC0415 - where an archive lies in S3
        from obstore.exceptions import AlreadyExistsError, BaseError  # noqa: PLC0415

        try:
            # One request whatever its size: of several a killed one could leave a half.
            obstore.put(self._store, key, data, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return False
        except (BaseError, OSError) as error:
            raise self._fault(error) from None
        return True

    def get(self, key: str) -> bytes | None:
        import obstore  # noqa: PLC0415 - where an archive lies in S3
        from obstore.exceptions import BaseError  # noqa: PLC0415

        try:
            return bytes(obstore.get(self._store, key).bytes())
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise self._fault(error) from None

    def has(self, key: str) -> bool:
        import obstore  # noqa: PLC0415 - where an archive lies in S3
        from obstore.exceptions import BaseError  # noqa: PLC0415

        try:
            obstore.head(self._store, key)
        except FileNotFoundError:
            return False
        except (BaseError, OSError) as error:
            raise self._fault(error) from None
        return True

    def keys(self, prefix: str) -> Iterator[str]:
        import obstore  # noqa: PLC0415 - where an archive lies in S3
        from obstore.exceptions import BaseError  # noqa: PLC0415

        try:
            for page in obstore.list(self._store, prefix.rstrip("/")):
                yield from (str(item["path"]) for item in page)
        except (BaseError, OSError) as error:
            raise self._fault(error) from None

    def remove(self, key: str) -> None:
        import obstore  # noqa: PLC0415 - where an archive lies in S3
        from obstore.exceptions import BaseError  # noqa: PLC0415

        try:
            obstore.delete(self._store, key)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise self._fault(error) from None

    def _fault(self, error: BaseException) -> StorageError:
        return StorageError(f"{self.about}: {' '.join(str(error).split())[:200]}")


def open_store(where: str) -> ObjectStore:
    """A folder, or ``s3://bucket/prefix`` as `edgehemo_laboratory.pictures.store` takes it.

    LaboratoryError for anything else.
    """
    if "://" not in where:
        return FolderStore(Path(where).expanduser().absolute())
    return S3ObjectStore(*s3_store(where))


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, their names on the disk."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    flush_folder(folder.parent)
