"""Where pictures lie: a folder, or S3. Both make a picture once and never write over one."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs, urlsplit

from edgehemo.files.atomic import flush_folder
from edgehemo_laboratory.errors import LaboratoryError, StorageError, StorageFullError

if TYPE_CHECKING:
    from obstore.store import ObjectStore, S3Store

# No picture takes so long to be written.
_OLD_S = 86_400.0
_DIGEST = re.compile(r"[0-9a-f]{64}")


class PictureStore(Protocol):
    """Content-addressed: a picture's name is the SHA-256 of its bytes."""

    @property
    def about(self) -> str:
        """Where it is, for people."""

    async def put(self, data: bytes, digest: str) -> bool:
        """Keep a picture, whole or not at all; whether it is new. StorageError where it cannot."""

    async def get(self, digest: str) -> bytes | None:
        """A picture's bytes, held against its digest; None where there is none."""


class FolderPictureStore:
    """A folder. A picture is on the disk before it counts, and has its name only once it is whole:
    a hard link, which never takes another's place.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.about = str(folder)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._remove_old_parts()

    def _remove_old_parts(self) -> None:
        """What a killed server left; another that runs may be writing a younger one."""
        for part in self._folder.glob(".*.part"):
            with contextlib.suppress(OSError):
                if time.time() - part.stat().st_mtime > _OLD_S:
                    part.unlink()

    async def put(self, data: bytes, digest: str) -> bool:
        return await asyncio.to_thread(self._put, data, digest)

    def _put(self, data: bytes, digest: str) -> bool:
        target = self._folder / key_of(digest)
        try:
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if target.exists():
                if self._get(digest) is None:
                    raise StorageError(f"{target}: is damaged; take it away")
                return False
            part = self._folder / f".{uuid.uuid4().hex}.part"
            try:
                with part.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                with contextlib.suppress(FileExistsError):
                    os.link(part, target)
                flush_folder(target.parent)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageFullError(f"{self.about}: there is no space left") from None
            raise StorageError(f"{self.about}: {error.strerror or error}") from None
        return True

    async def get(self, digest: str) -> bytes | None:
        return await asyncio.to_thread(self._get, digest)

    def _get(self, digest: str) -> bytes | None:
        try:
            data = (self._folder / key_of(digest)).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{self.about}: {error.strerror or error}") from None
        return data if hashlib.sha256(data).hexdigest() == digest else None


class ObjectPictureStore:
    """S3 by obstore, with its ``create``: what is there is never written over."""

    def __init__(self, store: ObjectStore, about: str) -> None:
        self._store = store
        self.about = about

    async def put(self, data: bytes, digest: str) -> bool:
        import obstore  # noqa: PLC0415 - where a laboratory keeps pictures
        from obstore.exceptions import AlreadyExistsError, BaseError  # noqa: PLC0415

        try:
            await obstore.put_async(self._store, key_of(digest), data, mode="create")
        except AlreadyExistsError:
            # A copy that a fault left unfinished is no copy.
            if await self.get(digest) is None:
                raise StorageError(
                    f"{self.about}: picture {digest[:12]} there is damaged"
                ) from None
            return False
        except (BaseError, OSError) as error:
            raise StorageError(f"{self.about}: {' '.join(str(error).split())[:200]}") from None
        return True

    async def get(self, digest: str) -> bytes | None:
        import obstore  # noqa: PLC0415 - where a laboratory keeps pictures
        from obstore.exceptions import BaseError  # noqa: PLC0415

        try:
            found = await obstore.get_async(self._store, key_of(digest))
            data = bytes(await found.bytes_async())
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise StorageError(f"{self.about}: {' '.join(str(error).split())[:200]}") from None
        return data if hashlib.sha256(data).hexdigest() == digest else None


def key_of(digest: str) -> str:
    """What a picture's object is called; LaboratoryError for what is no digest."""
    if not _DIGEST.fullmatch(digest):
        raise LaboratoryError("a picture is named by the SHA-256 of its bytes")
    return f"pictures/{digest[:2]}/{digest}"


def open_pictures(where: str) -> PictureStore:
    """A folder, or ``s3://bucket/prefix``, see `s3_store`. LaboratoryError for anything else."""
    if "://" not in where:
        return FolderPictureStore(Path(where).expanduser())
    return ObjectPictureStore(*s3_store(where))


def s3_store(where: str) -> tuple[S3Store, str]:
    """``s3://bucket/prefix`` with keys and region of AWS's environment variables, and what people
    are told of it; ``?endpoint=http://...`` names a server of one's own. LaboratoryError for
    anything else.
    """
    try:
        from obstore.store import S3Store  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise LaboratoryError(
            f'{error.name} is not installed: pip install ".[laboratory]" in the folder of the '
            "source"
        ) from None
    parts = urlsplit(where)
    asked = parse_qs(parts.query)
    if parts.scheme != "s3" or not parts.netloc or set(asked) - {"endpoint", "region"}:
        raise LaboratoryError(
            f"{where.partition('?')[0]}: is no place for pictures; name a folder, or "
            "s3://bucket/prefix"
        )
    given: dict[str, Any] = {key: values[0] for key, values in asked.items()}
    if str(given.get("endpoint", "")).startswith("http://"):
        given["client_options"] = {"allow_http": True}
    store = S3Store(parts.netloc, prefix=parts.path.strip("/") or None, **given)
    return store, f"s3://{parts.netloc}{parts.path}"
