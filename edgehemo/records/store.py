"""The database of the records: one process writes, any number read.

SQLite in WAL mode with ``synchronous = FULL``: what a transaction has committed is on the disk.
Whoever writes holds a lock for as long as the writer is open; the system lets go of it however the
process ends. A damaged database is set aside under another name and a new one begun, loudly.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import shutil
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edgehemo.errors import (
    EdgeHemoError,
    RecordsBusyError,
    RecordsDamagedError,
    RecordsError,
    RecordsFullError,
)
from edgehemo.files.atomic import flush_folder, sha256_of_file, write_json_atomically
from edgehemo.records import audit, schema
from edgehemo.records.audit import Action, Entry
from edgehemo.records.clock import Clock, Stamp
from edgehemo.records.contents import ContentKind, sha256_of
from edgehemo.records.folder import RecordsFolder
from edgehemo.screening.recorded import AuditHead

# What goes into the places of a query.
Arguments = Sequence[Any] | Mapping[str, Any]

log = logging.getLogger(__name__)

# How a commit reaches the disk; a check of ours shows what the others lose.
SYNCHRONOUS = "FULL"
# How long a reader waits for the moment in which a checkpoint holds the file.
BUSY_TIMEOUT_MS = 10_000
# How long a writer that is open for moments only is waited for, and how often it is looked at.
BRIEF_WAIT_S = 5.0
BRIEF_LOOK_S = 0.02
_BRIEF = "brief"
# So many of the last entries of the chain are checked at every opening; `verify` checks all.
CHECKED_AT_OPENING = 200
# Copies from before a migration that are kept.
COPIES_KEPT = 2
# How folders are called in which one result is packed, and the age at which one is a leftover.
PACKING_PREFIX = ".packing-"
HALF_PACKED_AFTER_S = 3600
_DAMAGED = "damaged"
_BESIDE = ("", "-wal", "-shm")


@contextlib.contextmanager
def told() -> Iterator[None]:
    """SQLite's and the system's errors as ours, one line each."""
    try:
        yield
    except sqlite3.Error as error:
        raise _told(error) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full() from error
        where = f"{error.filename}: " if error.filename else ""
        raise RecordsError(f"the records: {where}{error.strerror or error}") from error


# The file that readers and the writer share could not be made larger.
_FULL_IN_OTHER_WORDS = frozenset({sqlite3.SQLITE_IOERR_SHMSIZE})


def _told(error: sqlite3.Error) -> RecordsError:
    whole = getattr(error, "sqlite_errorcode", 0)
    code = whole & 0xFF
    if code == sqlite3.SQLITE_FULL or whole in _FULL_IN_OTHER_WORDS:
        return _full()
    if code == sqlite3.SQLITE_IOERR:
        name = getattr(error, "sqlite_errorname", "")
        return RecordsError(
            f"the disk of the records cannot be read or written ({name}): nothing of this was "
            "kept; have the memory card replaced if it happens again"
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return RecordsDamagedError(
            "the records' file is damaged; it is set aside when edgehemo next writes, restore the "
            "last good backup (`edgehemo records restore`)"
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return RecordsBusyError("the records are in use by another process; try again")
    return RecordsError(f"the records: {error}")


def _full() -> RecordsFullError:
    return RecordsFullError(
        "there is no space left for the records: nothing of this was kept; back up and free space "
        "(`edgehemo records backup`, `edgehemo records purge`)"
    )


class Reader:
    """The records, to be read. A connection of its own; use one a thread.

    Raises RecordsError where there are none, where they are of another version or cannot be read.
    """

    def __init__(self, folder: RecordsFolder) -> None:
        self.folder = folder
        self.contents = folder.contents
        if not folder.exists():
            raise RecordsError(
                f"{folder.path}: there are no records yet; `edgehemo screen --record` makes the "
                "first"
            )
        with told():
            self.connection = _connected(folder, write=False)
            try:
                schema.refuse_newer(self.connection)
                if schema.version_of(self.connection) < schema.newest():
                    raise RecordsError(
                        "the records are of an older version; they are brought up to date when "
                        "edgehemo next writes"
                    )
            except BaseException:
                self.connection.close()
                raise

    @property
    def id(self) -> str:
        """Of this store: which chain the numbers on paper belong to."""
        return str(self.rows("SELECT id FROM store")[0][0])

    def head(self) -> AuditHead:
        """The last entry of the chain."""
        with told():
            return audit.head_of(self.connection)

    def rows(self, query: str, arguments: Arguments = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        with told():
            return self.connection.execute(query, arguments).fetchall()

    def note(
        self,
        action: Action,
        subject: str = "",
        details: Mapping[str, Any] | None = None,
        *,
        by: str,
    ) -> None:
        """Have it in the chain that something was done: at once where nobody writes, else by the
        one who does (`Writer.take_noted`).
        """
        self.notes([(action, subject, details or {})], by=by)

    def notes(self, done: Sequence[tuple[Action, str, Mapping[str, Any]]], *, by: str) -> None:
        """The same of several things: (action, subject, details)."""
        at = Clock().stamp().text
        try:
            with Writer(self.folder) as writer, writer.transaction():
                for action, subject, details in done:
                    writer.note(action, subject, details, by=by)
            return
        except RecordsBusyError:
            pass
        with told():
            self.folder.noted.mkdir(mode=0o700, exist_ok=True)
            for action, subject, details in done:
                content = {"at": at, "actor": by, "action": action, "subject": subject}
                write_json_atomically(
                    self.folder.noted / f"{uuid.uuid4().hex}.json",
                    {**content, "details": dict(details)},
                )

    def close(self) -> None:
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Writer(Reader):
    """The records, to be read and written; there is one at a time on a machine.

    Threads may share it: a transaction holds the others off. brief: open for a moment only, so that
    others wait for its end. set_aside: where the damaged database that stood here lies now, None
    where all was well. Raises RecordsBusyError where another process writes.
    """

    def __init__(
        self, folder: RecordsFolder, *, clock: Clock | None = None, brief: bool = False
    ) -> None:
        self.folder = folder
        self.contents = folder.contents
        self.clock = clock or Clock()
        self.set_aside: Path | None = None
        self._guard = threading.RLock()
        self._depth = 0
        with told():
            folder.make()
            self._lock = locked_for_writing(folder, brief=brief)
            try:
                self._open()
            except BaseException:
                if (connection := getattr(self, "connection", None)) is not None:
                    connection.close()
                os.close(self._lock)
                raise

    def _open(self) -> None:
        was_there = self.folder.exists()
        clean = _closed_at(self.folder)
        self.folder.clean.unlink(missing_ok=True)
        if was_there and (fault := _fault_of(self.folder, clean)) is not None:
            self.set_aside = _set_aside(self.folder, fault)
        self.connection = _connected(self.folder, write=True)
        self._migrate()
        if not self.rows("SELECT 1 FROM store"):
            self._begin_store()
        self._sweep()
        self.take_noted()

    def _migrate(self) -> None:
        schema.refuse_newer(self.connection)
        before = schema.version_of(self.connection)
        if before == schema.newest():
            return
        copy = None if before == 0 else _copied(self.connection, self.folder, before)
        schema.migrate(self.connection)
        flush_folder(self.folder.path)
        if copy is not None:
            copied_as = copy.name
            log.warning(
                "the records were brought from version %d to %d; a copy of before is %s",
                before,
                schema.newest(),
                copied_as,
            )
            self.note(
                "store migrated", details={"from": before, "to": schema.newest()}, by="edgehemo"
            )

    def _begin_store(self) -> None:
        with self.transaction():
            self.connection.execute(
                "INSERT INTO store (one, id, created_at) VALUES (1, ?, ?)",
                (uuid.uuid4().hex, self.stamp().text),
            )
            self.note("store made", details={"id": self.id}, by="edgehemo")
            if self.set_aside is not None:
                self.note(
                    "store set aside",
                    details={
                        "file": self.set_aside.name,
                        "bytes": self.set_aside.stat().st_size,
                        "sha256": sha256_of_file(self.set_aside),
                    },
                    by="edgehemo",
                )

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, on the disk when it ends; one inside another is part of it."""
        with self._guard, told():
            if self._depth:
                yield self.connection
                return
            self.connection.execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise
            finally:
                self._depth = 0

    def stamp(self) -> Stamp:
        """Now, held against the newest date that is known."""
        with self._guard, told():
            newest = self.connection.execute(
                "SELECT made_at_s FROM result WHERE clock = 'set' AND audit > coalesce((SELECT "
                "max(number) FROM audit WHERE action = 'clock trusted'), 0) "
                "ORDER BY made_at_s DESC LIMIT 1"
            ).fetchone()
        return self.clock.stamp(None if newest is None else newest[0])

    def rows(self, query: str, arguments: Arguments = ()) -> list[sqlite3.Row]:
        """All rows of a query, with what the transaction under way has written."""
        with self._guard:
            return super().rows(query, arguments)

    def note(
        self,
        action: Action,
        subject: str = "",
        details: Mapping[str, Any] | None = None,
        *,
        by: str,
    ) -> None:
        """Add an entry to the chain; see `entry`."""
        self.entry(action, subject, details, by=by)

    def notes(self, done: Sequence[tuple[Action, str, Mapping[str, Any]]], *, by: str) -> None:
        """Add several entries to the chain, all or none."""
        with self.transaction():
            for action, subject, details in done:
                self.entry(action, subject, details, by=by)

    def entry(
        self,
        action: Action,
        subject: str = "",
        details: Mapping[str, Any] | None = None,
        *,
        by: str,
    ) -> Entry:
        """Add an entry to the chain, in the transaction that is under way or in one of its own.

        by: who did it. details: JSON values without anything of a patient.
        """
        with self.transaction() as connection:
            return audit.appended(
                connection,
                at=self.stamp().text,
                actor=by,
                action=action,
                subject=subject,
                details=details,
            )

    def keep(self, kind: ContentKind, data: bytes) -> str:
        """Put a content on the disk and name it in a row; returns what it is called.

        It is intended first, so that what a power cut leaves of it is found and removed. It counts
        once a result or a sample being taken names it; until then `_sweep` removes it.
        """
        digest = sha256_of(data)
        with self._guard, told():
            with self.transaction() as connection:
                known = connection.execute(
                    "SELECT purged_at FROM content WHERE sha256 = ?", (digest,)
                ).fetchone()
                if known is None or known[0] is not None:
                    connection.execute("INSERT OR IGNORE INTO intended VALUES (?)", (digest,))
            if known is not None and known[0] is None and self.contents.has(digest):
                return digest
            try:
                self.contents.put(data)
            except BaseException:
                with contextlib.suppress(OSError, EdgeHemoError):
                    self._forget_intended(digest)
                raise
            with self.transaction() as connection:
                connection.execute(
                    "INSERT INTO content (sha256, kind, bytes) VALUES (?, ?, ?) "
                    "ON CONFLICT (sha256) DO UPDATE SET purged_at = NULL",
                    (digest, kind, len(data)),
                )
        return digest

    def settled(self, digests: Iterator[str] | list[str]) -> None:
        """Contents that a row names now: they are intended no more. Inside its transaction."""
        self.connection.executemany(
            "DELETE FROM intended WHERE sha256 = ?", [(digest,) for digest in digests]
        )

    def drop_unnamed(self, digests: list[str]) -> None:
        """Delete contents that nothing names any more; those that something names stay."""
        with self._guard, told():
            for digest in dict.fromkeys(digests):
                with self.transaction() as connection:
                    connection.execute("INSERT OR IGNORE INTO intended VALUES (?)", (digest,))
                self._forget_intended(digest)

    def _forget_intended(self, digest: str) -> None:
        """Remove an intended content where nothing names it or it was purged, its file first."""
        named = self.connection.execute(
            "SELECT 1 FROM result_field WHERE sha256 = :d "
            "UNION ALL SELECT 1 FROM taking_field WHERE sha256 = :d "
            "UNION ALL SELECT 1 FROM result WHERE reading_sha256 = :d "
            "UNION ALL SELECT 1 FROM artefact WHERE content_sha256 = :d LIMIT 1",
            {"d": digest},
        ).fetchone()
        purged = self.connection.execute(
            "SELECT 1 FROM content WHERE sha256 = ? AND purged_at IS NOT NULL", (digest,)
        ).fetchone()
        if named is None or purged is not None:
            self.contents.remove(digest)
        with self.transaction() as connection:
            if named is None:
                connection.execute("DELETE FROM content WHERE sha256 = ?", (digest,))
            connection.execute("DELETE FROM intended WHERE sha256 = ?", (digest,))

    def _sweep(self) -> None:
        """Remove what an interrupted process left: samples of commands, contents nobody names."""
        for (taking,) in self.rows("SELECT id FROM taking WHERE owner = 'command'"):
            self.abandon_taking(taking, "interrupted", by="edgehemo")
        self.finish_intended()
        self._remove_half_packed()

    def finish_intended(self) -> None:
        """Remove the files of contents that are intended and not named, or that were purged."""
        for (digest,) in self.rows("SELECT sha256 FROM intended"):
            with told():
                self._forget_intended(digest)

    def _remove_half_packed(self) -> None:
        """Folders in which a killed process was packing an archive."""
        for left in self.folder.path.glob(f"{PACKING_PREFIX}*"):
            if time.time() - left.stat().st_mtime > HALF_PACKED_AFTER_S:
                shutil.rmtree(left, ignore_errors=True)

    def abandon_taking(self, taking: str, reason: str, *, by: str) -> None:
        """End a sample being taken without a result, and remove its pictures."""
        with self.transaction() as connection:
            if not self.rows("SELECT 1 FROM taking WHERE id = ?", (taking,)):
                return
            found = self.rows(
                "SELECT sha256 FROM taking_field WHERE taking = ? ORDER BY position", (taking,)
            )
            digests = [row[0] for row in found if row[0] is not None]
            connection.executemany(
                "INSERT OR IGNORE INTO intended VALUES (?)", [(digest,) for digest in digests]
            )
            connection.execute("DELETE FROM taking WHERE id = ?", (taking,))
            details = {"fields": len(found), "reason": reason}
            self.note("sample abandoned", taking, details, by=by)
        for digest in dict.fromkeys(digests):
            self._forget_intended(digest)

    def take_noted(self) -> None:
        """Take into the chain what readers noted while another process was writing."""
        noted = self.folder.noted
        for file in sorted(noted.glob("*.json"), key=_age) if noted.is_dir() else ():
            try:
                said = json.loads(file.read_bytes())
                with self.transaction():
                    self.note(
                        said["action"],
                        said["subject"],
                        {**said["details"], "noted_at": said["at"]},
                        by=said["actor"],
                    )
            except (ValueError, KeyError, TypeError):
                log.warning("a note beside the records cannot be read and is left out")
                file.rename(file.with_suffix(".unreadable"))
                continue
            file.unlink()

    def close(self) -> None:
        """Let others write. Twice is harmless."""
        with self._guard:
            if self._lock < 0:
                return
            try:
                head = str(audit.head_of(self.connection))
                self.connection.close()
                with contextlib.suppress(OSError):
                    write_json_atomically(self.folder.clean, {"head": head})
            except sqlite3.Error as error:
                log.warning("the records were not closed in order: %s", error)
            finally:
                # Whoever has the lock next may be asked for before it has said who it is.
                with contextlib.suppress(OSError):
                    os.ftruncate(self._lock, 0)
                os.close(self._lock)
                self._lock = -1


@dataclass(frozen=True, slots=True)
class Store:
    """How the rooms above open the records of a device."""

    folder: RecordsFolder

    @classmethod
    def below(cls, data_dir: Path) -> Store:
        return cls(RecordsFolder.below(data_dir))

    def reader(self) -> Reader:
        """To be read; an older store is first brought up to date where nobody writes."""
        with contextlib.suppress(sqlite3.Error):
            if self.folder.exists() and _is_older(self.folder):
                Writer(self.folder).close()
        return Reader(self.folder)

    def writer(self, *, clock: Clock | None = None, brief: bool = False) -> Writer:
        """To be written; see `Writer`."""
        return Writer(self.folder, clock=clock, brief=brief)


def _connected(folder: RecordsFolder, *, write: bool) -> sqlite3.Connection:
    if write:
        connection = sqlite3.connect(folder.database, isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
        connection.execute("PRAGMA foreign_keys = ON")
    else:
        uri = f"{folder.database.absolute().as_uri()}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA query_only = ON")
    return connection


def _is_older(folder: RecordsFolder) -> bool:
    with contextlib.closing(_connected(folder, write=False)) as connection:
        return schema.version_of(connection) < schema.newest()


def locked_for_writing(folder: RecordsFolder, *, brief: bool = False) -> int:
    """The descriptor that holds the writer's lock. RecordsBusyError where another has it.

    brief: it is let go of in a moment, so that others wait for it in the place of giving up.
    """
    handle = os.open(folder.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + BRIEF_WAIT_S
    seen: str | None = None
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            said = os.pread(handle, 40, 0).decode("ascii", "replace").strip()
            who, _, how = said.partition(" ")
            # Who has had it only since this moment has not said yet who it is: another look.
            if (how == _BRIEF or said != seen or not said) and time.monotonic() < until:
                seen = said
                time.sleep(BRIEF_LOOK_S)
                continue
            os.close(handle)
            raise RecordsBusyError(
                f"{folder.path}: another edgehemo is writing the records"
                f"{f' (process {who})' if who.isdecimal() else ''}; wait for its end. "
                "Where it is the kiosk: users, results and backups are on its page, under a "
                "supervisor's PIN; for anything else stop it first"
            ) from None
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}{f' {_BRIEF}' if brief else ''}\n".encode("ascii"), 0)
    return handle


def _closed_at(folder: RecordsFolder) -> str | None:
    """The head at which the last writer closed in order; None where it did not."""
    try:
        found = json.loads(folder.clean.read_bytes())
        return str(found["head"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _fault_of(folder: RecordsFolder, clean: str | None) -> str | None:
    """What is wrong with a database, None where it can be trusted.

    After an orderly end a look at the schema and at the end of the chain is enough; after any
    other all pages are looked at. A newer version's is not looked into.
    """
    try:
        with contextlib.closing(_connected(folder, write=True)) as connection:
            version = schema.version_of(connection)
            if version > schema.newest():
                return None
            if version == 0:
                names = connection.execute("SELECT name FROM sqlite_schema").fetchall()
                return "is of no version" if names else None
            known = connection.execute("PRAGMA application_id").fetchone()[0]
            if known != schema.APPLICATION_ID:
                return "is another program's"
            found = str(audit.head_of(connection))
            if clean != found:
                said = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
                if said != "ok":
                    return str(said).replace("\n", " ")
            number = int(found.partition("-")[0])
            first = max(1, number - CHECKED_AT_OPENING)
            last = next(audit.entries(connection, first=first), None)
            if last is not None:
                entries = audit.entries(connection, first=first + 1)
                for fault in audit.chain_faults(entries, last):
                    log.error("the records: %s; `edgehemo records verify` says all", fault)
                    break
    except (sqlite3.DatabaseError, ValueError) as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):
            return str(error)
        raise
    return None


def _set_aside(folder: RecordsFolder, fault: str) -> Path:
    """Rename a damaged database, so that the device goes on with a new one; nothing is deleted."""
    number = 1
    while (target := folder.path / f"records.{_DAMAGED}-{number}.sqlite3").exists():
        number += 1
    for beside in reversed(_BESIDE):
        file = folder.database.with_name(folder.database.name + beside)
        if file.exists():
            file.rename(target.with_name(target.name + beside))
    flush_folder(folder.path)
    kept_as = target.name
    log.error(
        "THE RECORDS ARE DAMAGED (%s). They were set aside as %s and new ones are begun; restore "
        "the last good backup with `edgehemo records restore`",
        fault,
        kept_as,
    )
    return target


def set_aside_files(folder: RecordsFolder) -> list[Path]:
    """Damaged databases that were set aside, oldest first."""
    return sorted(folder.path.glob(f"records.{_DAMAGED}-*.sqlite3"), key=_age)


def _age(path: Path) -> tuple[float, str]:
    return path.stat().st_mtime, path.name


def _copied(connection: sqlite3.Connection, folder: RecordsFolder, version: int) -> Path:
    """A copy of the database from before a migration, on the disk; older copies go."""
    folder.copies.mkdir(mode=0o700, exist_ok=True)
    target = folder.copies / f"records.version-{version}.sqlite3"
    copy_database(connection, target)
    for old in sorted(folder.copies.glob("records.version-*.sqlite3"), key=_age)[:-COPIES_KEPT]:
        old.unlink()
    return target


def copy_database(connection: sqlite3.Connection, target: Path) -> None:
    """A whole copy by SQLite's backup, one file, synced before it gets its name."""
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)
    try:
        with contextlib.closing(sqlite3.connect(part)) as copy:
            connection.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
        handle = os.open(part, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    flush_folder(target.parent)
