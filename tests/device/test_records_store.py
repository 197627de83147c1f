"""The store: durable, one writer, whole after anything, damaged ones set aside."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from edgehemo.errors import (
    RecordsBusyError,
    RecordsDamagedError,
    RecordsError,
    RecordsFullError,
)
from edgehemo.images.frame import Frame
from edgehemo.records import schema, store
from edgehemo.records.audit import entries
from edgehemo.records.clock import Clock
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.results import listed, result_of
from edgehemo.records.store import Reader, Store, Writer
from edgehemo.records.taking import keep_state, readings_of, takings
from edgehemo.records.verifying import verify
from tests.support.screening_fakes import TruthFinder, simulated_frames
from tests.support.stored import MADE_AT, files_in, started, stored

FAKES = TruthFinder()


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return simulated_frames(FAKES, count=2)


@pytest.fixture
def folder(tmp_path: Path) -> RecordsFolder:
    return RecordsFolder.below(tmp_path)


@pytest.fixture
def writer(folder: RecordsFolder) -> Iterator[Writer]:
    with Writer(folder) as opened:
        yield opened


def killed(folder: RecordsFolder, work: str) -> None:
    """Let a process of its own work on the records and end as a killed one does."""
    code = f"""
import os
from pathlib import Path
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Writer
from tests.support.screening_fakes import TruthFinder, simulated_frames
from tests.support.stored import started, stored
finder = TruthFinder()
frames = simulated_frames(finder, count=2)
writer = Writer(RecordsFolder(Path({str(folder.path)!r})))
{work}
os._exit(9)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 9, done.stderr


def test_what_is_stored_is_there_for_others(
    folder: RecordsFolder, writer: Writer, frames: list[Frame]
) -> None:
    done = stored(writer, frames, FAKES)
    assert done is not None
    with Reader(folder) as reader:
        (row,) = listed(reader)
        assert (row.id, row.sample, row.state, row.version) == (
            done.result_id, "S-1", "unsigned", 1
        )  # fmt: skip
        result = result_of(reader, done.result_id[:4].upper())
        assert [field.source for field in result.fields] == [frame.source for frame in frames]
        for field, frame in zip(result.fields, frames, strict=True):
            assert (field.frame(reader).pixels == frame.pixels).all()
        assert reader.head() == done.audit
        with pytest.raises(RecordsError):
            reader.rows("DELETE FROM latest")


def test_a_second_writer_is_refused_in_one_line_and_readers_are_not(
    folder: RecordsFolder, writer: Writer, frames: list[Frame]
) -> None:
    stored(writer, frames, FAKES)
    with pytest.raises(RecordsBusyError) as refused:
        Writer(folder)
    assert "\n" not in str(refused.value) and str(os.getpid()) in str(refused.value)
    readers = [Reader(folder) for _ in range(3)]
    assert all(len(listed(reader)) == 1 for reader in readers)
    for reader in readers:
        reader.close()


def test_what_a_reader_did_meanwhile_enters_the_chain(
    folder: RecordsFolder, writer: Writer, frames: list[Frame]
) -> None:
    done = stored(writer, frames, FAKES)
    assert done is not None
    with Reader(folder) as reader:
        reader.note("result viewed", done.result_id, by="amina")
        assert len(list(folder.noted.iterdir())) == 1
    writer.take_noted()
    last = list(entries(writer.connection))[-1]
    assert (last.action, last.subject, last.actor) == ("result viewed", done.result_id, "amina")
    assert not list(folder.noted.iterdir())


def test_a_killed_sample_leaves_nothing_but_an_entry(
    folder: RecordsFolder, frames: list[Frame]
) -> None:
    killed(folder, "stored(writer, frames, finder, each=lambda n: os._exit(9) if n == 2 else 0)")
    assert len(files_in(folder.path)) == 2
    with Writer(folder) as writer:
        assert files_in(folder.path) == set()
        assert listed(writer) == [] and takings(writer) == []
        last = list(entries(writer.connection))[-1]
        assert (last.action, last.details["reason"]) == ("sample abandoned", "interrupted")
        assert verify(writer).whole


def test_a_picture_that_no_row_names_yet_is_removed(folder: RecordsFolder) -> None:
    killed(
        folder,
        "writer.contents.put = lambda data, put=writer.contents.put: (put(data), os._exit(9))\n"
        "stored(writer, frames, finder)",
    )
    assert len(files_in(folder.path)) == 1
    with Writer(folder) as writer:
        assert files_in(folder.path) == set()
        assert not writer.rows("SELECT * FROM intended")


def test_a_kiosks_sample_goes_on_after_a_power_cut(
    folder: RecordsFolder, frames: list[Frame]
) -> None:
    killed(
        folder,
        "stored(writer, frames, finder, owner='kiosk', "
        "each=lambda n: os._exit(9) if n == 2 else 0)",
    )
    with Writer(folder) as writer:
        (taking,) = takings(writer)
        images = readings_of(writer, taking.id)
        assert [image.image for image in images] == [frame.source for frame in frames]
        keep_state(writer, taking.id, {"step": "capture"})
        assert takings(writer)[0].state == {"step": "capture"}
        assert len(files_in(folder.path)) == 2
        writer.abandon_taking(taking.id, "the person left", by="amina")
        assert files_in(folder.path) == set()


def test_a_result_is_all_there_or_not_at_all(
    folder: RecordsFolder, writer: Writer, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "edgehemo.records.recording.head_of", lambda _: (_ for _ in ()).throw(OSError(28, "full"))
    )
    with pytest.raises(RecordsFullError):
        stored(writer, frames, FAKES)
    assert listed(writer) == []
    assert not writer.rows("SELECT * FROM version")
    assert [entry.action for entry in entries(writer.connection)] == ["store made"]
    writer.abandon_taking(takings(writer)[0].id, "full", by="amina")
    assert files_in(folder.path) == set()


def test_nested_transactions_are_one(writer: Writer) -> None:
    def work() -> None:
        with writer.transaction():
            writer.note("store migrated", by="x")
            with writer.transaction():
                writer.note("store migrated", by="x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert len(list(entries(writer.connection))) == 1


def test_threads_share_the_writer(writer: Writer) -> None:
    def work() -> None:
        for _ in range(20):
            with writer.transaction():
                writer.note("records verified", by="thread")
                writer.note("records verified", by="thread")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(entries(writer.connection))) == 1 + 160
    assert verify(writer).whole


@pytest.mark.parametrize("damage", ["head", "page", "text"])
def test_a_damaged_store_is_set_aside_and_the_device_goes_on(
    folder: RecordsFolder,
    frames: list[Frame],
    damage: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Writer(folder) as writer:
        for number in range(5):
            stored(writer, frames, FAKES, f"S-{number}")
    data = bytearray(folder.database.read_bytes())
    if damage == "page":
        # An orderly end is not trusted where the process was killed after it.
        folder.clean.unlink()
        for start in range(2 * 4096, len(data) - 4096, 4096):
            data[start : start + 8] = b"\xff" * 8
    elif damage == "head":
        data[:200] = bytes(200)
    else:
        data[:] = b"no database at all" * 100
    folder.database.write_bytes(data)
    with pytest.raises(RecordsDamagedError), Reader(folder) as reader:
        listed(reader)
    with caplog.at_level(logging.ERROR), Writer(folder) as writer:
        assert writer.set_aside is not None and writer.set_aside.read_bytes()[:9] == bytes(data[:9])
        assert "THE RECORDS ARE DAMAGED" in caplog.text
        assert [entry.action for entry in entries(writer.connection)] == [
            "store made",
            "store set aside",
        ]
        assert stored(writer, frames, FAKES) is not None
        assert verify(writer).whole
    with Writer(folder) as writer:
        assert writer.set_aside is None and len(listed(writer)) == 1


def test_another_programs_database_and_a_newer_one_are_left_alone(folder: RecordsFolder) -> None:
    with Writer(folder):
        pass
    with sqlite3.connect(folder.database) as connection:
        connection.execute(f"PRAGMA user_version = {schema.newest() + 1}")
    connection.close()
    before = folder.database.read_bytes()
    for opened in (Reader, Writer):
        with pytest.raises(RecordsError, match="update edgehemo"):
            opened(folder)
    assert folder.database.read_bytes()[:100] == before[:100]
    assert not store.set_aside_files(folder)


def test_no_records_yet_is_said(folder: RecordsFolder) -> None:
    with pytest.raises(RecordsError, match="no records yet"):
        Store(folder).reader()
    assert not folder.path.exists()


def test_only_the_owner_reads_the_folder(folder: RecordsFolder, writer: Writer) -> None:
    assert folder.path.stat().st_mode & 0o077 == 0


def test_a_clock_that_was_put_back_is_noticed(folder: RecordsFolder, frames: list[Frame]) -> None:
    times: list[datetime] = [MADE_AT]
    with Writer(folder, clock=Clock(read=lambda: times[-1])) as writer:
        stored(writer, frames, FAKES, "S-1")
        times.append(MADE_AT - timedelta(days=300))
        stored(writer, frames, FAKES, "S-2", made_at=times[-1])
        times.append(MADE_AT + timedelta(days=1))
        stored(writer, frames, FAKES, "S-3", made_at=times[-1])
        assert [row.clock for row in listed(writer)] == ["set", "unset", "set"]


def test_a_sample_without_a_number_gets_one_and_a_name_is_none(
    writer: Writer, frames: list[Frame]
) -> None:
    first = stored(writer, frames[:1], FAKES, None)
    second = stored(writer, frames[:1], FAKES, None)
    assert first is not None and second is not None
    assert first.sample != second.sample and first.sample.startswith(writer.id[:4].upper())
    for wrong in ("Jane", "Jane Doe 7", "", "ü1", "x" * 65 + "1"):
        with pytest.raises(RecordsError):
            started(writer, wrong)
    assert takings(writer) == []


def test_nothing_readable_is_not_stored(folder: RecordsFolder, writer: Writer) -> None:
    assert stored(writer, [], FAKES) is None
    assert listed(writer) == [] and files_in(folder.path) == set()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (sqlite3.SQLITE_FULL, RecordsFullError),
        (sqlite3.SQLITE_IOERR_SHMSIZE, RecordsFullError),
        (sqlite3.SQLITE_CORRUPT, RecordsDamagedError),
        (sqlite3.SQLITE_NOTADB, RecordsDamagedError),
        (sqlite3.SQLITE_BUSY, RecordsBusyError),
        (sqlite3.SQLITE_IOERR_READ, RecordsError),
        (sqlite3.SQLITE_CONSTRAINT, RecordsError),
    ],
)
def test_what_sqlite_says_becomes_one_line(code: int, expected: type[RecordsError]) -> None:
    error = sqlite3.OperationalError("as it says")
    error.sqlite_errorcode, error.sqlite_errorname = code, "SQLITE_X"
    with pytest.raises(expected) as told, store.told():
        raise error
    assert type(told.value) is expected and "\n" not in str(told.value)


def test_a_full_disk_of_the_system_is_one_too() -> None:
    with pytest.raises(RecordsFullError), store.told():
        raise OSError(28, "No space left on device", "x")
    with pytest.raises(RecordsError, match="x: Permission denied"), store.told():
        raise PermissionError(13, "Permission denied", "x")


def test_a_writer_that_is_open_for_a_moment_only_is_waited_for(folder: RecordsFolder) -> None:
    brief = Writer(folder, brief=True)
    ended = threading.Timer(0.3, brief.close)
    ended.start()
    began = time.monotonic()
    with Writer(folder):
        waited_s = time.monotonic() - began
        with pytest.raises(RecordsBusyError, match=f"process {os.getpid()}"):
            Writer(folder, brief=True)
        refused_s = time.monotonic() - began - waited_s
    ended.join()
    assert 0.2 < waited_s < store.BRIEF_WAIT_S
    assert refused_s < 1


def test_a_moment_that_does_not_end_is_not_waited_for(
    folder: RecordsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "BRIEF_WAIT_S", 0.2)
    with Writer(folder, brief=True), pytest.raises(RecordsBusyError, match="wait for its end"):
        Writer(folder)
