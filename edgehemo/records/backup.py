"""Backups: the database by SQLite's own backup, the contents beside it, read back after writing.

Below the given folder lies ``edgehemo-backup-<store>/``: ``contents/`` as the records have it,
which grows only by what is new, and a pair of files for each backup, ``<number>.sqlite3`` and its
``<number>.json``, which is written last and names what belongs to it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from edgehemo.errors import RecordsDamagedError, RecordsError
from edgehemo.files.atomic import flush_folder, sha256_of_file, write_json_atomically
from edgehemo.files.strict import Count, Record, RecordError, Sha256, Text
from edgehemo.records import schema
from edgehemo.records.contents import Contents
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Reader, Writer, copy_database, locked_for_writing, told
from edgehemo.screening.recorded import AuditHead

# Backups that are kept in one place; what they share is there once.
KEPT = 14
_PREFIX = "edgehemo-backup-"
OnContent = Callable[[int, int], None]


class BackupManifest(Record, frozen=True, kw_only=True):
    """One backup. number: counts those of one place. database: file of the database, with its
    digest and size. version: of the store. contents: how many belong to it. audit: the head of the
    chain in it.
    """

    schema: Literal["edgehemo.backup/1"] = "edgehemo.backup/1"
    number: Count
    store: Text
    made_at: Text
    database: Text
    sha256: Sha256
    bytes: Count
    version: Count
    results: Count
    contents: Count
    audit: AuditHead


@dataclass(frozen=True, slots=True)
class Backup:
    """A verified backup. path: of its manifest. copied: contents that were new there."""

    path: Path
    manifest: BackupManifest
    copied: int
    copied_bytes: int


@dataclass(frozen=True, slots=True)
class LastBackup:
    """The last good backup as the chain knows it. upto: the audit entry up to which it reaches."""

    at: str
    upto: int
    results: int


def back_up(
    reader: Reader, place: Path, *, at: str, by: str, on_content: OnContent | None = None
) -> Backup:
    """Back up into a folder and read back what was written; OSError where it cannot be written.

    The records may be written meanwhile: what comes later is in the next one. Raises RecordsError
    where what was read back is not what was written, or a content is missing here.
    """
    folder = place / f"{_PREFIX}{reader.id[:12]}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    contents = Contents(folder / "contents")
    number = 1 + max((item.number for _, item in backups_in(folder)), default=0)
    database = folder / f"{number:06d}.sqlite3"
    with told():
        copy_database(reader.connection, database)
        with contextlib.closing(opened_copy(database)) as copy:
            wanted = copy.execute(
                "SELECT sha256, bytes FROM content WHERE purged_at IS NULL ORDER BY sha256"
            ).fetchall()
            results = int(copy.execute("SELECT count(*) FROM result").fetchone()[0])
            version = schema.version_of(copy)
            from_chain = copy.execute(
                "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1"
            ).fetchone()
    copied = copied_bytes = 0
    for index, (sha256, size) in enumerate(wanted, start=1):
        there = contents.place(sha256)
        if not there.is_file() or there.stat().st_size != size:
            data = reader.contents.read(sha256)
            contents.put(data)
            _forget_cached(there)
            if not contents.is_intact(sha256):
                raise RecordsError(
                    f"{there}: was not read back as it was written; change the stick"
                )
            copied += 1
            copied_bytes += size
        if on_content is not None:
            on_content(index, len(wanted))
    manifest = BackupManifest(
        number=number,
        store=reader.id,
        made_at=at,
        database=database.name,
        sha256=_read_back(reader, database),
        bytes=database.stat().st_size,
        version=version,
        results=results,
        contents=len(wanted),
        audit=AuditHead(number=from_chain[0], digits=from_chain[1][:16], store=reader.id),
    )
    path = folder / f"{number:06d}.json"
    write_json_atomically(path, manifest.model_dump())
    for old, _ in backups_in(folder)[:-KEPT]:
        old.with_suffix(".sqlite3").unlink(missing_ok=True)
        old.unlink()
    details = {
        "upto": manifest.audit.number,
        "results": results,
        "contents": len(wanted),
        "sha256": manifest.sha256,
    }
    reader.note("records backed up", details=details, by=by)
    return Backup(path, manifest, copied, copied_bytes)


def bytes_wanted(reader: Reader, place: Path) -> int:
    """How many bytes a backup into a folder would add there: the database, and contents that are
    new.
    """
    contents = Contents(place / f"{_PREFIX}{reader.id[:12]}" / "contents")
    total = int(reader.rows("SELECT page_count * page_size FROM pragma_page_count(), "
                            "pragma_page_size()")[0][0])  # fmt: skip
    for sha256, size in reader.rows("SELECT sha256, bytes FROM content WHERE purged_at IS NULL"):
        there = contents.place(sha256)
        if not there.is_file() or there.stat().st_size != size:
            total += size
    return total


def last_backup(reader: Reader) -> LastBackup | None:
    """The last good backup; None where there was none."""
    found = reader.rows(
        "SELECT at, details FROM audit WHERE action = 'records backed up' "
        "ORDER BY number DESC LIMIT 1"
    )
    if not found:
        return None
    details = json.loads(found[0][1])
    return LastBackup(details.get("noted_at", found[0][0]), details["upto"], details["results"])


def is_due(last: LastBackup | None, now: datetime, hours: int) -> bool:
    """Whether the last good backup is older than so many hours, or there is none."""
    if last is None:
        return True
    return (now - datetime.fromisoformat(last.at)).total_seconds() > 3600 * hours


def backups_in(folder: Path) -> list[tuple[Path, BackupManifest]]:
    """The whole backups of a folder that `back_up` made, oldest first."""
    found = []
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(RecordsError):
            found.append((path, manifest_at(path)))
    return sorted(found, key=lambda item: item[1].number)


def manifest_at(path: Path) -> BackupManifest:
    """The manifest of a backup; RecordsError for what is none."""
    try:
        return BackupManifest.model_validate(msgspec.json.decode(path.read_bytes()))
    except (OSError, msgspec.DecodeError, RecordError) as error:
        raise RecordsError(f"{path}: is no backup of edgehemo ({error})") from None


def found_backup(path: Path) -> tuple[Path, BackupManifest]:
    """The backup that a path names: its manifest, its database, or a folder, whose newest it is."""
    if path.is_dir():
        folders = [path, *sorted(path.glob(f"{_PREFIX}*"))]
        newest = [item for folder in folders for item in backups_in(folder)[-1:]]
        if not newest:
            raise RecordsError(f"{path}: holds no backup of edgehemo")
        stores = {item.store for _, item in newest}
        if len(stores) > 1:
            raise RecordsError(
                f"{path}: holds backups of several devices; name the folder or file of one"
            )
        return newest[-1]
    manifest = path.with_suffix(".json") if path.suffix == ".sqlite3" else path
    return manifest, manifest_at(manifest)


def restore(
    backup: Path,
    folder: RecordsFolder,
    *,
    replace: bool = False,
    on_content: OnContent | None = None,
    by: str = "edgehemo",
) -> BackupManifest:
    """Put a backup in the place of a device's records.

    Everything is checked before anything is put in place. replace: records that are there are
    renamed, not deleted; without it they are a RecordsError. The device goes on with the chain of
    the backup, whose next entry says that it was restored, and by whom.
    """
    path, manifest = _fit(backup)
    if folder.exists() and not replace:
        raise RecordsError(
            f"{folder.path}: there are records here; --force puts them aside and restores"
        )
    with _held(folder), told():
        _bring_contents(path, folder, on_content)
        put_in_place(path.with_suffix(".sqlite3"), folder)
    with Writer(folder) as writer:
        details = {"backup": manifest.number, "sha256": manifest.sha256}
        writer.note("store restored", details=details, by=by)
    return manifest


def bring(
    backup: Path, folder: RecordsFolder, on_content: OnContent | None = None
) -> BackupManifest:
    """Check a backup, and copy what it holds beside the records that are in use: what is left to
    `restore` is then short. Nothing of the records changes by it.
    """
    path, manifest = _fit(backup)
    with told():
        _bring_contents(path, folder, on_content)
    return manifest


def _fit(backup: Path) -> tuple[Path, BackupManifest]:
    """A whole backup that this version can read: its manifest. RecordsError for any other."""
    path, manifest = found_backup(backup)
    if manifest.version > schema.newest():
        raise RecordsError("the backup was made by a newer version: update edgehemo first")
    _refuse_damaged(path.with_suffix(".sqlite3"), manifest)
    return path, manifest


def _bring_contents(path: Path, folder: RecordsFolder, on_content: OnContent | None) -> None:
    """Copy the contents of a backup that are not here, or not whole. path: of its manifest."""
    source = Contents(path.parent / "contents")
    with contextlib.closing(opened_copy(path.with_suffix(".sqlite3"))) as copy:
        wanted = [
            row[0]
            for row in copy.execute(
                "SELECT sha256 FROM content WHERE purged_at IS NULL ORDER BY sha256"
            )
        ]
    for index, sha256 in enumerate(wanted, start=1):
        if not (folder.contents.has(sha256) and folder.contents.is_intact(sha256)):
            folder.contents.put(source.read(sha256))
        if on_content is not None:
            on_content(index, len(wanted))


@contextlib.contextmanager
def _held(folder: RecordsFolder) -> Iterator[None]:
    """The writer's lock, without opening what may be damaged."""
    folder.make()
    handle = locked_for_writing(folder)
    try:
        yield
    finally:
        os.close(handle)


def put_in_place(database: Path, folder: RecordsFolder) -> None:
    """Put a copy of the database in the records' place, in one step; what stood there is renamed.

    The caller holds the writer's lock. What a killed process left in the write-ahead log is renamed
    with it: whoever wants it back into the file opens and closes the records first.
    """
    part = folder.path / ".restored.part"
    shutil.copyfile(database, part)
    handle = os.open(part, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    if folder.exists():
        number = 1
        while (aside := folder.path / f"records.replaced-{number}.sqlite3").exists():
            number += 1
        # A second name and no renaming: at no moment are there no records.
        aside.hardlink_to(folder.database)
        for beside in ("-wal", "-shm"):
            file = folder.database.with_name(folder.database.name + beside)
            if file.exists():
                file.rename(aside.with_name(aside.name + beside))
    folder.clean.unlink(missing_ok=True)
    part.replace(folder.database)
    flush_folder(folder.path)


def _refuse_damaged(database: Path, manifest: BackupManifest) -> None:
    if not database.is_file():
        raise RecordsError(f"{database}: is not there; the backup is not whole")
    if sha256_of_file(database) != manifest.sha256:
        raise RecordsDamagedError(f"{database}: is not as it was written; use another backup")


def _read_back(reader: Reader, database: Path) -> str:
    """Check a copy of the database as it lies on its medium; returns its digest."""
    _forget_cached(database)
    with contextlib.closing(opened_copy(database)) as copy:
        said = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
        store = copy.execute("SELECT id FROM store").fetchone()[0]
    if said != "ok" or store != reader.id:
        raise RecordsError(f"{database}: was not read back as it was written; change the stick")
    return sha256_of_file(database)


def opened_copy(database: Path) -> sqlite3.Connection:
    """A copy of the database, opened to be read without a file beside it."""
    uri = f"{database.absolute().as_uri()}?mode=ro&immutable=1"
    return sqlite3.connect(uri, uri=True, isolation_level=None)


def _forget_cached(path: Path) -> None:
    """Have what is read next come from the medium, not from memory."""
    with contextlib.suppress(OSError, AttributeError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def stick(label: str, dev: Path = Path("/dev/disk/by-label"), mounts: str | None = None) -> Path:
    """Where the USB stick of a label is mounted; RecordsError where it is not."""
    link = dev / label
    if not os.path.lexists(link):
        raise RecordsError(
            f"no USB stick called {label} is plugged in; plug it in, or name a folder"
        )
    device = os.path.realpath(link)
    text = Path("/proc/self/mounts").read_text(encoding="utf-8") if mounts is None else mounts
    for line in text.splitlines():
        source, target, *_ = line.split(" ")
        if os.path.realpath(source) == device:
            return Path(target.replace("\\040", " "))
    raise RecordsError(
        f"the USB stick {label} is plugged in and not mounted; mount it, or name a folder"
    )
