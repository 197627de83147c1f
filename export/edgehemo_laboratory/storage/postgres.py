"""PostgreSQL, by asyncpg: for hundreds of kiosks and several servers before one database."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

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

# Held while the storage is migrated: two servers that start together do not both do it.
_MIGRATING = 0x45484C31
# So often work is done again that met another's change.
_TRIES = 8
# Statements are short; one that takes longer is stuck behind something.
_STATEMENT_S = 60.0
_CONNECT_S = 10.0

_VERSION_COLUMNS = {
    "identity": "text", "sha256": "text", "result_id": "text", "version": "integer",
    "state": "text", "change": "text", "changed_at": "text", "size": "integer", "body": "bytea",
}  # fmt: skip
_KEYS = ("store", "result_id", "version", "changed_at", "identity", "state", "came_at_s")
_ALL = (*_KEYS, *RESULT_COLUMNS)


def _unnested(columns: dict[str, str], first: int) -> str:
    """A row of each place of several arrays, which are the values from `first` on."""
    arrays = ", ".join(
        f"${number}::{kind}[]" for number, kind in enumerate(columns.values(), first)
    )
    return f"SELECT * FROM unnest({arrays}) AS given({', '.join(columns)})"


_ARRIVED = {"sequence": "bigint", "identity": "text", "outcome": "text", "words": "text"}
_NEWEST = {
    "result_id": "text", "version": "integer", "changed_at": "text", "identity": "text",
    "state": "text", "counted_day": "text", **RESULT_COLUMNS,
}  # fmt: skip
_FIXED = 16
# One statement a batch. What it says is true of one moment: the commit. The day a result counts
# for is that of its first version here.
TAKE = f"""
WITH claim AS (
  INSERT INTO records (store, kiosk, made_at) VALUES ($1::text, $2::bigint, $3::text)
  ON CONFLICT (store) DO UPDATE SET kiosk = records.kiosk WHERE records.kiosk = excluded.kiosk
  RETURNING store
), entry AS (
  INSERT INTO audit (chain, number, at, actor, action, subject, details, before, hash)
  SELECT $4::text, $5::bigint, $6::text, $7::text, $8::text, $9::text, $10::text, $11::text,
    $12::text FROM claim
), heard AS (
  UPDATE kiosk SET device = $13::text, software_version = $14::text, sent_at = $15::text,
    heard_at_s = $16::bigint
  FROM claim WHERE kiosk.number = $2::bigint
), arrived AS (
  INSERT INTO arrival (store, sequence, identity, outcome, words, at_s)
  SELECT claim.store, given.*, $16::bigint
  FROM claim, ({_unnested(_ARRIVED, _FIXED + 1)}) AS given
  ON CONFLICT DO NOTHING
), offered AS (
  {_unnested(_VERSION_COLUMNS, _FIXED + 1 + len(_ARRIVED))}
), kept AS (
  INSERT INTO version (store, came_at_s, chain, entry, {", ".join(_VERSION_COLUMNS)})
  SELECT claim.store, $16::bigint, $4::text, $5::bigint, offered.* FROM claim, offered
  ON CONFLICT DO NOTHING
  RETURNING identity, sha256
), newest AS (
  INSERT INTO result (store, came_at_s, {", ".join(_NEWEST)})
  SELECT claim.store, $16::bigint, given.*
  FROM claim, ({_unnested(_NEWEST, _FIXED + 1 + len(_ARRIVED) + len(_VERSION_COLUMNS))}) AS given
  ON CONFLICT (store, result_id) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in _ALL[2:])}
  WHERE {NEWER}
)
SELECT identity, sha256 FROM kept
UNION ALL
SELECT version.identity, version.sha256 FROM version
JOIN offered ON offered.identity = version.identity
WHERE version.store = $1::text AND version.sha256 = offered.sha256
"""


class PostgresStorage:
    """A database. Opened by `open`."""

    engine: Engine = "postgresql"

    def __init__(self, pool: asyncpg.Pool, about: str) -> None:
        self._pool = pool
        self.about = about

    @classmethod
    async def open(cls, url: str, *, connections: int = 16) -> PostgresStorage:
        """Connect, and bring the database to the newest version."""
        about = _without_password(url)
        try:
            pool = await asyncpg.create_pool(
                url,
                min_size=1,
                max_size=connections,
                timeout=_CONNECT_S,
                command_timeout=_STATEMENT_S,
                server_settings={"synchronous_commit": "on", "application_name": "edgehemo"},
            )
        except (OSError, asyncpg.PostgresError, TimeoutError, ValueError) as error:
            raise StorageBusyError(f"{about}: cannot be reached ({_line(error)})") from None
        storage = cls(pool, about)
        try:
            await storage._migrate()
        except BaseException:
            pool.terminate()
            raise
        return storage

    async def _migrate(self) -> None:
        async with self._connection() as connection:
            await connection.execute("SELECT pg_advisory_lock($1)", _MIGRATING)
            try:
                await connection.execute(
                    "CREATE TABLE IF NOT EXISTS edgehemo_version (version integer NOT NULL)"
                )
                version = await connection.fetchval(
                    "SELECT coalesce(max(version), 0) FROM edgehemo_version"
                )
                for number, sql in missing("postgresql", version):
                    async with connection.transaction():
                        await connection.execute(sql)
                        await connection.execute("INSERT INTO edgehemo_version VALUES ($1)", number)
            finally:
                await connection.execute("SELECT pg_advisory_unlock($1)", _MIGRATING)

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        """A connection of the pool; its errors are the laboratory's."""
        try:
            async with self._pool.acquire(timeout=_CONNECT_S) as connection:
                yield connection
        except StorageError:
            raise
        except (
            asyncpg.UniqueViolationError,
            asyncpg.SerializationError,
            asyncpg.DeadlockDetectedError,
            asyncpg.ForeignKeyViolationError,
        ) as error:
            raise ConflictError(f"the storage refuses this ({_line(error)})") from error
        except (asyncpg.DiskFullError, asyncpg.OutOfMemoryError) as error:
            raise StorageFullError(f"{self.about}: {_line(error)}") from error
        except (
            OSError,
            TimeoutError,
            asyncpg.PostgresConnectionError,
            asyncpg.InterfaceError,
            asyncpg.OperatorInterventionError,
            asyncpg.InsufficientResourcesError,
        ) as error:
            raise StorageBusyError(f"{self.about}: cannot be reached ({_line(error)})") from error
        except asyncpg.PostgresError as error:
            raise StorageError(f"{self.about}: {_line(error)}") from error

    async def rows(self, sql: str, *values: Value) -> list[Row]:
        async with self._connection() as connection:
            return [tuple(row) for row in await connection.fetch(sql, *values)]

    async def do(self, sql: str, *values: Value) -> int:
        async with self._connection() as connection:
            return _changed(await connection.execute(sql, *values))

    async def change(self, work: Callable[[Statements], Awaitable[T]]) -> T:
        for left in reversed(range(_TRIES)):
            try:
                async with self._connection() as connection, connection.transaction():
                    return await work(_Inside(connection))
            except ConflictError:
                if not left:
                    raise
                await asyncio.sleep(0.01 * (_TRIES - left))
        raise AssertionError

    async def take(self, taken: Taken) -> dict[str, str]:
        entry = taken.entry
        # In one order, so that two batches never wait for each other in a circle.
        arrived = sorted(taken.arrived, key=lambda each: (each.sequence, each.identity))
        versions = sorted(taken.versions, key=lambda each: each.identity)
        newest = taken.newest()
        values: list[object] = [
            taken.store, taken.kiosk, taken.at,
            taken.chain, entry.number, entry.at, entry.actor, entry.action, entry.subject,
            canonical(entry.details), entry.before, entry.hash,
            taken.device, taken.software_version, taken.sent_at, taken.at_s,
            [each.sequence for each in arrived],
            [each.identity for each in arrived],
            ["refused" if each.words else "stored" for each in arrived],
            [each.words for each in arrived],
        ]  # fmt: skip
        values += [[getattr(each, name) for each in versions] for name in _VERSION_COLUMNS]
        days = [counted_day(each.columns, taken.at_s) for each in newest]
        for name in _NEWEST:
            if name == "counted_day":
                values.append(days)
                continue
            own = name not in RESULT_COLUMNS
            values.append([getattr(each, name) if own else each.columns[name] for each in newest])
        async with self._connection() as connection, connection.transaction():
            stored = {row[0]: row[1] for row in await connection.fetch(TAKE, *values)}
            await _keep_sums(connection, taken, [each.result_id for each in newest])
            return stored

    async def close(self) -> None:
        with contextlib.suppress(TimeoutError, OSError, asyncpg.PostgresError):
            await asyncio.wait_for(self._pool.close(), 5)


async def _keep_sums(connection: Any, taken: Taken, named: list[str]) -> None:
    """The days of a batch's results, and numbers of it that came twice; the chain lets no other
    batch of these records in meanwhile.
    """
    sequences = [each.sequence for each in taken.arrived]
    await connection.execute(
        KEEP_DOUBLED.format(among="= ANY($2::bigint[])"), taken.store, sequences
    )
    days = await connection.fetch(
        "SELECT DISTINCT counted_day FROM result WHERE store = $1 AND result_id = ANY($2::text[])",
        taken.store, named,
    )  # fmt: skip
    for (day,) in days:
        found = [tuple(row) for row in await connection.fetch(OF_DAY, taken.store, day)]
        await connection.execute(KEEP_DAY, taken.store, day, *day_values(found))


class _Inside:
    """Statements of a transaction that is under way."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def rows(self, sql: str, *values: Value) -> list[Row]:
        return [tuple(row) for row in await self._connection.fetch(sql, *values)]

    async def do(self, sql: str, *values: Value) -> int:
        return _changed(await self._connection.execute(sql, *values))


def _changed(status: str) -> int:
    """The rows that a statement's tag counts: ``UPDATE 3``, ``INSERT 0 1``."""
    last = status.rpartition(" ")[2]
    return int(last) if last.isdecimal() else 0


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or "localhost"
    where = f"{host}:{parts.port}" if parts.port else host
    return urlunsplit((parts.scheme, where, parts.path, "", ""))
