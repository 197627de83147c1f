"""A signed result leaves the device: printed, copied to a stick, read from the screen."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from edgehemo.device.configuration import DeviceConfiguration, load_profile
from edgehemo.device.printing import PrintJob
from edgehemo.device.sticks import Stick
from edgehemo.errors import PrinterMissingError, PrintFailedError, StickFullError
from edgehemo.images.frame import Frame
from edgehemo.kiosk import errands, events
from edgehemo.kiosk.engine import Kiosk
from edgehemo.kiosk.handing_out import FOLDER
from edgehemo.kiosk.jobs import JobStopped
from edgehemo.kiosk.result_code import code_lines, code_svg
from edgehemo.records.results import result_of
from edgehemo.records.versions import Amendments, Override, change
from edgehemo.report.paper import Paper
from tests.device.test_kiosk_page import does, served
from tests.device.test_kiosk_review import FINDER, at_result
from tests.support.screening_fakes import simulated_frames

PRINTED = "edgehemo.kiosk.handing_out.printed"


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return simulated_frames(FINDER, count=2)


def device_of(**kiosk: object) -> DeviceConfiguration:
    workstation = load_profile("workstation")
    return workstation.model_copy(update={"kiosk": workstation.kiosk.model_copy(update=kiosk)})


async def at_done(
    kiosk: Kiosk, browser: httpx.AsyncClient, frames: list[Frame], grade: str | None = None
) -> httpx.Response:
    """The page of a result that was just signed."""
    await at_result(kiosk, browser, frames)
    await kiosk.tell(events.OpenReview())
    while (sample := kiosk.state.sample) is not None and sample.to_review:
        await kiosk.tell(events.ConfirmPage(sample.page))
    await kiosk.tell(events.OpenSignOff())
    assert sample is not None and sample.taking is not None
    amendments = Amendments(override=None if grade is None else Override(grade=grade))
    change(kiosk.writer, sample.taking, "signed", by="amina", amendments=amendments)
    await kiosk.tell(events.Signed(1))
    return await browser.get("/")


async def until(browser: httpx.AsyncClient, said: str) -> httpx.Response:
    for _ in range(300):
        page = await browser.get("/")
        if said in page.text:
            return page
        await asyncio.sleep(0.1)
    raise AssertionError(f"the page never says {said!r}: {page.text[-2500:]}")


def notes(kiosk: Kiosk) -> list[dict[str, object]]:
    rows = kiosk.writer.rows("SELECT details FROM audit WHERE action = 'result exported'")
    found = [json.loads(row[0]) for row in rows]
    return [{key: each[key] for key in each if key != "noted_at"} for each in found]


def test_the_report_is_printed_beside_the_page(
    tmp_path: Path, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[bytes, Paper, str | None]] = []

    def takes(pdf: bytes, paper: Paper, printer: str | None, **_: object) -> PrintJob:
        sent.append((pdf, paper, printer))
        return PrintJob("Desk-12", "Desk")

    monkeypatch.setattr(PRINTED, takes)

    async def run() -> None:
        device = device_of(printer="Desk", paper="roll_80mm")
        async with served(tmp_path / "records", device) as (kiosk, browser):
            page = await at_done(kiosk, browser, frames)
            page = await does(browser, page, "print")
            assert page.status_code == 200
            assert 'value="finish"' in page.text
            await until(browser, "Printed on Desk.")
            ((pdf, paper, printer),) = sent
            assert pdf.startswith(b"%PDF-")
            assert (paper, printer) == ("roll_80mm", "Desk")
            assert notes(kiosk) == [{"format": "paper", "identified": True, "pictures": False}]

    asyncio.run(run())


def test_a_printer_s_own_words_stand_on_the_page(
    tmp_path: Path, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    def takes(*_: object, **__: object) -> PrintJob:
        raise PrintFailedError("it has stopped", "Out of paper <now>")

    monkeypatch.setattr(PRINTED, takes)

    async def run() -> None:
        async with served(tmp_path / "records") as (kiosk, browser):
            page = await at_done(kiosk, browser, frames)
            await does(browser, page, "print")
            page = await until(browser, "The printer says: Out of paper &lt;now&gt;")
            assert 'value="print"' in page.text
            assert not notes(kiosk)

    asyncio.run(run())


def test_a_missing_printer_is_a_fault_that_is_tried_again_or_passed(
    tmp_path: Path, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    there: list[bool] = []

    def takes(*_: object, **__: object) -> PrintJob:
        if not there:
            raise PrinterMissingError("no printer")
        return PrintJob("Desk-12", "Desk")

    monkeypatch.setattr(PRINTED, takes)

    async def run() -> None:
        async with served(tmp_path / "records") as (kiosk, browser):
            page = await at_done(kiosk, browser, frames)
            await does(browser, page, "print")
            page = await until(browser, "There is no printer")
            assert 'data-screen="fault"' in page.text
            page = await does(browser, page, "goon")
            assert 'data-screen="done"' in page.text
            await does(browser, page, "print")
            page = await until(browser, 'data-screen="fault"')
            there.append(True)
            await does(browser, page, "tryagain")
            await until(browser, "Printed on Desk.")

    asyncio.run(run())


def test_whoever_stops_it_comes_back_to_the_page(
    tmp_path: Path, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[bool] = []

    def takes(*_: object, still: Callable[[], None], **__: object) -> PrintJob:
        try:
            while True:
                still()
        except JobStopped:
            ended.append(True)
            raise

    monkeypatch.setattr(PRINTED, takes)

    async def run() -> None:
        async with served(tmp_path / "records") as (kiosk, browser):
            page = await at_done(kiosk, browser, frames)
            await does(browser, page, "print")
            page = await until(browser, "The report is being printed.")
            await does(browser, page, "stophandingout")
            page = await until(browser, 'value="print"')
            assert ended
            assert "being printed" not in page.text

    asyncio.run(run())


def test_the_report_and_its_numbers_are_copied_to_a_stick(
    tmp_path: Path, frames: list[Frame]
) -> None:
    stick = tmp_path / "STICK"
    stick.mkdir()

    async def run() -> None:
        device = device_of(stick=str(stick), unit="g/dL")
        async with served(tmp_path / "records", device) as (kiosk, browser):
            page = await at_done(kiosk, browser, frames)
            await does(browser, page, "copytostick")
            await until(browser, "Copied to the stick STICK. You may pull it out.")
            assert kiosk.state.sample is not None
            name = kiosk.state.sample.taking
            files = sorted(path.name for path in (stick / FOLDER).iterdir())
            assert files == [f"{name}.json", f"{name}.pdf"]
            told = json.loads((stick / FOLDER / f"{name}.json").read_text("utf-8"))
            assert [each["id"] for each in told["results"]] == [name]
            assert (stick / FOLDER / f"{name}.pdf").read_bytes().startswith(b"%PDF-")
            assert notes(kiosk)[0]["format"] == "pdf and json"

    asyncio.run(run())


def test_a_missing_stick_is_waited_for_and_then_written_to(
    tmp_path: Path, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    stick = tmp_path / "STICK"
    monkeypatch.setattr(errands, "LOOK_EVERY_S", 0.1)

    async def run() -> None:
        device = device_of(stick=str(stick))
        async with served(tmp_path / "records", device) as (kiosk, browser):
            page = await at_done(kiosk, browser, frames)
            await does(browser, page, "copytostick")
            await until(browser, "There is no USB stick")
            stick.mkdir()
            await until(browser, "Copied to the stick STICK.")
            assert len(list((stick / FOLDER).iterdir())) == 2

    asyncio.run(run())


def test_a_full_stick_is_a_fault(
    tmp_path: Path, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(device: DeviceConfiguration) -> Stick:
        raise StickFullError("full")

    monkeypatch.setattr("edgehemo.kiosk.handing_out.stick_to_write", full)

    async def run() -> None:
        async with served(tmp_path / "records") as (kiosk, browser):
            page = await at_done(kiosk, browser, frames)
            await does(browser, page, "copytostick")
            await until(browser, "The USB stick is full")
            assert not notes(kiosk)

    asyncio.run(run())


def test_the_code_holds_the_result_and_nothing_of_the_patient(
    tmp_path: Path, frames: list[Frame]
) -> None:
    async def run() -> None:
        async with served(tmp_path / "records") as (kiosk, browser):
            page = await at_done(kiosk, browser, frames, grade="severe")
            sample = kiosk.state.sample
            assert sample is not None and sample.taking is not None
            assert 'src="/code/1.svg"' in page.text
            answer = await browser.get("/code/1.svg")
            assert answer.headers["content-type"] == "image/svg+xml"
            assert answer.content.startswith(b"<svg")
            assert (await browser.get("/code/2.svg")).status_code == 404
            result = result_of(kiosk.writer, sample.taking)
            lines = code_lines(result, kiosk.gallery(sample).record, kiosk.writer.head(), "g/L")
            assert answer.content == code_svg(lines)
            assert lines[0] == "edgehemo.code/1"
            assert lines[1] == f"result {sample.taking} version 2 signed"
            assert lines[2] == "sample 26-0417"
            assert "grade severe (set by a person)" in lines
            assert "SIMULATED" in lines
            assert re.fullmatch(r"chain \d+-[0-9a-f]{16} store [0-9a-f-]{8}", lines[-2])
            record, head = kiosk.gallery(sample).record, kiosk.writer.head()
            marked = code_lines(result, record, head, "g/L", marked=True)
            assert set(marked) - set(lines) == {"CONTROL FAILED after it: confirm before use"}
            text = "\n".join(lines)
            assert "amina" not in text and "female" not in text and "40" not in lines[4:]
            assert "Print all the same" not in page.text
            change(kiosk.writer, sample.taking, "held", by="grace", reason="number_in_doubt")
            page = await browser.get("/")
            assert "This result is held." in page.text and "Print all the same" in page.text
            held = result_of(kiosk.writer, sample.taking)
            assert code_lines(held, record, head, "g/L")[1].endswith("version 3 held")
            await does(browser, page, "finish")
            assert (await browser.get("/code/1.svg")).status_code == 404

    asyncio.run(run())
