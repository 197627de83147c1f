"""The records go back to an earlier version by the copy of before, or stay as they are."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest

from edgehemo.errors import RecordsBusyError, RecordsError
from edgehemo.images.frame import Frame
from edgehemo.records import schema
from edgehemo.records.audit import ACTIONS
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.going_back import HARMLESS, go_back, version_now, way_back
from edgehemo.records.results import listed
from edgehemo.records.store import Writer
from edgehemo.records.verifying import verify
from tests.support.older_records import older_store
from tests.support.screening_fakes import TruthFinder, simulated_frames
from tests.support.stored import stored

FAKES = TruthFinder()
NEWEST = schema.newest()
OLDER = NEWEST - 1


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return simulated_frames(FAKES, count=1)


@pytest.fixture
def folder(tmp_path: Path, frames: list[Frame], monkeypatch: pytest.MonkeyPatch) -> RecordsFolder:
    """Records of the version before, brought up to date."""
    made = RecordsFolder.below(tmp_path)
    older_store(made, OLDER, frames, FAKES, monkeypatch)
    Writer(made).close()
    assert version_now(made) == NEWEST
    return made


def contents(folder: RecordsFolder) -> dict[str, bytes]:
    """Every file of the folder but the lock and what readers need beside the database."""
    return {
        str(path.relative_to(folder.path)): path.read_bytes()
        for path in sorted(folder.path.rglob("*"))
        if path.is_file() and not path.name.endswith(("-shm", "-wal", ".lock"))
    }


def older_software(monkeypatch: pytest.MonkeyPatch) -> None:
    known = schema.migrations()[:OLDER]
    monkeypatch.setattr(schema, "migrations", lambda: known)


def test_the_older_version_reads_what_it_had(
    folder: RecordsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = go_back(folder, OLDER)
    assert way.copy is not None and way.since == ()
    assert version_now(folder) == OLDER
    (aside,) = folder.path.glob("records.replaced-*.sqlite3")
    with contextlib.closing(sqlite3.connect(aside)) as newer:
        assert schema.version_of(newer) == NEWEST
    older_software(monkeypatch)
    with Writer(folder) as writer:
        assert [row.state for row in listed(writer)] == ["signed"]
        assert writer.set_aside is None
        assert verify(writer).whole
        ((action, details),) = writer.rows(
            "SELECT action, details FROM audit ORDER BY number DESC LIMIT 1"
        )
        assert action == "store restored" and f'"version":{OLDER}' in details.replace(" ", "")


def test_and_forward_again(folder: RecordsFolder) -> None:
    go_back(folder, OLDER)
    with Writer(folder) as writer:
        assert schema.version_of(writer.connection) == NEWEST
        assert [row.state for row in listed(writer)] == ["signed"]
        assert verify(writer).whole


def test_a_result_made_since_is_not_lost(folder: RecordsFolder, frames: list[Frame]) -> None:
    with Writer(folder) as writer:
        assert stored(writer, frames, FAKES) is not None
    before = contents(folder)
    assert way_back(folder, OLDER).lost == "result recorded (1)"
    with pytest.raises(RecordsError, match=r"result recorded \(1\).*--leave-newer-records"):
        go_back(folder, OLDER)
    assert contents(folder) == before
    go_back(folder, OLDER, leave_newer=True)
    (aside,) = folder.path.glob("records.replaced-*.sqlite3")
    with contextlib.closing(sqlite3.connect(aside)) as newer:
        assert newer.execute("SELECT count(*) FROM result").fetchone() == (2,)
    assert version_now(folder) == OLDER


def test_what_changed_nothing_may_be_lost(folder: RecordsFolder) -> None:
    with Writer(folder) as writer:
        writer.note("signed in", by="sup")
        writer.note("result viewed", by="sup")
    assert way_back(folder, OLDER).since == ()
    with Writer(folder) as writer:
        writer.note("user added", "rita", by="sup")
    assert way_back(folder, OLDER).since == (("user added", 1),)


def test_only_actions_of_the_chain_are_harmless() -> None:
    assert set(ACTIONS) > HARMLESS
    assert not HARMLESS & {"result recorded", "result signed", "user added", "message delivered"}


@pytest.mark.parametrize("version", [NEWEST, NEWEST + 1])
def test_there_is_nothing_to_do_for_a_version_that_reads_them(
    folder: RecordsFolder, version: int
) -> None:
    before = contents(folder)
    assert go_back(folder, version).copy is None
    assert contents(folder) == before


def test_nor_without_records(tmp_path: Path) -> None:
    nothing = RecordsFolder.below(tmp_path)
    assert version_now(nothing) == 0
    assert go_back(nothing, 1).copy is None
    assert not nothing.path.exists()


def test_without_the_copy_there_is_no_way(folder: RecordsFolder) -> None:
    with pytest.raises(RecordsError, match=f"there is no copy of version {OLDER - 1}"):
        go_back(folder, OLDER - 1)
    (copy,) = folder.copies.iterdir()
    copy.write_bytes(copy.read_bytes()[:8192] + b"\1" * 8192 + copy.read_bytes()[16384:])
    with pytest.raises(RecordsError, match="damaged"):
        go_back(folder, OLDER)
    assert version_now(folder) == NEWEST


def test_a_copy_of_other_records_is_none(
    folder: RecordsFolder, tmp_path: Path, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = RecordsFolder.below(tmp_path / "other")
    older_store(other, OLDER, frames, FAKES, monkeypatch)
    Writer(other).close()
    (copy,), (theirs,) = folder.copies.iterdir(), other.copies.iterdir()
    shutil.copyfile(theirs, copy)
    with pytest.raises(RecordsError, match="of other records"):
        go_back(folder, OLDER)


def test_while_another_process_writes_nothing_is_touched(folder: RecordsFolder) -> None:
    with Writer(folder) as writer:
        with pytest.raises(RecordsBusyError):
            go_back(folder, OLDER)
        assert writer.rows("SELECT 1 FROM store")
    assert version_now(folder) == NEWEST


def test_what_a_killed_writer_left_is_kept_with_the_newer_records(
    folder: RecordsFolder, tmp_path: Path
) -> None:
    killed = RecordsFolder.below(tmp_path / "killed")
    with Writer(folder) as writer:
        writer.note("signed in", "left in the log", by="sup")
        # As the plug leaves it: the last lines stand in the log beside the database.
        shutil.copytree(folder.path, killed.path)
    assert (killed.path / "records.sqlite3-wal").stat().st_size
    go_back(killed, OLDER)
    (aside,) = killed.path.glob("records.replaced-*.sqlite3")
    with contextlib.closing(sqlite3.connect(aside)) as newer:
        found = newer.execute("SELECT count(*) FROM audit WHERE subject = 'left in the log'")
        assert found.fetchone() == (1,)
    assert not (killed.path / "records.sqlite3-wal").exists()
