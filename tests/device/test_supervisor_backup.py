"""The supervisor's backup: to a stick and back, exports, the look through it all, what fails."""

from __future__ import annotations

import asyncio
import errno
import logging
import threading
import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgehemo.device import sticks as device_sticks
from edgehemo.device.sticks import Stick, stick_to_write, writing_to
from edgehemo.errors import EdgeHemoError, RecordsFullError, StickFullError, StickMissingError
from edgehemo.kiosk.app import KioskApp
from edgehemo.kiosk.jobs import TOLD_EVERY_S, Job, Jobs, JobStopped
from edgehemo.kiosk.putting_back import PutBack, put_back
from edgehemo.kiosk.state import Sample
from edgehemo.kiosk.supervision.backup import DAYS, KINDS, age
from edgehemo.kiosk.supervision.long_work import backing_up
from edgehemo.records.audit import entries
from edgehemo.records.backup import (
    back_up,
    bring,
    bytes_wanted,
    found_backup,
    last_backup,
    restore,
)
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Reader, Writer
from edgehemo.records.users import Role
from edgehemo.words.language import Words
from tests.device.test_kiosk_page import does
from tests.support.supervised import device_of, measured, posted, working

EN = Words("en")


@pytest.fixture
def stocked(tmp_path: Path) -> Path:
    """Three results of today, none of this very second, and a stick."""
    (tmp_path / "stick").mkdir()
    now = datetime.now().astimezone()
    with Writer(RecordsFolder.below(device_of(tmp_path).data_dir)) as writer:
        for number in range(3):
            measured(
                writer, f"26-04{number:02d}", 100.0, made_at=now - timedelta(minutes=number + 1)
            )
    return tmp_path


async def ended(app: KioskApp) -> Job:
    """The job of the area, once it is through."""
    until = time.monotonic() + 60
    while True:
        job = app.desk.jobs.of("backup")
        assert job is not None
        if job.ended:
            return job
        assert time.monotonic() < until
        await asyncio.sleep(0.02)


async def put_away(browser: httpx.AsyncClient) -> httpx.Response:
    return await posted(browser, "backup", "done")


def test_a_backup_is_made_by_touch_counts_at_once_and_can_be_put_back(stocked: Path) -> None:
    async def run() -> None:
        async with working(stocked, "backup") as (app, browser):
            page = await browser.get("/area/backup/")
            assert "It is time for a backup" in page.text
            assert "3 results are stored on this device only" in page.text
            await posted(browser, "backup", "start")
            await ended(app)
            page = await browser.get("/area/backup/")
            assert "3 results are backed up" in page.text
            assert "keep it in another place" in page.text
            page = await put_away(browser)
            assert "The records are backed up" in page.text
            assert "3 of 3 results are in it" in page.text
            last = last_backup(app.kiosk.writer)
            assert last is not None
            assert last.results == 3
            done = [e for e in entries(app.kiosk.writer.connection) if "backed up" in e.action]
            assert [each.actor for each in done] == ["grace"]

    asyncio.run(run())
    elsewhere = RecordsFolder(stocked / "elsewhere")
    assert restore(stocked / "stick", elsewhere).results == 3
    with Reader(elsewhere) as reader:
        assert len(reader.rows("SELECT 1 FROM result")) == 3


def test_a_backup_is_checked_and_copied_before_anybody_is_asked_to_put_it_back(
    stocked: Path,
) -> None:
    async def run() -> None:
        async with working(stocked, "backup") as (app, browser):
            asked: list[PutBack] = []
            app.desk = replace(app.desk, put_back=asked.append)
            page = await posted(browser, "backup", "restore")
            await ended(app)
            page = await browser.get("/area/backup/")
            assert "There is no whole backup on the stick." in page.text
            assert "The records are as they were." in page.text
            await put_away(browser)
            await posted(browser, "backup", "start")
            await ended(app)
            await put_away(browser)
            measured(app.kiosk.writer, "26-0499", 100.0, made_at=datetime.now().astimezone())
            await posted(browser, "backup", "restore")
            await ended(app)
            page = await browser.get("/area/backup/")
            assert "Is this backup to take the place of all records?" in page.text
            assert "3 results" in page.text and "4 results" in page.text
            assert "1 result was made here after the backup" in page.text
            assert not asked
            # A sample that is worked on would be lost to the kiosk.
            before = app.kiosk.state
            waits = Sample(ref=1, owner="amina", step="capture", number="26-1")
            app.kiosk.state = before.model_copy(update={"samples": (waits,)})
            assert "Samples wait" in (await posted(browser, "backup", "replace")).text
            app.kiosk.state = before
            await posted(browser, "backup", "replace")
            assert [each.by for each in asked] == ["grace"]
            wanted.extend(asked)

    wanted: list[PutBack] = []
    asyncio.run(run())
    folder = RecordsFolder.below(device_of(stocked).data_dir)
    assert put_back(wanted[0], folder) == "put back"
    with Reader(folder) as reader:
        assert len(reader.rows("SELECT 1 FROM result")) == 3
        last = [each for each in entries(reader.connection) if each.action == "store restored"]
        assert [each.actor for each in last] == ["grace"]
    assert (folder.path / "records.replaced-1.sqlite3").is_file(), "nothing is deleted"


@pytest.mark.parametrize("harm", ["content", "database", "gone"])
def test_a_damaged_backup_leaves_the_records_as_they_were(stocked: Path, harm: str) -> None:
    folder = RecordsFolder.below(device_of(stocked).data_dir)
    with Writer(folder) as writer:
        back_up(writer, stocked / "stick", at="2026-11-27T10:00:00+00:00", by="grace")
        path, _ = found_backup(stocked / "stick")
        head = writer.head()
    before = folder.database.read_bytes()
    if harm == "content":
        content = next(each for each in (path.parent / "contents").rglob("*") if each.is_file())
        content.write_bytes(b"")
        folder.contents.remove(content.name)
    elif harm == "database":
        with path.with_suffix(".sqlite3").open("r+b") as file:
            file.seek(100)
            file.write(b"xx")
    else:
        path.unlink()
    with pytest.raises(EdgeHemoError):
        bring(stocked / "stick" if harm == "gone" else path, folder)
    assert put_back(PutBack(path, "grace"), folder) == "not put back"
    assert folder.database.read_bytes() == before
    with Reader(folder) as reader:
        assert reader.head() == head


def test_no_stick_and_a_full_one_are_told_and_nothing_is_written(
    stocked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with working(stocked, "backup") as (app, browser):
            (stocked / "stick").rmdir()
            page = await browser.get("/area/backup/")
            assert "There is no USB stick" in page.text
            assert "STICK_MISSING" in page.text
            page = await posted(browser, "backup", "start")
            assert "There is no USB stick" in page.text
            assert app.desk.jobs.of("backup") is None
            (stocked / "stick").mkdir()
            real = device_sticks._stick

            def full(*given: Any, **more: Any) -> Stick | None:
                found = real(*given, **more)
                return None if found is None else replace(found, free_bytes=10_000)

            monkeypatch.setattr(device_sticks, "_stick", full)
            await posted(browser, "backup", "start")
            job = await ended(app)
            assert isinstance(job.error, StickFullError)
            page = await browser.get("/area/backup/")
            assert "The USB stick is full" in page.text
            assert list((stocked / "stick").iterdir()) == []
            page = await put_away(browser)
            assert "It is time for a backup" in page.text

            def locked(*given: Any, **more: Any) -> Stick | None:
                found = real(*given, **more)
                return None if found is None else replace(found, writable=False)

            monkeypatch.setattr(device_sticks, "_stick", locked)
            assert "takes nothing" in (await browser.get("/area/backup/")).text

    asyncio.run(run())


def test_a_stopped_backup_leaves_the_earlier_one_whole(stocked: Path) -> None:
    device = device_of(stocked)
    stick = stick_to_write(device)
    with Writer(RecordsFolder.below(device.data_dir)) as writer:
        wanted = bytes_wanted(writer, stick.path)
        assert backing_up(writer, stick, "grace")(Job("backup", "backup")).results == 3
        assert bytes_wanted(writer, stick.path) < wanted
        measured(writer, "26-0499", 90.0)

        def stopped_by_hand() -> None:
            # What a page is told of the copying is when somebody touches Stop.
            if job.step == "copy":
                job._stop.set()

        job = Job("backup", "backup", _told=stopped_by_hand)
        with pytest.raises(JobStopped):
            backing_up(writer, stick, "grace")(job)
        last = last_backup(writer)
        assert last is not None
        assert last.results == 3
    assert restore(stick.path, RecordsFolder(stocked / "elsewhere")).results == 3


@pytest.mark.parametrize("kind", [each for each in KINDS if each != "archive"])
def test_days_are_exported_with_names_only_where_asked(stocked: Path, kind: str) -> None:
    async def run() -> None:
        async with working(stocked, "backup") as (app, browser):
            page = await browser.get("/area/backup/export")
            assert "Today" in page.text
            said = {"days": "1", "kind": kind}
            page = await posted(browser, "backup", "export", **said)
            assert "sample numbers and names" in page.text
            assert f'value="{kind}" checked' in page.text
            page = await posted(browser, "backup", "export", kind=kind, days="3", identified="0")
            assert "Touch the days" in page.text
            for identified in ("0", "1"):
                await posted(browser, "backup", "export", **said, identified=identified)
                job = await ended(app)
                assert job.error is None
                assert "3 results are written" in (await browser.get("/area/backup/")).text
                await put_away(browser)
                # The next one is of another second.
                await asyncio.sleep(1.1)

    asyncio.run(run())
    without, with_names = sorted((stocked / "stick").iterdir())
    assert "26-0400" not in _text_of(without)
    assert "26-0400" in _text_of(with_names)
    with Writer(RecordsFolder.below(device_of(stocked).data_dir)) as writer:
        done = [e for e in entries(writer.connection) if e.action == "result exported"]
        assert [each.details["identified"] for each in done] == [False] * 3 + [True] * 3
        assert {each.actor for each in done} == {"grace"}


def _text_of(path: Path) -> str:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return "".join(p.name + p.read_text("utf-8", "ignore") for p in files)


def test_an_archive_is_offered_with_a_key_only(stocked: Path) -> None:
    pyrage = pytest.importorskip("pyrage")
    key = pyrage.x25519.Identity.generate()

    async def run() -> None:
        async with working(stocked, "backup") as (app, browser):
            page = await browser.get("/area/backup/export")
            assert "no key is set on this device" in page.text
            said = {"days": "0", "kind": "archive", "identified": "1"}
            page = await posted(browser, "backup", "export", **said)
            assert "Touch the days" in page.text
            keyed = app.device.records.model_copy(update={"recipients": (str(key.to_public()),)})
            device = app.device.model_copy(update={"records": keyed})
            app.desk = replace(app.desk, device=device)
            await posted(browser, "backup", "export", **said)
            assert (await ended(app)).error is None

    asyncio.run(run())
    (archive,) = (stocked / "stick").iterdir()
    assert archive.name.endswith(".tar.age")
    assert b"26-0400" in pyrage.decrypt(archive.read_bytes(), [key])


def test_the_look_through_the_records_says_what_is_wrong(stocked: Path) -> None:
    async def run() -> None:
        async with working(stocked, "backup") as (app, browser):
            await posted(browser, "backup", "verify")
            await ended(app)
            assert "All is whole" in (await browser.get("/area/backup/")).text
            await put_away(browser)
            digest = app.kiosk.writer.rows("SELECT sha256 FROM content LIMIT 1")[0][0]
            app.kiosk.writer.contents.place(digest).write_bytes(b"changed")
            await posted(browser, "backup", "verify")
            await ended(app)
            page = await browser.get("/area/backup/")
            assert "1 fault was found" in page.text
            assert digest[:16] in page.text
            noted = [e.details for e in entries(app.kiosk.writer.connection) if "verif" in e.action]
            assert [each["faults"] for each in noted] == [0, 1]
            await put_away(browser)
            page = await browser.get("/area/backup/restore")
            assert "A backup takes the place of all records here." in page.text

    asyncio.run(run())


def test_a_backup_by_the_command_line_counts_for_the_kiosk_that_runs(stocked: Path) -> None:
    async def run() -> None:
        async with working(stocked, "backup") as (app, browser):
            with Reader(app.kiosk.writer.folder) as reader:
                details = {"upto": 1, "results": 3, "contents": 0, "sha256": "ab"}
                reader.note("records backed up", details=details, by="command line")
            assert last_backup(app.kiosk.writer) is None
            assert "3 of 3 results" in (await browser.get("/area/backup/")).text

    asyncio.run(run())


def test_what_fails_on_the_stick_is_told_as_the_sticks_fault(tmp_path: Path) -> None:
    stick = Stick(tmp_path, "EDGEHEMO", 10**9, True)
    with pytest.raises(StickFullError), writing_to(stick):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(RecordsFullError), writing_to(stick):
        raise RecordsFullError("the device's own disk")
    with pytest.raises(OSError, match="odd"), writing_to(stick):
        raise OSError(errno.EPERM, "odd")
    gone = replace(stick, path=tmp_path / "gone")
    with pytest.raises(StickMissingError), writing_to(gone):
        raise OSError(errno.EIO, "Input/output error")
    with pytest.raises(StickFullError), writing_to(gone):
        raise RecordsFullError("no room")


def test_progress_is_told_a_few_times_a_second() -> None:
    told: list[float] = []
    jobs = Jobs(lambda: told.append(time.monotonic()))
    through = threading.Event()

    def counts(job: Job) -> None:
        for number in range(2000):
            job.at(number / 2000, "copy")
        through.set()

    began = time.monotonic()
    jobs.begin("backup", "backup", counts)
    assert through.wait(20)
    jobs.close()
    assert len(told) <= 3 + (time.monotonic() - began) / TOLD_EVERY_S


def test_the_age_of_a_backup_in_words() -> None:
    assert age(EN, timedelta(minutes=5)) == "less than an hour ago"
    assert age(EN, timedelta(hours=5)) == "5 hours ago"
    assert age(EN, timedelta(days=3, hours=2)) == "3 days ago"
    assert "clock" in age(EN, timedelta(hours=-5))
    assert DAYS[-1] == 0


def test_nobody_else_begins_anything(stocked: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        others: tuple[Role, ...] = ("operator", "engineer")
        for role in others:
            async with working(stocked, "backup", role) as (app, browser):
                for path in ("start", "verify", "export", "stop", "done"):
                    said = {"days": "0", "kind": "csv", "identified": "1"}
                    page = await posted(browser, "backup", path, **said)
                    assert page.url.path == "/"
                assert app.desk.jobs.of("backup") is None
                await does(browser, await browser.get("/"), "signout")
        async with working(stocked, "backup") as (app, browser):
            form = {"screen": "backup", "token": "0" * 64}
            assert (await browser.post("/area/backup/start", data=form)).status_code == 400
            assert app.desk.jobs.of("backup") is None
            assert (await posted(browser, "backup", "format")).status_code == 404

    with caplog.at_level(logging.DEBUG):
        asyncio.run(run())
    assert list((stocked / "stick").iterdir()) == []
    assert "26-04" not in caplog.text
