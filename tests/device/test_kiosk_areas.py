"""Pages beside the samples: who gets them, what is done on them, and work that takes long."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from edgehemo.device.configuration import load_profile
from edgehemo.errors import KioskBusyError, RecordsError
from edgehemo.kiosk import offers
from edgehemo.kiosk.app import HEARD_EVERY_S, KioskApp
from edgehemo.kiosk.area import Asked, Desk, Sent, Shown, Went
from edgehemo.kiosk.area_table import areas_with_pages
from edgehemo.kiosk.engine import Kiosk
from edgehemo.kiosk.guarding import Guard
from edgehemo.kiosk.jobs import Job, Jobs
from edgehemo.kiosk.screens import AREAS, Area
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Writer
from edgehemo.records.users import add_user
from tests.device.test_kiosk_page import HERE, PORT, does, token_of

PIN = "4071"


class Notes:
    """An area that keeps one line, and can fail."""

    area: Area = "results"

    def __init__(self) -> None:
        self.line = "nothing yet"
        self.threads: set[str] = set()

    def show(self, desk: Desk, asked: Asked) -> Shown | Sent | None:
        if asked.path == "picture.png":
            return Sent(b"\x89PNG", "image/png")
        if asked.path == "broken":
            raise RecordsError("the disk says no")
        if asked.path not in ("", "one"):
            return None
        return Shown("no_page.html.j2", {"told": None})

    def do(self, desk: Desk, asked: Asked) -> Went | None:
        self.threads.add(threading.current_thread().name)
        if asked.path == "fail":
            raise RecordsError("the disk says no")
        if asked.path != "keep":
            return None
        self.line = asked.values["line"]
        return Went("one?id=7", said=f"kept: {self.line}")


@asynccontextmanager
async def open_area(
    folder: Path, monkeypatch: pytest.MonkeyPatch, notes: Notes
) -> AsyncIterator[tuple[Kiosk, httpx.AsyncClient, KioskApp]]:
    """A supervisor in the area."""
    monkeypatch.setattr(offers, "AREAS_WITH_PAGES", frozenset({"results"}))
    with Writer(RecordsFolder(folder)) as writer:
        add_user(writer, "grace", "supervisor", PIN, by="test")
        kiosk = Kiosk(writer)
        app = KioskApp(
            kiosk,
            load_profile("workstation"),
            Guard(PORT),
            simulated=True,
            areas={"results": notes},
        )
        transport = httpx.ASGITransport(app.application())
        await kiosk.start()
        try:
            async with httpx.AsyncClient(
                transport=transport, base_url=HERE, headers={"origin": HERE}, follow_redirects=True
            ) as browser:
                page = await does(browser, await browser.get("/"), "chooseuser", name="grace")
                page = await browser.post("/pin", data={"token": token_of(page), "pin": PIN})
                page = await does(browser, page, "openarea", area="results")
                assert page.url.path == "/area/results/"
                yield kiosk, browser, app
        finally:
            await kiosk.stop()


def test_an_area_has_pages_of_its_own_and_comes_back_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        notes = Notes()
        async with open_area(tmp_path / "records", monkeypatch, notes) as (kiosk, browser, _):
            page = await browser.get("/area/results/one?id=7&from=2")
            assert 'data-here="/area/results/one?id=7&amp;from=2"' in page.text
            form = {"token": token_of(page), "screen": "results", "line": "new lamp"}
            page = await browser.post("/area/results/keep", data=form)
            assert str(page.url).endswith("/area/results/one?id=7")
            assert "kept: new lamp" in page.text
            assert "kept: new lamp" not in (await browser.get("/area/results/one?id=7")).text
            assert notes.threads == {"kiosk-records_0"}
            page = await browser.post("/area/results/fail", data={**form, "here": "one"})
            assert page.url.path == "/area/results/one"
            assert "The records refuse this" in page.text
            assert (await browser.get("/area/results/broken")).status_code == 200
            assert (await browser.get("/area/results/no-such")).status_code == 404
            assert (await browser.post("/area/results/no-such", data=form)).status_code == 404
            picture = await browser.get("/area/results/picture.png")
            assert picture.headers["content-type"] == "image/png"
            assert kiosk.state.place == "results"

    asyncio.run(run())


def test_an_area_is_only_there_while_it_is_open_and_for_who_steers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        notes = Notes()
        async with open_area(tmp_path / "records", monkeypatch, notes) as (kiosk, browser, _):
            page = await browser.get("/")
            form = {"token": token_of(page), "screen": "results", "line": "x"}
            other = httpx.AsyncClient(
                transport=browser._transport,
                base_url=HERE,
                headers={"origin": HERE},
                follow_redirects=True,
            )
            watched = await other.get("/area/results/")
            assert watched.url.path == "/"
            assert (await browser.get("/area/users/")).url.path == "/area/results/"
            stranger = {**form, "token": "0" * 64}
            assert (await browser.post("/area/results/keep", data=stranger)).status_code == 400
            page = await does(browser, page, "leave")
            assert 'data-screen="home"' in page.text
            assert (await browser.get("/area/results/")).url.path == "/"
            assert (await browser.post("/area/results/keep", data=form)).url.path == "/"
            assert notes.line == "nothing yet"
            assert kiosk.state.place == "home"

    asyncio.run(run())


def test_looking_at_pages_keeps_the_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with open_area(tmp_path / "records", monkeypatch, Notes()) as (kiosk, browser, _):
            heard = kiosk.state.heard_s
            await browser.get("/area/results/")
            assert kiosk.state.heard_s == heard
            kiosk.clock = lambda: heard + HEARD_EVERY_S
            await browser.get("/area/results/")
            assert kiosk.state.heard_s == heard + HEARD_EVERY_S

    asyncio.run(run())


def test_every_area_that_is_offered_has_its_pages() -> None:
    assert set(areas_with_pages()) == offers.AREAS_WITH_PAGES <= set(AREAS)


def test_one_job_at_a_time_which_tells_stops_and_fails() -> None:
    told = threading.Event()
    jobs = Jobs(told.set)
    go_on = threading.Event()

    def counts(job: Job) -> int:
        for number in range(1000):
            job.at(number / 1000, "counting")
            go_on.wait(0.01)
        return 1000

    job = jobs.begin("backup", "copy", counts)
    with pytest.raises(KioskBusyError):
        jobs.begin("doctor", "look", lambda _: None)
    assert told.wait(5)
    assert job.step == "counting"
    jobs.stop("backup")
    _wait(job)
    assert (job.stopped, job.result, job.error) == (True, None, None)

    def fails(job: Job) -> None:
        raise RecordsError("the disk says no")

    failed = jobs.begin("backup", "copy", fails)
    _wait(failed)
    assert isinstance(failed.error, RecordsError)
    done = jobs.begin("doctor", "look", lambda _: "good")
    _wait(done)
    assert done.result == "good"
    assert jobs.of("backup") is failed
    jobs.put_away("backup")
    assert jobs.of("backup") is None
    jobs.close()


def _wait(job: Job) -> None:
    until = time.monotonic() + 5
    while not job.ended:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_the_page_of_an_area_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with open_area(tmp_path / "records", monkeypatch, Notes()) as (_, browser, _app):
            text = (await browser.get("/")).text
            assert re.search(r'data-screen="results"', text)
            assert re.search(r'class="where">Results<', text)

    asyncio.run(run())
