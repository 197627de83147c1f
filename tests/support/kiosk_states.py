"""The pages of the kiosk's states, each rendered once, without a camera and without waiting.

What a state needs is told to the kiosk as its camera, its process and its people would tell it; the
pages are asked for as a browser does.
"""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

import httpx
import pytest

from edgehemo.bundle.bundle import Bundle
from edgehemo.device.configuration import load_profile
from edgehemo.errors import BundleError
from edgehemo.images.frame import Frame
from edgehemo.kiosk import events
from edgehemo.kiosk.app import KioskApp
from edgehemo.kiosk.engine import Kiosk
from edgehemo.kiosk.engineering.artefacts import ArtefactsArea
from edgehemo.kiosk.engineering.calibration import CalibrationArea
from edgehemo.kiosk.engineering.equipment import EquipmentArea
from edgehemo.kiosk.faults import FAULT_CODES, FAULTS, TOLD_AT_SIGN_IN
from edgehemo.kiosk.gallery import stored_gallery
from edgehemo.kiosk.offers import AREAS_WITH_PAGES
from edgehemo.kiosk.pages import Facts, Look, Pages
from edgehemo.kiosk.practice_slides import SlideName
from edgehemo.kiosk.screens import Area, areas_of
from edgehemo.kiosk.selfcheck import ORDER, SELF_CHECK_CODES
from edgehemo.kiosk.state import Checked, Sample
from edgehemo.published.state import Published, PublishedStore
from edgehemo.published.terms import FAILED, Standing
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Writer
from edgehemo.records.users import Role
from edgehemo.records.versions import change
from edgehemo.report.asked_cells import must_be_seen
from edgehemo.words.language import Words
from tests.device.test_kiosk_calibration import MEASURES, camera_at, commands
from tests.device.test_kiosk_equipment import AT_FIRST, camera_of
from tests.device.test_kiosk_page import does, served, token_of
from tests.device.test_kiosk_review import FINDER
from tests.support.engineer_page import engineer_at
from tests.support.screening_fakes import simulated_frames
from tests.support.stored import stored
from tests.support.supervised import device_of, identifiers, links_of, measured, posted, working

Found = dict[str, str]
# A JPEG file is not read where nobody looks at it.
NO_PICTURE = b""
# Of one kind of page, such as a result's cells or a setting of a camera, so many are looked at.
OF_ONE_KIND = 2
JOB_S = 60.0


def hand(kiosk: Kiosk) -> Sample:
    assert kiosk.state.sample is not None
    return kiosk.state.sample


async def flow_states(folder: Path) -> Found:
    """What whoever takes samples meets: each screen, each fault, practice. Records below folder."""
    found: Found = {}
    frames = simulated_frames(FINDER, count=2)
    async with served(folder) as (kiosk, browser):

        async def seen(name: str) -> httpx.Response:
            page = await browser.get("/")
            found[name] = page.text
            return page

        page = await seen("sign in")
        found["no such page"] = (await browser.get("/nowhere")).text
        await does(browser, page, "chooseuser", name="amina")
        page = await seen("PIN")
        for n in range(4):
            page = await browser.post("/pin", data={"token": token_of(page), "pin": "1111"})
            found[f"PIN, {n + 1} wrong"] = page.text
        await kiosk.tell(events.OtherUser())
        for code in sorted(TOLD_AT_SIGN_IN):
            await kiosk.tell(events.FaultSeen(code))
            await seen(f"sign in, {code}")
        page = await does(browser, await browser.get("/"), "chooseuser", name="grace")
        page = await browser.post("/pin", data={"token": token_of(page), "pin": "4071"})
        found["told at sign-in"] = page.text
        await kiosk.tell(events.GoOn())
        await seen("home of a supervisor")
        await _sample_states(kiosk, browser, frames, found)
        await _practice_states(kiosk, browser, found)
        browser.cookies.clear()
        await seen("watched")
        await kiosk.tell(events.Lock())
        await seen("locked, at another screen")
    pages, look = Pages(load_profile("workstation")), Look(Words("en"))
    facts = Facts(False, datetime.now().astimezone(), clock_set=False, full=None)
    found["the token, wrong"] = pages.token_page(look, facts, 0, wrong=True)
    found["the token, wait"] = pages.token_page(look, facts, 30, wrong=False)
    return found


async def _sample_states(
    kiosk: Kiosk, browser: httpx.AsyncClient, frames: list[Frame], found: Found
) -> None:
    async def seen(name: str) -> httpx.Response:
        page = await browser.get("/")
        found[name] = page.text
        return page

    await kiosk.tell(events.NewSample())
    page = await seen("number")
    found["number, refused"] = (await does(browser, page, "givenumber", number="?")).text
    await kiosk.tell(events.GiveNumber("26-0417"))
    page = await seen("person")
    refused = await does(browser, page, "giveperson", age_years="2", sex="female", pregnant="3")
    found["person, refused"] = refused.text
    await kiosk.tell(events.AskAbandon())
    page = await seen("abandon")
    found["abandon, refused"] = (await does(browser, page, "abandon", reason="other")).text
    await kiosk.tell(events.Back())
    await kiosk.tell(events.GivePerson(40, "female", 0))
    await seen("check")
    for n, codes in enumerate(_in_groups(SELF_CHECK_CODES, len(ORDER))):
        await kiosk.tell(events.CheckAgain())
        lines = tuple(
            Checked(name=name, verdict=("fails", "soon", "unset")[(n + at) % 3], code=code,
                    blocks=at == 0, fact="38 %")
            for at, (name, code) in enumerate(zip(ORDER, codes, strict=False))
        )  # fmt: skip
        await kiosk.tell(events.SelfChecked(lines))
        await seen(f"check, answered {n + 1}")
    await kiosk.tell(events.CheckAgain())
    await kiosk.tell(events.SelfChecked(tuple(Checked(name=n, verdict="good") for n in ORDER)))
    await seen("check, all good")
    await kiosk.tell(events.StartCapture())
    await seen("capture begins")
    done = stored(kiosk.writer, frames, FINDER, "26-0417")
    assert done is not None
    ref = hand(kiosk).ref
    await kiosk.tell(events.SampleBegun(ref, done.result_id))
    await kiosk.tell(events.FieldRead(ref, 2, 1, 240))
    kiosk.show_field(0, True, "", NO_PICTURE)
    kiosk.show_field(1, False, "OUT_OF_FOCUS", NO_PICTURE)
    await seen("capture")
    for code in FAULT_CODES:
        await kiosk.tell(events.FaultSeen(code))
        await seen(f"fault {code}")
        await kiosk.tell(events.FaultCleared(code))
    await kiosk.tell(events.WorkerEnded())
    await seen("fault, tried again")
    await kiosk.tell(events.FaultCleared("WORKER_CRASHED"))
    await kiosk.tell(events.Leave())
    await seen("home with a sample that waits")
    await kiosk.tell(events.TakeUp(ref))
    await kiosk.tell(events.EnoughFields(ref))
    await seen("analysis")
    cells = stored_gallery(kiosk.writer, done.result_id).cells
    must = must_be_seen(cells)
    await kiosk.tell(events.Analysed(ref, "reported", len(cells), must))
    await seen("result")
    await kiosk.tell(events.OpenReview())
    await seen("review")
    await kiosk.tell(events.ShowCell(0))
    await seen("one cell")
    await kiosk.tell(events.ReviewOne(0, "parasite"))
    await kiosk.tell(events.Back())
    await seen("review, one cell named")
    while hand(kiosk).to_review:
        await kiosk.tell(events.ConfirmPage(hand(kiosk).page))
    await kiosk.tell(events.OpenSignOff())
    page = await seen("sign off")
    found["sign off, refused"] = (await does(browser, page, "sign", grade="severe")).text
    change(kiosk.writer, done.result_id, "signed", by="amina")
    await kiosk.tell(events.Signed(ref))
    await seen("done")
    for code in FAULT_CODES:
        if FAULTS[code].stops == "one_thing":
            await kiosk.tell(events.FaultSeen(code))
            await seen(f"fault {code}, of a signed result")
            await kiosk.tell(events.FaultCleared(code))
    change(kiosk.writer, done.result_id, "held", by="grace", reason="a second look")
    await seen("done, held meanwhile")
    await kiosk.tell(events.Finish())


async def _practice_states(kiosk: Kiosk, browser: httpx.AsyncClient, found: Found) -> None:
    async def seen(name: str) -> None:
        found[f"practice: {name}"] = (await browser.get("/")).text

    gallery = stored_gallery(kiosk.writer, identifiers(kiosk.writer)[-1])
    practised: dict[SlideName, Literal["reported", "withheld"]] = {
        "cells": "reported",
        "out_of_focus": "withheld",
    }
    for slide, outcome in practised.items():
        await kiosk.tell(events.OpenPractice())
        await seen("slides")
        await kiosk.tell(events.NewSample(slide))
        await seen(f"{slide}, person")
        await kiosk.tell(events.GivePerson(32, "female", 0))
        await kiosk.tell(events.SelfChecked(()))
        await seen(f"{slide}, check")
        await kiosk.tell(events.StartCapture())
        await seen(f"{slide}, capture")
        ref = hand(kiosk).ref
        await kiosk.tell(events.FieldRead(ref, 1, 1, 120))
        await kiosk.tell(events.EnoughFields(ref))
        kiosk.keep_practice(ref, gallery)
        must = must_be_seen(gallery.cells)
        await kiosk.tell(events.Analysed(ref, outcome, len(gallery.cells), must))
        await seen(f"{slide}, result")
        await kiosk.tell(events.OpenReview())
        await seen(f"{slide}, review")
        await kiosk.tell(events.ShowCell(0))
        await kiosk.tell(events.ReviewOne(0, "stain_deposit"))
        await kiosk.tell(events.Back())
        while hand(kiosk).to_review:
            await kiosk.tell(events.ConfirmPage(hand(kiosk).page))
        await kiosk.tell(events.OpenSignOff())
        await seen(f"{slide}, sign off")
        kiosk.keep_drawn(ref, {0: None})
        await kiosk.tell(events.Signed(ref))
        await seen(f"{slide}, what was right")
        await kiosk.tell(events.Finish())


def _in_groups(codes: tuple[str, ...], of: int) -> list[tuple[str, ...]]:
    return [codes[at : at + of] for at in range(0, len(codes), of)]


async def area_states(folder: Path, role: Role) -> Found:
    """Every kind of page that a link leads to in each area of a role, and what is done there."""
    found: Found = {}
    with Writer(RecordsFolder.below(device_of(folder).data_dir)) as writer:
        known = [measured(writer, f"26-04{n:02}", 70.0 + 20 * n) for n in range(3)]
        measured(writer, "26-0490", None)
        change(writer, known[0], "signed", by="amina")
    areas = [area for area in areas_of(role) if area in AREAS_WITH_PAGES]
    async with working(folder, areas[0], role) as (app, browser):
        for area in areas:
            if app.kiosk.state.place != area:
                await app.kiosk.tell(events.OpenArea(area))
            await _walk(browser, area, found)
            if area == "results":
                await posted(browser, area, f"{known[0]}/hold", reason="other", words="a look")
                page = await browser.get(f"/area/{area}/{known[0]}")
                found["results, held"] = page.text
                page = await posted(browser, area, f"{known[1]}/hold", reason="other", words="")
                found["results, refused"] = page.text
            if area == "monitoring":
                page = await posted(browser, area, "analyser/add", sample="?", hgb="x")
                found["monitoring, refused"] = page.text
            if area == "users":
                page = await posted(browser, area, "add", name="", role="operator", pin="1")
                found["users, refused"] = page.text
            if area == "backup":
                await _backup_states(app, browser, found)
            if area == "updates":
                await _update_states(app, browser, found)
            await app.kiosk.tell(events.Leave())
    return found


async def _backup_states(app: KioskApp, browser: httpx.AsyncClient, found: Found) -> None:
    """With a stick, while it is written to and afterwards."""
    assert app.device.kiosk.stick is not None
    Path(app.device.kiosk.stick).mkdir()
    found["backup, a stick is there"] = (await browser.get("/area/backup/")).text
    found["backup, is made"] = (await posted(browser, "backup", "start")).text
    async with asyncio.timeout(JOB_S):
        while (job := app.desk.jobs.of("backup")) is not None and not job.ended:
            await asyncio.sleep(0.02)
    found["backup, made"] = (await browser.get("/area/backup/")).text
    found["backup, put away"] = (await posted(browser, "backup", "done")).text


async def _update_states(app: KioskApp, browser: httpx.AsyncClient, found: Found) -> None:
    """With something of each standing, the newest of them shown."""
    store = PublishedStore(app.device.data_dir)
    for serial, standing in enumerate(get_args(Standing), start=1):
        item = Published(
            sha256=f"{serial:064x}", kind="bundle", name="spring", serial=serial, bytes=1,
            origin="laboratory", standing=standing, signed_by="laboratory (0a)",
            words="what the program said of it" if standing in FAILED else "",
        )  # fmt: skip
        store.note(item)
        page = await browser.get(f"/area/updates/?of={item.sha256}")
        found[f"updates, {standing}"] = page.text


async def camera_states(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Found:
    """An engineer's pages with a camera: its settings, a measurement to its end, and refused."""
    found: Found = {}
    async with engineer_at(folder / "equipment", monkeypatch, EquipmentArea()) as at:
        _, says = camera_of(at)
        await at.get()
        await asyncio.sleep(0)
        says(AT_FIRST)
        found["camera, live"] = (await at.get()).text
        found["settings"] = (await at.get("settings")).text
        found["a setting typed"] = (await at.get("value?name=red_gain")).text
        found["a setting tried"] = (await at.post("try", name="exposure_us", way="up")).text
        found["a setting refused"] = (await at.post("type", name="gain", value="99999")).text
    commands(monkeypatch, MEASURES)
    async with engineer_at(folder / "calibration", monkeypatch, CalibrationArea()) as at:
        camera_at(at)
        found["scale, begun"] = (await at.post("scale/begin", pitch_um="50")).text
        await at.post("scale/take")
        await at.job_ends()
        found["scale, one taken"] = (await at.get("scale/take")).text
        found["scale, is measured"] = (await at.post("scale/measure")).text
        await at.job_ends()
        found["scale, measured"] = (await at.get("scale/result")).text
        await at.post("scale/again")
        camera_at(at, "it was pulled")
        await at.post("scale/take")
        await at.job_ends()
        found["scale, camera pulled"] = (await at.get("scale/take")).text
        await at.post("scale/leave")

    def refuses(bundle: Bundle, *, threads: int) -> list[object]:
        raise BundleError("finder: answers otherwise than where it was made")

    monkeypatch.setattr("edgehemo.kiosk.engineering.artefacts.verify_artefacts", refuses)
    async with engineer_at(folder / "artefacts", monkeypatch, ArtefactsArea()) as at:
        found["bundle, is checked"] = (await at.post("bundle/check")).text
        await at.job_ends()
        found["bundle, failed"] = (await at.get("job")).text
    return found


async def _walk(browser: httpx.AsyncClient, area: Area, found: Found) -> None:
    """Follow the links of an area, breadth first."""
    kinds: dict[str, int] = {}
    to_see, known = [f"/area/{area}/"], {f"/area/{area}/"}
    while to_see:
        address = to_see.pop(0)
        page = await browser.get(address)
        if not page.headers["content-type"].startswith("text/html"):
            continue
        found[address] = page.text
        for link in links_of(page):
            kind = _kind(link)
            if link in known or urlsplit(link).path.split("/")[2] != area:
                continue
            known.add(link)
            kinds[kind] = kinds.get(kind, 0) + 1
            if kinds[kind] <= OF_ONE_KIND:
                to_see.append(link)


def _kind(link: str) -> str:
    """What kind of page an address leads to: without identifiers, numbers and chosen values."""
    parts = urlsplit(link)
    path = re.sub(r"/(of|known)/[^/]+|/[^/]*\d[^/]*", r"/\1N", parts.path)
    # The list to which the way back leads is no other page.
    asked = {each.partition("=")[0] for each in parts.query.split("&")} - {"list"}
    return f"{path}?{' '.join(sorted(asked))}"
