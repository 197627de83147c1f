"""The store's versions: numbered SQL files, applied in order and never back.

The number of the last one that was applied stands in the database itself (``PRAGMA user_version``)
and is written in the transaction of what it describes.
"""

from __future__ import annotations

import re
import sqlite3
from functools import lru_cache
from importlib import resources

from edgehemo.errors import RecordsError

# "EHR1": tells the records' file from any other database.
APPLICATION_ID = 0x45485231
_FILE = re.compile(r"(\d{4})_\w+\.sql")
# As they lie in a wheel.
MIGRATION_PATH = rf"edgehemo/records/migrations/{_FILE.pattern}"


@lru_cache(maxsize=1)
def migrations() -> tuple[str, ...]:
    """The SQL of every migration; the first brings an empty file to version 1, and so on."""
    found = {
        int(match[1]): item
        for item in resources.files("edgehemo.records.migrations").iterdir()
        if (match := _FILE.fullmatch(item.name))
    }
    return tuple(found[number].read_text("utf-8") for number in range(1, len(found) + 1))


def newest() -> int:
    """The version this software writes."""
    return len(migrations())


def version_of(connection: sqlite3.Connection) -> int:
    """The version of an open store; 0 of an empty file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def refuse_newer(connection: sqlite3.Connection) -> None:
    """RecordsError for a store that a newer version of this software wrote."""
    if (found := version_of(connection)) > newest():
        raise RecordsError(
            f"the records are of version {found} and this software reads {newest()}: "
            "update edgehemo, or restore the copy that was made before the update"
        )


def migrate(connection: sqlite3.Connection, until: int | None = None) -> int:
    """Apply what is missing, each migration whole or not at all; returns the version before.

    connection: in autocommit mode. until: the version to end at, None for the newest.
    """
    before = version_of(connection)
    last = newest() if until is None else until
    for number in range(before + 1, last + 1):
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{migrations()[number - 1]}\n"
                f"PRAGMA application_id = {APPLICATION_ID};\n"
                f"PRAGMA user_version = {number};\nCOMMIT;"
            )
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return before
