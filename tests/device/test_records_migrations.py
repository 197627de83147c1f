"""Stores of every earlier version come to the newest with all that is in them."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from pathlib import Path

import pytest

from edgehemo.errors import RecordsError
from edgehemo.images.frame import Frame
from edgehemo.records import schema
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.measured import catch_up
from edgehemo.records.results import listed, result_of
from edgehemo.records.store import Reader, Store, Writer
from edgehemo.records.verifying import verify
from tests.support.older_records import older_store
from tests.support.screening_fakes import TruthFinder, simulated_frames

FAKES = TruthFinder()
VERSIONS = range(1, schema.newest())


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return simulated_frames(FAKES, count=1)


def rows_of(database: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables but the chain, whose head moves on."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        return {
            name: connection.execute(f"SELECT * FROM {name}").fetchall()
            for (name,) in tables.fetchall()
            if name != "audit"
        }


@pytest.mark.parametrize("version", VERSIONS)
def test_an_older_store_is_brought_up_to_date(
    tmp_path: Path,
    version: int,
    frames: list[Frame],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = RecordsFolder.below(tmp_path)
    result = older_store(folder, version, frames, FAKES, monkeypatch)
    before = rows_of(folder.database)
    with pytest.raises(RecordsError, match="older version"):
        Reader(folder)
    with caplog.at_level(logging.WARNING), Store(folder).reader() as reader:
        assert schema.version_of(reader.connection) == schema.newest()
        assert [row.state for row in listed(reader)] == ["signed"]
        assert [each.change for each in result_of(reader, result).versions] == [
            "recorded", "signed"
        ]  # fmt: skip
        found = verify(reader)
        assert found.whole, found.faults
    after = rows_of(folder.database)
    assert all(after[table] == rows for table, rows in before.items())
    (copy,) = folder.copies.iterdir()
    assert copy.name in caplog.text
    assert rows_of(copy) == before
    with Writer(folder) as writer:
        catch_up(writer)
        ((light,),) = writer.rows("SELECT background_green FROM measured")
        assert light is not None and verify(writer).whole


@pytest.mark.parametrize("version", VERSIONS)
def test_a_migration_that_fails_changes_nothing(
    tmp_path: Path, version: int, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RecordsFolder.below(tmp_path)
    older_store(folder, version, frames, FAKES, monkeypatch)
    before = rows_of(folder.database)
    files = schema.migrations()
    broken = (*files[:version], files[version] + "\nINSERT INTO nowhere VALUES (1);")
    with monkeypatch.context() as patch:
        patch.setattr(schema, "migrations", lambda: broken)
        with pytest.raises(RecordsError, match="nowhere"):
            Writer(folder)
    assert rows_of(folder.database) == before
    with contextlib.closing(sqlite3.connect(folder.database)) as connection:
        assert schema.version_of(connection) == version
    with Writer(folder) as writer:
        assert verify(writer).whole


def test_every_table_is_strict_and_files_are_numbered_without_a_gap() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    assert schema.migrate(connection) == 0
    assert schema.version_of(connection) == schema.newest() == len(schema.migrations()) >= 3
    tables = connection.execute("PRAGMA table_list").fetchall()
    loose = [row[1] for row in tables if not row[5] and not row[1].startswith("sqlite_")]
    assert loose == []
    assert schema.migrate(connection) == schema.newest()
    connection.close()
