"""An opened archive: its objects, and its tables as files that can be queried."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from edgehemo.files.atomic import dump_json, write_bytes_atomically
from edgehemo.files.folders import user_folder
from edgehemo.files.strict import Record, RecordError
from edgehemo_laboratory.archive import layout
from edgehemo_laboratory.archive.store import ObjectStore, open_store
from edgehemo_laboratory.archive.tables import light, read_table, table_bytes
from edgehemo_laboratory.clock import now, text_of
from edgehemo_laboratory.errors import LaboratoryError
from edgehemo_laboratory.pictures.store import key_of

ENVIRONMENT_VARIABLE = "EDGEHEMO_ARCHIVE"


class ArchiveFile(Record, frozen=True, kw_only=True):
    """What ``archive.json`` says: that this is an archive, and since when."""

    schema: Literal["edgehemo.archive/1"] = "edgehemo.archive/1"
    made_at: str


@dataclass(frozen=True, slots=True)
class Archive:
    """where: as the command line named it, for workers to open it again; it holds no key."""

    where: str
    store: ObjectStore

    @property
    def about(self) -> str:
        return self.store.about

    def picture(self, digest: str) -> bytes | None:
        """A picture's bytes, held against its digest; None where it is not there, or damaged."""
        data = self.store.get(key_of(digest))
        if data is None or hashlib.sha256(data).hexdigest() != digest:
            return None
        return data

    def put_json(self, key: str, value: Any) -> bool:
        """Make an object that is JSON; False where there is one."""
        return self.store.put_new(key, dump_json(value).encode())

    def get_json(self, key: str) -> Any:
        """An object's JSON, None where there is none. LaboratoryError where it is damaged."""
        data = self.store.get(key)
        try:
            return None if data is None else json.loads(data)
        except ValueError:
            raise LaboratoryError(f"{self.about}: {key} is damaged") from None

    def table_keys(self, prefix: str) -> list[str]:
        """The keys of the Parquet files below a prefix, in order."""
        return sorted(key for key in self.store.keys(prefix) if key.endswith(".parquet"))

    def table_files(self, keys: Iterable[str]) -> list[Path]:
        """Parquet objects as files of this machine.

        A folder's are where they are. Of S3 copies are kept in the user's cache, without what no
        query needs: an object never changes, so a copy is never out of date.
        """
        if self.store.folder is not None:
            return [self.store.folder / key for key in keys]
        return [self._copied(key) for key in keys]

    def table_folders(self) -> list[Path]:
        """Where `table_files` lie."""
        return [self._cache if self.store.folder is None else self.store.folder]

    def _copied(self, key: str) -> Path:
        copy = self._cache / key
        if not copy.exists():
            file = self.store.get(key)
            if file is None:
                raise LaboratoryError(f"{self.about}: {key} is gone")
            table = read_table(io.BytesIO(file))
            write_bytes_atomically(copy, table_bytes(table.select(light(table.column_names))))
        return copy

    @property
    def _cache(self) -> Path:
        called = hashlib.sha256(self.where.encode()).hexdigest()[:16]
        return user_folder("cache") / "archive" / called


def open_archive(where: str, *, make: bool = False) -> Archive:
    """The archive in a folder or in S3. make: begin one where there is none.

    LaboratoryError where there is none, or what is there is not read by this version.
    """
    archive = Archive(where, open_store(where))
    data = archive.store.get(layout.ARCHIVE)
    if data is None:
        if not make:
            raise LaboratoryError(
                f"{archive.about}: there is no archive; `edgehemo archive ingest` begins one"
            )
        file = ArchiveFile(made_at=text_of(now()))
        archive.put_json(layout.ARCHIVE, file.model_dump())
        return archive
    try:
        ArchiveFile.model_validate(msgspec.json.decode(data))
    except (msgspec.DecodeError, RecordError) as error:
        raise LaboratoryError(
            f"{archive.about}: {layout.ARCHIVE} is not one that this version reads ({error})"
        ) from None
    return archive


def default_archive() -> str:
    """The archive of this user, where no other is named."""
    return str(user_folder("data") / "archive")
