"""SQLite: for a handful of kiosks, and nothing to set up. One process, one thread that writes.

WAL with FULL: what was committed is on the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from edgehemo.records.audit import canonical
from edgehemo_laboratory.errors import (
    ConflictError,
    StorageBusyError,
    StorageError,
    StorageFullError,
)
from edgehemo_laboratory.storage.days import (
    KEEP_DAY,
    KEEP_DOUBLED,
    OF_DAY,
    counted_day,
    day_values,
)
from edgehemo_laboratory.storage.interface import (
    NEWER,
    RESULT_COLUMNS,
    Engine,
    Row,
    Statements,
    T,
    Taken,
    Value,
)
from edgehemo_laboratory.storage.migrating import missing

# "EHL1": tells it from any other database.
APPLICATION_ID = 0x45484C31
# How long another process that writes is waited for.
_BUSY_S = 10.0
_DIGITS = re.compile(r"\$(\d+)")

_VERSION = (
    "INSERT INTO version (identity, store, result_id, version, state, change, changed_at, sha256, "
    "size, body, came_at_s, chain, entry) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT DO NOTHING"
)
_KEYS = ("store", "result_id", "version", "changed_at", "identity", "state", "came_at_s")
_ALL = (*_KEYS, *RESULT_COLUMNS)
# The day a result counts for is that of its first version here.
_RESULT = (
    f"INSERT INTO result (counted_day, {', '.join(_ALL)}) "
    f"VALUES (?, {', '.join('?' for _ in _ALL)}) "
    f"ON CONFLICT (store, result_id) DO UPDATE SET "
    f"{', '.join(f'{name} = excluded.{name}' for name in _ALL[2:])} WHERE {NEWER}"
)


class SqliteStorage:
    """One file. Opened by `open`."""

    engine: Engine = "sqlite"

    def __init__(self, path: Path, connection: sqlite3.Connection, pool: ThreadPoolExecutor):
        self.about = str(path)
        self._connection = connection
        # One thread has the connection; whoever changes something holds the lock meanwhile.
        self._pool = pool
        self._lock = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path) -> SqliteStorage:
        """Open or make the file, and bring it to the newest version."""
        pool = ThreadPoolExecutor(1, thread_name_prefix="storage")
        try:
            connection = await asyncio.get_running_loop().run_in_executor(pool, _opened, path)
        except BaseException:
            pool.shutdown()
            raise
        return cls(path, connection, pool)

    async def _run(self, work: Callable[[], T]) -> T:
        def told() -> T:
            with _told():
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._pool, told)

    async def rows(self, sql: str, *values: Value) -> list[Row]:
        async with self._lock:
            return await self._run(lambda: _rows(self._connection, sql, values))

    async def do(self, sql: str, *values: Value) -> int:
        async with self._lock:
            return await self._run(lambda: _done(self._connection, sql, values))

    async def change(self, work: Callable[[Statements], Awaitable[T]]) -> T:
        async with self._lock:
            await self._run(lambda: self._connection.execute("BEGIN IMMEDIATE"))
            try:
                done = await work(_Inside(self))
                await self._run(lambda: self._connection.execute("COMMIT"))
            except BaseException:
                await self._run(self._back)
                raise
            return done

    def _back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    async def take(self, taken: Taken) -> dict[str, str]:
        async with self._lock:
            return await self._run(lambda: self._taken(taken))

    def _taken(self, taken: Taken) -> dict[str, str]:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            stored = _written(connection, taken)
            connection.execute("COMMIT")
        except BaseException:
            self._back()
            raise
        return stored

    async def close(self) -> None:
        async with self._lock:
            await self._run(self._connection.close)
        self._pool.shutdown()


class _Inside:
    """Statements of a transaction that is under way."""

    def __init__(self, storage: SqliteStorage) -> None:
        self._storage = storage

    async def rows(self, sql: str, *values: Value) -> list[Row]:
        connection = self._storage._connection
        return await self._storage._run(lambda: _rows(connection, sql, values))

    async def do(self, sql: str, *values: Value) -> int:
        connection = self._storage._connection
        return await self._storage._run(lambda: _done(connection, sql, values))


def _written(connection: sqlite3.Connection, taken: Taken) -> dict[str, str]:
    entry = taken.entry
    connection.execute(
        "INSERT INTO records (store, kiosk, made_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (taken.store, taken.kiosk, taken.at),
    )
    owner = connection.execute("SELECT kiosk FROM records WHERE store = ?", (taken.store,))
    if owner.fetchone() != (taken.kiosk,):
        return {}
    connection.execute(
        "INSERT INTO audit (chain, number, at, actor, action, subject, details, before, hash) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (taken.chain, entry.number, entry.at, entry.actor, entry.action, entry.subject,
         canonical(entry.details), entry.before, entry.hash),
    )  # fmt: skip
    connection.execute(
        "UPDATE kiosk SET device = ?, software_version = ?, sent_at = ?, heard_at_s = ? "
        "WHERE number = ?",
        (taken.device, taken.software_version, taken.sent_at, taken.at_s, taken.kiosk),
    )
    connection.executemany(
        "INSERT INTO arrival (store, sequence, identity, outcome, words, at_s) "
        "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [
            (taken.store, each.sequence, each.identity, "refused" if each.words else "stored",
             each.words, taken.at_s)
            for each in taken.arrived
        ],
    )  # fmt: skip
    connection.executemany(
        _VERSION,
        [
            (each.identity, taken.store, each.result_id, each.version, each.state, each.change,
             each.changed_at, each.sha256, each.size, each.body, taken.at_s, taken.chain,
             entry.number)
            for each in taken.versions
        ],
    )  # fmt: skip
    connection.executemany(
        _RESULT,
        [
            (counted_day(each.columns, taken.at_s), taken.store, each.result_id, each.version,
             each.changed_at, each.identity, each.state, taken.at_s,
             *(each.columns[name] for name in RESULT_COLUMNS))
            for each in taken.newest()
        ],
    )  # fmt: skip
    _keep_sums(connection, taken)
    named = [each.identity for each in taken.versions]
    marks = ", ".join("?" for _ in named)
    query = f"SELECT identity, sha256 FROM version WHERE store = ? AND identity IN ({marks})"
    return dict(connection.execute(query, (taken.store, *named)).fetchall())


def _keep_sums(connection: sqlite3.Connection, taken: Taken) -> None:
    """The days of a batch's results, and numbers of it that came twice."""
    sequences = [each.sequence for each in taken.arrived]
    marks = f"IN ({', '.join('?' for _ in sequences)})"
    query = KEEP_DOUBLED.format(among=marks).replace("$1", "?")
    connection.execute(query, (taken.store, *sequences))
    named = [each.result_id for each in taken.newest()]
    marks = ", ".join("?" for _ in named)
    days = connection.execute(
        f"SELECT DISTINCT counted_day FROM result WHERE store = ? AND result_id IN ({marks})",
        (taken.store, *named),
    ).fetchall()
    for (day,) in days:
        values = day_values(_rows(connection, OF_DAY, (taken.store, day)))
        _done(connection, KEEP_DAY, (taken.store, day, *values))


def _opened(path: Path) -> sqlite3.Connection:
    with _told():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        connection = sqlite3.connect(
            path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        try:
            path.chmod(0o600)
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    ((known,),) = connection.execute("PRAGMA application_id").fetchall()
    ((tables,),) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    if known != APPLICATION_ID and tables:
        raise StorageError(f"{path}: is another program's database")
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    for number, sql in missing("sqlite", version):
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{sql}\nPRAGMA application_id = {APPLICATION_ID};\n"
                f"PRAGMA user_version = {number};\nCOMMIT;"
            )
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


@cache
def _numbered(sql: str) -> str:
    return _DIGITS.sub(r"?\1", sql)


def _rows(connection: sqlite3.Connection, sql: str, values: tuple[Value, ...]) -> list[Row]:
    found: list[Any] = connection.execute(_numbered(sql), values).fetchall()
    return found


def _done(connection: sqlite3.Connection, sql: str, values: tuple[Value, ...]) -> int:
    return connection.execute(_numbered(sql), values).rowcount


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """SQLite's errors as the laboratory's."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise ConflictError(f"the storage refuses this ({error})") from error
    except sqlite3.OperationalError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise StorageFullError("there is no space left for the laboratory's storage") from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StorageBusyError("another process holds the laboratory's storage") from error
        raise StorageError(f"the laboratory's storage cannot be used ({error})") from error
    except sqlite3.Error as error:
        raise StorageError(f"the laboratory's storage cannot be used ({error})") from error
    except OSError as error:
        raise StorageError(f"{error.filename}: {error.strerror or error}") from error
