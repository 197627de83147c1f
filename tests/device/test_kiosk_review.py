"""The review at the kiosk: which cells are asked of, what becomes of each word, what is refused."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from edgehemo.bundle.bundle import load_bundle
from edgehemo.cells.cell import Cell, FieldCells
from edgehemo.errors import RecordsError
from edgehemo.field.canonical import CanonicalField
from edgehemo.images.frame import Frame
from edgehemo.kiosk import effects, events
from edgehemo.kiosk.engine import Kiosk
from edgehemo.kiosk.events import PERSON_EVENTS
from edgehemo.kiosk.gallery import Gallery, practice_gallery, stored_gallery
from edgehemo.kiosk.offers import AREAS_WITH_PAGES, OFFERED, is_offered
from edgehemo.kiosk.screens import AREAS, SCREENS, areas_of
from edgehemo.kiosk.state import screen_of
from edgehemo.records.results import result_of
from edgehemo.records.reviews import reviews_of
from edgehemo.records.versions import amendments_of
from edgehemo.report.asked_cells import (
    INCLUSION_TYPES,
    MOST_RED,
    SAYABLE,
    TYPES_OF_KIND,
    asked_cells,
    must_be_seen,
)
from edgehemo.words.cell_names import cell_name
from edgehemo.words.language import LANGUAGES, Words
from tests.device.test_kiosk_page import HERE, does, served, token_of
from tests.support.screening_fakes import TruthFinder, simulated_frames
from tests.support.stored import stored

PIN = "2580"
TEMPLATES = Path(__file__).parents[2] / "edgehemo" / "kiosk" / "templates"


class NamingFinder(TruthFinder):
    """Names the drawn cells: the first red ones hold an inclusion, the next have no name."""

    def find(self, field: CanonicalField) -> FieldCells:
        found = super().find(field)
        cells: list[Cell] = []
        for place, cell in enumerate(found.cells):
            named = replace(cell, kind="rbc", type="normal", type_score=0.9)
            if place < 10:
                named = replace(named, inclusion=True)
            elif place % 2:
                named = replace(named, type="uncertain", type_score=0.5 - place / 1000)
            cells.append(named)
        return replace(found, cells=tuple(cells))


FINDER = NamingFinder()


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return simulated_frames(FINDER, count=2)


async def at_result(
    kiosk: Kiosk, browser: httpx.AsyncClient, frames: list[Frame]
) -> httpx.Response:
    """A page that shows a result that was just stored."""
    page = await does(browser, await browser.get("/"), "chooseuser", name="amina")
    page = await browser.post("/pin", data={"token": token_of(page), "pin": PIN})
    page = await does(browser, page, "newsample")
    page = await does(browser, page, "givenumber", number="26-0417")
    await does(browser, page, "giveperson", age_years="40", sex="female", pregnant="0")
    done = stored(kiosk.writer, frames, FINDER, "26-0417")
    assert done is not None
    cells = stored_gallery(kiosk.writer, done.result_id).cells
    await kiosk.tell(events.SelfChecked(()))
    await kiosk.tell(events.StartCapture())
    await kiosk.tell(events.SampleBegun(1, done.result_id))
    await kiosk.tell(events.EnoughFields(1))
    await kiosk.tell(events.Analysed(1, "reported", len(cells), must_be_seen(cells)))
    return await browser.get("/")


def items_of(page: httpx.Response) -> list[int]:
    return [
        int(each)
        for each in re.findall(r'<button class="cell[^"]*" name="item" value="(\d+)"', page.text)
    ]


def test_a_result_is_reviewed_and_signed_by_touch(tmp_path: Path, frames: list[Frame]) -> None:
    async def run() -> None:
        async with served(tmp_path / "records") as (kiosk, browser):
            page = await at_result(kiosk, browser, frames)
            sample = kiosk.state.sample
            assert sample is not None
            assert sample.taking is not None
            must = sample.must
            assert must >= 10
            assert f"Look at {must} cells" in page.text
            assert 'value="opensignoff"' not in page.text
            page = await does(browser, page, "opensignoff")
            assert page.status_code == 409
            assert "Look at the cells of the findings first" in page.text
            page = await does(browser, page, "openreview")
            assert items_of(page) == list(range(8))
            assert "Many red cells hold inclusions" in page.text
            picture = await browser.get("/cell/1/0.jpg")
            assert picture.status_code == 200
            decoded = cv2.imdecode(np.frombuffer(picture.content, np.uint8), cv2.IMREAD_COLOR)
            assert decoded is not None
            assert float(decoded.std()) > 2
            for gone in ("/cell/1/9999.jpg", "/cell/2/0.jpg", "/cell/1/x.jpg"):
                assert (await browser.get(gone)).status_code == 404
            page = await does(browser, page, "showcell", item="3")
            assert "What is this cell?" in page.text
            for name in INCLUSION_TYPES:
                assert f'value="{name}"' in page.text
            page = await does(browser, page, "reviewone", item="3", type="parasite")
            assert "What is this cell?" in page.text
            page = await does(browser, page, "reviewone", item="4", type="uncertain")
            page = await does(browser, page, "reviewone", item="5", type="not_a_cell")
            page = await does(browser, page, "reviewone", item="6")
            page = await does(browser, page, "back")
            # The grid says what a person said, not what the program had said.
            for shown in ("left open", "Not a cell"):
                assert f'<span class="cell-name">{shown}</span>' in page.text
            while 'value="confirmpage"' in page.text:
                now = kiosk.state.sample
                assert now is not None
                page = await does(browser, page, "confirmpage", page=str(now.page))
            number = result_of(kiosk.writer, sample.taking).number
            kept = reviews_of(kiosk.writer, number)
            assert len(kept) == must
            said = [each.verdict for each in kept]
            assert said == [
                "renamed", "unsure", "not a cell", *(["confirmed"] * (must - 3)),
            ]  # fmt: skip
            assert {each.by for each in kept} == {"amina"}
            assert kiosk.state.sample is not None
            assert kiosk.state.sample.to_review == 0
            page = await does(browser, page, "opensignoff")
            assert 'data-screen="sign_off"' in page.text
            page = await does(browser, page, "sign", grade="severe")
            assert page.status_code == 409
            assert "Say why in a few words" in page.text
            assert "Haemoglobin was measured" in page.text

    asyncio.run(run())


def test_a_word_on_a_cell_is_there_after_a_power_cut(tmp_path: Path, frames: list[Frame]) -> None:
    async def run() -> None:
        async with served(tmp_path / "records") as (kiosk, browser):
            page = await at_result(kiosk, browser, frames)
            page = await does(browser, page, "openreview")
            page = await does(browser, page, "showcell", item="1")
            await does(browser, page, "reviewone", item="1", type="stain_deposit")
        async with served(tmp_path / "records") as (kiosk, browser):
            page = await browser.get("/")
            page = await browser.post("/pin", data={"token": token_of(page), "pin": PIN})
            assert "What is this cell?" in page.text
            sample = kiosk.state.sample
            assert sample is not None
            assert (sample.seen, sample.open_cell) == ((1,), 2)
            assert [each.type for each in reviews_of(kiosk.writer)] == ["stain_deposit"]
            assert (await browser.get("/cell/1/2.jpg")).status_code == 200

    asyncio.run(run())


def test_a_word_that_cannot_be_stored_changes_nothing(
    tmp_path: Path, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise RecordsError("cannot be written")

    async def run() -> None:
        async with served(tmp_path / "records") as (kiosk, browser):
            page = await at_result(kiosk, browser, frames)
            page = await does(browser, page, "openreview")
            page = await does(browser, page, "showcell", item="0")
            with monkeypatch.context() as patched:
                patched.setattr("edgehemo.kiosk.engine.review", full)
                refused = await does(browser, page, "reviewone", item="0", type="parasite")
            assert refused.status_code == 503
            assert "Nothing was changed" in refused.text
            assert kiosk.state.sample is not None
            assert kiosk.state.sample.seen == ()
            page = await does(browser, refused, "reviewone", item="0", type="parasite")
            assert page.status_code == 200
            assert len(reviews_of(kiosk.writer)) == 1

    asyncio.run(run())


def test_signing_takes_in_the_names_and_the_changed_grade(
    tmp_path: Path, frames: list[Frame]
) -> None:
    from edgehemo.device.configuration import load_profile
    from edgehemo.kiosk.work import WorkerProcess

    async def run() -> None:
        async with served(tmp_path / "records") as (kiosk, browser):
            await at_result(kiosk, browser, frames)
            sample = kiosk.state.sample
            assert sample is not None
            assert sample.taking is not None
            work = WorkerProcess(kiosk, load_profile("workstation"), "simulated:")
            await kiosk.tell(events.OpenReview())
            await kiosk.tell(events.ShowCell(0))
            await kiosk.tell(events.ReviewOne(0, "parasite"))
            await kiosk.tell(events.Back())
            while kiosk.state.sample is not None and kiosk.state.sample.to_review:
                await kiosk.tell(events.ConfirmPage(kiosk.state.sample.page))
            await kiosk.tell(events.OpenSignOff())
            signed = effects.SignResult(1, "severe", "measured", "amina")
            work.begin(signed, kiosk.state)
            await asyncio.gather(*kiosk._tasks)
            assert screen_of(kiosk.state) == "done"
            version = result_of(kiosk.writer, sample.taking).latest
            assert (version.state, version.by, version.reason) == ("signed", "amina", "measured")
            amendments = amendments_of(version)
            assert amendments.override is not None
            assert amendments.override.grade == "severe"
            assert [each.type for each in amendments.cells] == ["parasite"]
            page = await browser.get("/")
            assert "Severe anaemia" in page.text
            assert "set by a person" in page.text
            assert "Refer the person today." in page.text

    asyncio.run(run())


def test_forged_words_on_cells_are_refused_and_end_in_no_fault(
    tmp_path: Path, frames: list[Frame]
) -> None:
    async def run() -> None:
        async with served(tmp_path / "records") as (kiosk, browser):
            page = await at_result(kiosk, browser, frames)
            page = await does(browser, page, "openreview")
            before = kiosk.version
            huge = str(10**30)
            for do, values in (
                ("reviewone", {"item": "0", "type": "parasite"}),
                ("showcell", {"item": "-1"}),
                ("showcell", {"item": huge}),
                ("showcell", {}),
                ("turnpage", {"page": huge}),
                ("turnpage", {"page": "x"}),
                ("confirmpage", {"page": "1"}),
                ("confirmpage", {"page": huge}),
                ("opensignoff", {}),
                ("finish", {}),
                ("takeup", {"ref": "1"}),
            ):
                answer = await does(browser, page, do, **values)
                assert answer.status_code == 409, (do, values)
                assert 'data-screen="review"' in answer.text
            assert kiosk.version == before
            assert reviews_of(kiosk.writer) == []
            for path in (f"/cell/1/{huge}.jpg", "/cell/1/-1.jpg", f"/cell/{huge}/0.jpg"):
                assert (await browser.get(path)).status_code == 404
            other = httpx.AsyncClient(transport=browser._transport, base_url=HERE)
            assert (await other.get("/cell/1/0.jpg")).status_code == 404
            await does(browser, page, "leave")
            assert (await browser.get("/cell/1/0.jpg")).status_code == 404

    asyncio.run(run())


# -- which cells ----------------------------------------------------------------------------------


def entry(kind: str, type: str, score: float | None, x: float) -> dict[str, Any]:
    return {"kind": kind, "type": type, "type_score": score, "x0": x, "y0": 20.0, "x1": x + 10,
            "y1": 30.0}  # fmt: skip


def a_record(cells: list[dict[str, Any]], findings: list[dict[str, Any]]) -> dict[str, Any]:
    checks = [
        {"verdict": "warn", "code": "STAIN_COLOUR"},
        {"verdict": "fail", "code": "OUT_OF_FOCUS"},
    ]
    refused = {"cells": None, "width": 400, "height": 300, "accepted": False, "checks": checks}
    shown = {"cells": cells, "width": 400, "height": 300, "accepted": True, "checks": []}
    return {"images": [refused, shown], "sample": {"findings": findings}, "anaemia": None}


def test_findings_come_first_then_white_then_a_bounded_number_of_red_cells() -> None:
    cells = [
        entry("rbc", "uncertain", 0.4, 10.0),
        entry("wbc", "uncertain", 0.4, 30.0),
        entry("wbc", "myeloblast", 0.9, 50.0),
        entry("rbc", "uncertain", 0.3, 70.0),
        entry("wbc", "uncertain", 0.6, 0.5),
        entry("wbc", "uncertain", None, 90.0),
        entry("platelet", "uncertain", 0.4, 110.0),
        *(entry("rbc", "uncertain", 0.5, 120.0 + n) for n in range(MOST_RED)),
    ]
    place = {key: cells[2][key] for key in ("x0", "y0", "x1", "y1")}
    unknown = {**place, "x0": 1.0}
    finding = {"code": "BLASTS_SEEN", "cells": [{"image": 1, **place}, {"image": 1, **unknown}]}
    both = {"code": "ERYTHROBLASTS_SEEN", "cells": [{"image": 1, **place}]}
    asked = asked_cells(a_record(cells, [finding, both]))
    assert [each.cell for each in asked[:4]] == [2, 1, 3, 0]
    assert asked[0].codes == ("BLASTS_SEEN", "ERYTHROBLASTS_SEEN")
    assert must_be_seen(asked) == 1
    assert len(asked) == 2 + MOST_RED
    assert asked[0].choices == TYPES_OF_KIND["wbc"]


def test_every_name_of_the_shipped_classifiers_can_be_said_in_every_language() -> None:
    for entry_ in load_bundle().manifest.models:
        if entry_.task in ("morphology", "nucleated"):
            assert set(entry_.classes) <= SAYABLE
    for language in LANGUAGES:
        names = [cell_name(Words(language), each) for each in sorted(SAYABLE)]
        assert len(set(names)) == len(names), language
        assert all("_" not in name for name in names)
    assert cell_name(Words("en"), "band_form") == "band form"
    # Three columns of five large targets beside the picture.
    assert max(len(each) for each in TYPES_OF_KIND.values()) <= 15


def test_pictures_of_practice_are_cut_from_what_was_kept_of_it() -> None:
    pixels = np.zeros((300, 400, 3), np.uint8)
    pixels[20:30, 50:60] = (250, 0, 0)
    data = cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()
    record = a_record([entry("wbc", "uncertain", 0.4, 50.0)], [])
    cut = practice_gallery(record, {1: data}).picture(0)
    decoded = cv2.imdecode(np.frombuffer(cut, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert decoded[56, 56, 2] > 200 > decoded[56, 56, 0]
    with pytest.raises(RecordsError, match="not kept"):
        practice_gallery(record, {}).picture(0)


def test_a_gallery_knows_why_fields_were_refused() -> None:
    record = a_record([], [])
    record["images"] += [record["images"][0], {"error": "cannot be read"}]
    gallery = practice_gallery(record, {})
    assert gallery.refusals == (("OUT_OF_FOCUS", 2), ("FIELD_UNREADABLE", 1))


def test_a_field_is_decoded_once_for_all_its_cells() -> None:
    asked_for: list[int] = []

    def pixels(field: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        asked_for.append(field)
        return np.full((300, 400, 3), 90, np.uint8)

    cells = [entry("wbc", "uncertain", 0.4, 30.0 * n + 20) for n in range(5)]
    gallery = Gallery(a_record(cells, []), pixels)
    for item in range(5):
        gallery.picture(item)
    assert asked_for == [1]


# -- what is offered, and pages that are not there ------------------------------------------------


def test_the_table_of_offers_is_that_of_the_templates() -> None:
    by_name = {kind.__name__.lower(): kind for kind in PERSON_EVENTS}
    for screen, offered in OFFERED.items():
        pages = (TEMPLATES / f"{name}.html.j2" for name in (screen, f"practice_{screen}"))
        source = "".join(each.read_text("utf-8") for each in pages if each.is_file())
        named = set(re.findall(r'(?:act|hidden)\("([a-z]+)"', source))
        assert {by_name[name] for name in named} == offered, screen


def test_what_no_page_offers_is_refused_with_the_page_that_is(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path / "records") as (kiosk, browser):
            page = await does(browser, await browser.get("/"), "chooseuser", name="grace")
            page = await browser.post("/pin", data={"token": token_of(page), "pin": "4071"})
            before = kiosk.version
            for area in AREAS:
                if area in AREAS_WITH_PAGES and area in areas_of("supervisor"):
                    continue
                answer = await does(browser, page, "openarea", area=area)
                assert answer.status_code == 409
                assert 'data-screen="home"' in answer.text
            for forged in ("openresult", "print", "reviewone", "signed", "restarted", ""):
                answer = await does(browser, page, forged, result="4k7q", item="0")
                assert answer.status_code == 409, forged
                assert 'data-screen="home"' in answer.text
            assert kiosk.version == before
            assert not is_offered(kiosk.state, events.Print())

    asyncio.run(run())


def test_a_state_without_a_page_is_told_in_words_and_has_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgehemo.kiosk.app.areas_with_pages", dict)

    async def run() -> None:
        async with served(tmp_path / "records") as (kiosk, browser):
            page = await does(browser, await browser.get("/"), "chooseuser", name="grace")
            await browser.post("/pin", data={"token": token_of(page), "pin": "4071"})
            without = [screen for screen in SCREENS if screen not in OFFERED]
            for area in (each for each in AREAS if each in without):
                role_fits = area in ("results", "monitoring", "users", "backup")
                if not role_fits:
                    continue
                await kiosk.tell(events.OpenArea(area))
                page = await browser.get("/")
                assert page.status_code == 200
                assert "This page is not there yet" in page.text
                page = await does(browser, page, "leave")
                assert 'data-screen="home"' in page.text

    asyncio.run(run())


def test_a_result_that_cannot_be_read_is_told_in_words(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path / "records") as (kiosk, browser):
            page = await does(browser, await browser.get("/"), "chooseuser", name="amina")
            page = await browser.post("/pin", data={"token": token_of(page), "pin": PIN})
            page = await does(browser, page, "newsample")
            page = await does(browser, page, "givenumber", number="26-0417")
            await does(browser, page, "giveperson", age_years="40", sex="female", pregnant="0")
            for event in (
                events.SelfChecked(()),
                events.StartCapture(),
                events.SampleBegun(1, "4k7q-f3m2-x9ab-c0de"),
                events.EnoughFields(1),
                events.Analysed(1, "reported", 9, 9),
            ):
                await kiosk.tell(event)
            page = await browser.get("/")
            assert page.status_code == 200
            assert "RECORDS_REFUSED" in page.text
            page = await does(browser, page, "leave")
            assert 'data-screen="home"' in page.text

    asyncio.run(run())
