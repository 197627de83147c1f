"""A laboratory finds what was changed behind its back."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgehemo_laboratory.errors import StorageError
from edgehemo_laboratory.intake.taking import taken
from edgehemo_laboratory.output import VerifyOutput
from edgehemo_laboratory.pictures.store import open_pictures
from edgehemo_laboratory.storage.interface import Storage
from edgehemo_laboratory.verifying import verify
from tests.support.laboratory import batch, certificates, enrolled, item, result, with_storage


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    async def work(storage: Storage) -> None:
        kiosk = await enrolled(storage, certificates(tmp_path / "certificates"))
        await taken(storage, kiosk, batch(item(1, result(1)), item(2, result(2))))
        await taken(storage, kiosk, batch(item(3, result(1, 3))))

    with_storage(tmp_path / "lab.sqlite3", work)
    return tmp_path / "lab.sqlite3"


@contextlib.contextmanager
def behind(lab: Path) -> Iterator[sqlite3.Connection]:
    """The file, with its triggers out of the way."""
    with contextlib.closing(sqlite3.connect(lab, isolation_level=None)) as connection:
        found = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        for (name,) in found.fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        yield connection


def looked_at(lab: Path) -> VerifyOutput:
    pictures = open_pictures(str(lab.parent / "pictures"))
    return with_storage(lab, lambda storage: verify(storage, pictures, by="test"))


def test_what_was_left_alone_is_well(lab: Path) -> None:
    found = looked_at(lab)
    assert (found.faults, found.versions, found.chains) == ([], 3, 2)
    assert looked_at(lab).entries == found.entries + 1


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE version SET body = x'00' WHERE version = 3", "v3 is not what came"),
        ("UPDATE result SET grade = 'severe' WHERE version = 3", "does not say what its newest"),
        ("UPDATE result SET identity = 'x' WHERE version = 3", "not at its newest version"),
        ("DELETE FROM result WHERE version = 3", "belong to no result"),
        ("DELETE FROM version WHERE version = 3", "not at its newest version"),
        ("UPDATE audit SET details = replace(details, '\"store\"', '\"stare\"') WHERE chain LIKE "
         "'kiosk%' AND number = 1", "audit entry 1 was changed"),
        ("DELETE FROM audit WHERE chain LIKE 'kiosk%' AND number = 1", "entries 1 to 1 are"),
        ("DELETE FROM audit WHERE chain = 'laboratory' AND number = 2", "entries 2 to 2 are"),
        ("INSERT INTO picture SELECT store, result_id, 0, 'ab', 1, 1 FROM result", "a picture is "),
    ],
)  # fmt: skip
def test_a_change_is_found(lab: Path, sql: str, words: str) -> None:
    if "picture" in sql:
        sql = sql.replace("'ab'", f"'{'ab' * 32}'")
        words = "missing or damaged"
    with behind(lab) as connection:
        assert connection.execute(sql).rowcount
    assert any(words in fault for fault in looked_at(lab).faults), looked_at(lab).faults


def test_nothing_that_came_can_be_changed_in_passing(lab: Path) -> None:
    with contextlib.closing(sqlite3.connect(lab, isolation_level=None)) as connection:
        for table in ("version", "audit", "arrival"):
            with pytest.raises(sqlite3.IntegrityError, match="never changed"):
                connection.execute(f"DELETE FROM {table}")


def test_another_programs_database_and_a_newer_one_are_not_touched(
    tmp_path: Path, lab: Path
) -> None:
    other = tmp_path / "other.sqlite3"
    with contextlib.closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE mine (a)")
    before = other.read_bytes()
    with pytest.raises(StorageError, match="another program's"):
        looked_at(other)
    assert other.read_bytes() == before
    with contextlib.closing(sqlite3.connect(lab)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageError, match="of version 99"):
        looked_at(lab)
