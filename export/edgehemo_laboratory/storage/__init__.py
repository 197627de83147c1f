"""Where the laboratory keeps what came: PostgreSQL, or SQLite for a handful of kiosks."""

from __future__ import annotations

from pathlib import Path

from edgehemo_laboratory.errors import StorageError
from edgehemo_laboratory.storage.days import catch_up
from edgehemo_laboratory.storage.interface import Storage

POSTGRES_SCHEMES = ("postgresql://", "postgres://")


async def open_storage(where: str) -> Storage:
    """The storage at ``postgresql://...``, or of an SQLite file; made where there is none yet.

    Raises StorageError where it cannot be opened or is not ours.
    """
    storage = await _opened(where)
    try:
        await catch_up(storage)
    except BaseException:
        await storage.close()
        raise
    return storage


async def _opened(where: str) -> Storage:
    if where.startswith(POSTGRES_SCHEMES):
        # asyncpg is loaded where there is a PostgreSQL to speak to.
        try:
            from edgehemo_laboratory.storage.postgres import PostgresStorage  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise StorageError(
                f'{error.name} is not installed: pip install ".[laboratory]" in the folder of the '
                "source"
            ) from None
        return await PostgresStorage.open(where)
    if "://" in where:
        raise StorageError(
            f"{where.partition('://')[0]}:// is no storage: name a file, or postgresql://host/name"
        )
    from edgehemo_laboratory.storage.sqlite import SqliteStorage  # noqa: PLC0415

    return await SqliteStorage.open(Path(where).expanduser())
