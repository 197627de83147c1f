"""A state that cannot be read again: it stops nothing, loses nothing, and is told of."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from edgehemo.anaemia.who_grade import Person
from edgehemo.errors import RecordsBusyError
from edgehemo.kiosk import events
from edgehemo.kiosk.engine import Kiosk
from edgehemo.kiosk.flow import EventRefusedError
from edgehemo.kiosk.state import screen_of
from edgehemo.records import audit
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.kiosk_state import keep_kiosk_state, kept_kiosk_state
from edgehemo.records.store import Writer
from edgehemo.records.users import add_user
from edgehemo.screening.field import FieldReader
from edgehemo.screening.sample import Screening
from tests.device.test_kiosk_page import does, served, signed_in
from tests.support.screening_fakes import TruthFinder, scripted, simulated_frames
from tests.support.stored import started

UNREADABLE = (
    "",
    "{",
    '{"schema": "edgehemo.kiosk-state/9"}',
    '{"schema": "edgehemo.kiosk-state/1", "place": "nowhere"}',
    '{"schema": "edgehemo.kiosk-state/1", "samples": [{"ref": -1}]}',
)


@pytest.mark.parametrize("text", UNREADABLE)
def test_it_is_kept_beside_the_records_and_the_kiosk_begins_anew(tmp_path: Path, text: str) -> None:
    folder = RecordsFolder(tmp_path / "records")
    with Writer(folder) as writer:
        keep_kiosk_state(writer, text)
        kiosk = Kiosk(writer)
        assert screen_of(kiosk.state) == "sign_in"
        assert kept_kiosk_state(writer) is None
        (aside,) = folder.path.glob("kiosk-state.set-aside-*.json")
        assert aside.read_bytes() == text.encode()
        assert aside.stat().st_mode & 0o777 == 0o600
        entry = list(audit.entries(writer.connection))[-1]
        assert entry.action == "kiosk state set aside"
        assert entry.details["sha256"] == hashlib.sha256(aside.read_bytes()).hexdigest()
        keep_kiosk_state(writer, text)
        Kiosk(writer)
        assert len(list(folder.path.glob("kiosk-state.set-aside-*.json"))) == 2


def test_the_samples_that_had_fields_wait_at_them(tmp_path: Path) -> None:
    finder = TruthFinder()
    frames = simulated_frames(finder, count=2)
    with Writer(RecordsFolder(tmp_path / "records")) as writer:
        person = Person(age_years=30.0, sex="female", altitude_m=1200.0, smoker=True)
        recording = started(writer, "26-0417", owner="kiosk", operator="amina", person=person)
        screening = Screening(FieldReader(finder, um_per_px=0.25, check=scripted()))
        for frame in frames:
            reading = screening.consider(frame)
            recording.add(len(screening.images) - 1, reading, frame)
        started(writer, "OTHER-1", owner="command")
        keep_kiosk_state(writer, "{")
        kiosk = Kiosk(writer)
        (sample,) = kiosk.state.samples
        assert (sample.number, sample.step, sample.owner) == ("26-0417", "capture", "amina")
        assert sample.taking == recording.taking.id
        assert sample.answers.person() == person
        assert sample.progress.accepted == 2
        assert sample.progress.red_cells > 20
        assert kiosk.state.next_ref == 2


def test_whoever_signs_in_is_told_also_after_another_restart(tmp_path: Path) -> None:
    async def run() -> None:
        folder = tmp_path / "records"
        with Writer(RecordsFolder(folder)) as writer:
            add_user(writer, "grace", "supervisor", "4071", by="test")
            add_user(writer, "amina", "operator", "2580", by="test")
            keep_kiosk_state(writer, "{")
        async with served(folder) as (kiosk, browser):
            assert kiosk.state.fault is not None
            assert screen_of(kiosk.state) == "sign_in"
        async with served(folder) as (kiosk, browser):
            page = await signed_in(browser)
            assert 'data-screen="fault"' in page.text
            assert "The kiosk begins anew" in page.text
            page = await does(browser, page, "goon")
            assert 'data-screen="home"' in page.text
            with pytest.raises(EventRefusedError):
                await kiosk.tell(events.FaultCleared("KIOSK_BEGUN_ANEW"))
        async with served(folder) as (kiosk, _):
            assert kiosk.state.fault is None

    asyncio.run(run())


def test_damaged_records_are_told_of_to_whoever_signs_in(tmp_path: Path) -> None:
    async def run() -> None:
        folder = RecordsFolder(tmp_path / "records")
        with Writer(folder) as writer:
            add_user(writer, "grace", "supervisor", "4071", by="test")
        data = bytearray(folder.database.read_bytes())
        data[:100] = b"\xa5" * 100
        folder.database.write_bytes(data)
        async with served(folder.path) as (kiosk, browser):
            page = await signed_in(browser)
            assert "Damaged records were set aside" in page.text
            assert kiosk.state.fault is not None

    asyncio.run(run())


def test_nothing_else_is_told_where_nobody_works(tmp_path: Path) -> None:
    async def run() -> None:
        with Writer(RecordsFolder(tmp_path / "records")) as writer:
            kiosk = Kiosk(writer)
            await kiosk.start()
            try:
                with pytest.raises(EventRefusedError, match="nobody works"):
                    await kiosk.tell(events.FaultSeen("CAMERA_DARK"))
            finally:
                await kiosk.stop()

    asyncio.run(run())


def test_whoever_writes_beside_a_kiosk_is_told_where_to_do_it(tmp_path: Path) -> None:
    folder = RecordsFolder(tmp_path / "records")
    with Writer(folder), pytest.raises(RecordsBusyError, match="on its page, under a supervisor's"):
        Writer(folder)


def test_a_self_check_without_an_answer_is_not_in_order(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path / "records") as (kiosk, browser):
            page = await signed_in(browser)
            page = await does(browser, page, "newsample")
            page = await does(browser, page, "givenumber", number="26-0417")
            await does(browser, page, "giveperson", age_years="40", sex="male")
            await kiosk.tell(events.SelfChecked(()))
            page = await browser.get("/")
            assert "Everything is in order" not in page.text
            assert "The self-check has no answer" in page.text
            assert 'value="checkagain"' in page.text
            assert 'value="startcapture"' not in page.text

    asyncio.run(run())
