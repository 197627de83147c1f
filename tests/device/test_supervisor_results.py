"""The supervisor's results: found, looked at, compared, changed for a reason, and by no others."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgehemo.device.printing import PrintJob
from edgehemo.kiosk import events
from edgehemo.kiosk.not_released import not_released
from edgehemo.kiosk.supervision.history import history_of
from edgehemo.kiosk.supervision.reasons import REASONS, deed_reason_name, reason_in_words
from edgehemo.kiosk.supervision.result_list import asking
from edgehemo.kiosk.supervision.result_page import CHANGE_OF, DEEDS
from edgehemo.records.audit import entries
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.results import Change, result_at, result_of
from edgehemo.records.reviews import review, reviews_of
from edgehemo.records.search import Search, found_count, operators, search
from edgehemo.records.store import Writer
from edgehemo.records.users import Role
from edgehemo.records.versions import CHANGES, Amendments, Override, change
from edgehemo.words.language import Words
from tests.device.test_kiosk_page import does, token_of
from tests.support.supervised import device_of, links_of, measured, posted, working

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
EN = Words("en")


def filled(folder: Path) -> list[str]:
    """Six results: severe, mild, none, withheld, held, withdrawn; the second set to moderate."""
    with Writer(RecordsFolder.below(device_of(folder).data_dir)) as writer:
        made = [
            measured(writer, f"26-040{number}", hgb, made_at=NOW + timedelta(hours=number))
            for number, hgb in enumerate((60.0, 114.0, 140.0, None, 100.0, 90.0))
        ]
        override = Amendments(override=Override(grade="moderate"))
        change(writer, made[0], "signed", by="amina")
        change(writer, made[1], "corrected", by="grace", reason="measured", amendments=override)
        change(writer, made[4], "held", by="grace", reason="number_in_doubt")
        change(writer, made[5], "withdrawn", by="grace", reason="wrong_sample")
    return made


@pytest.fixture
def reader(tmp_path: Path) -> Writer:
    filled(tmp_path)
    return Writer(RecordsFolder.below(device_of(tmp_path).data_dir))


def test_results_are_found_by_what_they_say_now(reader: Writer) -> None:
    def numbers(**wanted: Any) -> list[int]:
        found = search(reader, Search(**wanted), limit=50)
        assert found_count(reader, Search(**wanted)) == len(found)
        return [each.listed.number for each in found]

    assert numbers() == [6, 5, 4, 3, 2, 1]
    assert numbers(number="0403") == [4]
    assert numbers(number="26-") == [6, 5, 4, 3, 2, 1]
    assert numbers(number="%") == []
    assert numbers(grade="severe") == [1]
    assert numbers(grade="moderate") == [6, 5, 2]
    assert numbers(grade="mild") == []
    assert numbers(grade="withheld") == [4]
    assert numbers(pile="to_sign") == [4, 3, 2]
    assert numbers(pile="held") == [5]
    assert numbers(state="withdrawn") == [6]
    assert numbers(overridden=True) == [2]
    assert numbers(operator="nobody") == []
    assert operators(reader) == ["amina"]
    assert numbers(since=NOW + timedelta(hours=4)) == [6, 5]
    assert numbers(until=NOW + timedelta(hours=1)) == [1]
    page = search(reader, Search(), limit=2, offset=2)
    assert [each.listed.number for each in page] == [4, 3]
    reader.close()


def test_a_failed_control_holds_what_nobody_answered_for_since(tmp_path: Path) -> None:
    with Writer(RecordsFolder(tmp_path)) as writer:
        one = measured(writer, "S-1", 120.0, profile_made_at=NOW)
        measured(writer, "S-2", 120.0)
        assert found_count(writer, Search(pile="held")) == 0
        entry = writer.entry("control recorded", by="grace")
        writer.connection.execute(
            "INSERT INTO control (profile_made_at, kind, slide, passed, at, content, audit) "
            "VALUES (?, 'check', 'C-1', 0, ?, '{}', ?)",
            (NOW.isoformat(), NOW.isoformat(), entry.number),
        )
        (held,) = search(writer, Search(pile="held"), limit=9)
        assert (held.listed.id, held.marked) == (one, True)
        change(writer, one, "held", by="grace", reason="control_failed")
        change(writer, one, "released", by="grace", reason="confirmed")
        assert found_count(writer, Search(pile="held")) == 0
        assert search(writer, Search(), limit=9)[1].marked, "the mark itself stays"


def test_an_address_says_what_is_looked_for_and_nothing_else() -> None:
    today = date(2026, 11, 27)
    wanted = asking({"number": " 041 ", "grade": "mild", "days": "7", "pile": "held"}, today)
    assert wanted.search.since is not None
    assert wanted.search.since.date() == date(2026, 11, 21)
    again = asking(dict(p.split("=") for p in wanted.query.split("&")), today)
    assert again == wanted
    wrong = {"page": "-1", "rows": "10000", "days": "x", "grade": "blue", "pile": "0", "state": "1"}
    assert asking(wrong, today).query == "rows=24"
    assert asking({}, today).query == ""


def test_the_list_has_pages_piles_and_what_was_found(tmp_path: Path) -> None:
    made = filled(tmp_path)

    async def run() -> None:
        async with working(tmp_path, "results") as (_, browser):
            page = await browser.get("/area/results/?rows=4")
            assert "1 to 4 of 6" in page.text
            assert "All 6" in page.text
            assert "To sign 3" in page.text
            assert "Held 1" in page.text
            for text in ("60", "(43–77)", "Moderate", "by a person", "Withheld"):
                assert text in (
                    page.text + (await browser.get("/area/results/?rows=4&page=2")).text
                )
            assert "5 to 6 of 6" in (await browser.get("/area/results/?rows=4&page=99")).text
            opened = next(link for link in links_of(page) if made[5] in link)
            assert "withdrew it" in (await browser.get(f"/area/results/{made[5]}/history")).text
            back = links_of(await browser.get(opened))
            assert "/area/results/?rows=4" in back
            nothing = await browser.get("/area/results/?number=zzz")
            assert "Nothing was found" in nothing.text
            assert (await browser.get("/area/results/search?grade=mild")).status_code == 200
            assert (await browser.get("/area/results/none/such")).status_code == 404
            assert (await browser.get(f"/area/results/{made[0]}/such")).status_code == 404

    asyncio.run(run())


def test_every_deed_is_done_with_a_reason_and_told_in_the_history(tmp_path: Path) -> None:
    made = filled(tmp_path)

    async def run() -> None:
        async with working(tmp_path, "results") as (app, browser):
            writer = app.kiosk.writer
            page = await posted(browser, "results", f"{made[2]}/sign")
            assert "Signed." in page.text
            assert result_of(writer, made[2]).latest.by == "grace"
            page = await posted(browser, "results", f"{made[2]}/hold")
            assert "Touch the reason" in page.text
            page = await posted(browser, "results", f"{made[2]}/hold", reason="other", words=" ")
            assert "Say why" in page.text
            assert 'value="other" checked' in page.text
            assert result_of(writer, made[2]).latest.state == "signed"
            said = {"reason": "other", "words": "label wet", "list": "pile=to_sign"}
            page = await posted(browser, "results", f"{made[2]}/hold", **said)
            assert "Held." in page.text
            assert "/area/results/?pile=to_sign" in links_of(page)
            assert "label wet" in page.text
            page = await posted(browser, "results", f"{made[2]}/release", reason="confirmed")
            assert result_of(writer, made[2]).latest.state == "signed"
            assert re.search(r"by grace, [^<]*\. Released by grace, ", page.text)
            page = await posted(browser, "results", f"{made[2]}/correct", reason="measured")
            assert "Touch the grade" in page.text
            said = {"reason": "measured", "grade": "severe"}
            page = await posted(browser, "results", f"{made[2]}/correct", **said)
            assert "Severe anaemia" in page.text
            assert "set by a person" in page.text
            page = await posted(browser, "results", f"{made[2]}/withdraw", reason="poor_smear")
            assert "Withdrawn." in page.text
            page = await posted(browser, "results", f"{made[2]}/withdraw", reason="poor_smear")
            assert "cannot be done" in page.text
            assert (
                "Nothing can be changed"
                in (await browser.get(f"/area/results/{made[2]}/change")).text
            )
            history = (await browser.get(f"/area/results/{made[2]}/history?rows=20")).text
            for text in ("Version 6", "grade set to Severe", "The smear is poor", "held it"):
                assert text in history

    asyncio.run(run())


def test_what_the_table_of_deeds_says_is_what_the_records_allow(tmp_path: Path) -> None:
    assert set(CHANGE_OF) == set(DEEDS) == set(REASONS)
    assert set(CHANGE_OF.values()) == set(CHANGES)
    for reasons in REASONS.values():
        for reason in reasons:
            assert deed_reason_name(EN, reason) != reason
    assert reason_in_words(EN, "other: wet label") == "wet label"
    assert reason_in_words(EN, "poor_smear: cracked") == "The smear is poor: cracked"
    assert reason_in_words(EN, "the lamp was off") == "the lamp was off"


def test_a_sample_that_is_worked_on_is_left_alone(tmp_path: Path) -> None:
    async def run() -> None:
        async with working(tmp_path, "results") as (app, browser):
            kiosk = app.kiosk
            await kiosk.tell(events.Leave())
            await kiosk.tell(events.NewSample())
            await kiosk.tell(events.GiveNumber("26-0417"))
            await kiosk.tell(events.GivePerson(40, "female", 0))
            await kiosk.tell(events.SelfChecked(()))
            await kiosk.tell(events.StartCapture())
            done = measured(kiosk.writer, "26-0417", 100.0)
            await kiosk.tell(events.SampleBegun(1, done))
            await kiosk.tell(events.EnoughFields(1))
            await kiosk.tell(events.Analysed(1, "reported", 0, 0))
            page = await does(browser, await browser.get("/"), "leave")
            await does(browser, page, "openarea", area="results")
            page = await browser.get(f"/area/results/{done}")
            assert "grace has not finished this sample" in page.text
            page = await posted(browser, "results", f"{done}/sign")
            assert "cannot be done" in page.text
            assert result_of(kiosk.writer, done).latest.state == "unsigned"

    asyncio.run(run())


def test_looking_is_noted_once_for_a_while(tmp_path: Path) -> None:
    made = filled(tmp_path)

    async def run() -> None:
        async with working(tmp_path, "results") as (app, browser):
            writer = app.kiosk.writer

            def looked() -> int:
                found = entries(writer.connection, subject=made[0])
                return sum(each.action == "result viewed" for each in found)

            await browser.get("/area/results/")
            assert looked() == 0
            for path in ("", "/history", "/fields", "/cells", ""):
                await browser.get(f"/area/results/{made[0]}{path}")
            assert looked() == 1
            later = writer.clock.read() + timedelta(minutes=16)
            object.__setattr__(writer.clock, "read", lambda: later)
            await browser.get(f"/area/results/{made[0]}")
            assert looked() == 2

    asyncio.run(run())


def test_pictures_of_fields_and_cells_and_those_that_are_gone(tmp_path: Path) -> None:
    made = filled(tmp_path)

    async def run() -> None:
        async with working(tmp_path, "results") as (app, browser):
            base = f"/area/results/picture/{made[0]}"
            for path, side in (("field/0.jpg", 320), ("cell/0.jpg", 112)):
                answer = await browser.get(f"{base}/{path}")
                assert answer.headers["content-type"] == "image/jpeg"
                picture = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
                assert picture is not None
                assert picture.shape[1] == side
            for path in ("field/9.jpg", "cell/9999.jpg", "cell/x.jpg", "field/0.png", "field"):
                assert (await browser.get(f"{base}/{path}")).status_code == 404
            assert (
                "Many red cells hold inclusions"
                in (await browser.get(f"/area/results/{made[0]}/cells")).text
            )
            stored = result_of(app.kiosk.writer, made[0]).fields[0].sha256
            assert stored is not None
            app.kiosk.writer.contents.place(stored).unlink()
            assert (await browser.get(f"{base}/field/0.jpg")).status_code == 404
            page = await browser.get(f"/area/results/{made[0]}/fields")
            assert "not kept any more" in page.text

    asyncio.run(run())


def test_two_results_stand_side_by_side(tmp_path: Path) -> None:
    made = filled(tmp_path)
    with Writer(RecordsFolder.below(device_of(tmp_path).data_dir)) as writer:
        again = measured(writer, "26-0400", 66.0)

    async def run() -> None:
        async with working(tmp_path, "results") as (_, browser):
            page = await browser.get(f"/area/results/{made[0]}/compare")
            first = next(link for link in links_of(page) if "with=" in link)
            assert again in first, "the same sample comes first"
            page = await browser.get(first)
            rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', page.text)
            said = {name: "the same" in cells for name, cells in rows if "unseen" in cells}
            assert said["HGB, g/L"]
            far = await browser.get(f"/area/results/{made[0]}/compare?with={made[2]}")
            rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', far.text)
            assert not {n: "the same" in c for n, c in rows if "unseen" in c}["HGB, g/L"]
            alone = await browser.get(f"/area/results/{made[0]}/compare?with={made[0]}")
            assert "Beside which result?" in alone.text

    asyncio.run(run())


def test_only_a_supervisor_with_the_page_may_do_anything(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = filled(tmp_path)

    async def run() -> None:
        others: tuple[Role, ...] = ("operator", "engineer")
        for role in others:
            async with working(tmp_path, "results", role) as (app, browser):
                page = await browser.get("/area/results/")
                assert page.url.path == "/"
                answer = await does(browser, page, "openarea", area="results")
                assert answer.status_code == 409
                for deed in DEEDS:
                    said = {"reason": "other", "words": "mine", "grade": "none"}
                    page = await posted(browser, "results", f"{made[2]}/{deed}", **said)
                    assert page.url.path == "/"
                assert (
                    await browser.get(f"/area/results/picture/{made[0]}/field/0.jpg")
                ).url.path == "/"
                assert len(result_of(app.kiosk.writer, made[2]).versions) == 1
                page = await does(browser, await browser.get("/"), "signout")
        async with working(tmp_path, "results") as (app, browser):
            form = {"screen": "results", "token": "0" * 64}
            answer = await browser.post(f"/area/results/{made[2]}/sign", data=form)
            assert answer.status_code == 400
            form["token"] = token_of(await browser.get(f"/area/results/{made[2]}/sign"))
            stranger = {"origin": "http://evil.example"}
            answer = await browser.post(
                f"/area/results/{made[2]}/sign", data=form, headers=stranger
            )
            assert answer.status_code == 403
            assert len(result_of(app.kiosk.writer, made[2]).versions) == 1

    with caplog.at_level(logging.DEBUG):
        asyncio.run(run())
    assert "26-04" not in caplog.text


def test_a_history_tells_versions_and_reviews_newest_first(tmp_path: Path) -> None:
    with Writer(RecordsFolder(tmp_path)) as writer:
        made = measured(writer, "S-1", 110.0)
        for cell, name in enumerate(("parasite", None, "parasite")):
            review(writer, made, field=0, cell=cell, type=name, by="amina")
        said = Amendments(sample="S-2", override=Override(grade=None), comment="by hand")
        change(writer, made, "corrected", by="grace", reason="other: typed", amendments=said)
        result = result_at(writer, 1)
        done = history_of(
            result.versions,
            list(entries(writer.connection, subject=made)),
            reviews_of(writer, 1),
            EN,
            date(2020, 1, 1),
        )
    assert [each.version for each in done] == [2, None, 1]
    assert done[0].changed == ("number S-1 → S-2", "grade set to No grade", "comment: by hand")
    assert done[0].why == "typed"
    assert done[1].what == "looked at 3 cells"
    assert json.dumps(done[1].changed) == '["2 renamed", "1 left open"]'


def test_a_result_is_printed_and_copied_from_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed: list[bytes] = []

    def takes(pdf: bytes, *_: object, **__: object) -> PrintJob:
        printed.append(pdf)
        return PrintJob("Desk-12", "Desk")

    monkeypatch.setattr("edgehemo.kiosk.handing_out.printed", takes)

    async def run() -> None:
        (tmp_path / "stick").mkdir()
        async with working(tmp_path, "results") as (app, browser):
            writer = app.kiosk.writer
            result = measured(writer, "26-0001", 98.0)
            other = measured(writer, "26-0002", 120.0)
            page = await browser.get(f"/area/results/{result}")
            assert f"/area/results/{result}/hand" in page.text
            page = await browser.get(f"/area/results/{result}/hand")
            assert "Printed on" not in page.text
            for way, said in (("print", "Printed on Desk."), ("stick", "You may pull it out.")):
                page = await posted(browser, "results", f"{result}/{way}")
                assert str(page.url.path) == f"/area/results/{result}/hand"
                for _ in range(300):
                    page = await browser.get(f"/area/results/{result}/hand")
                    if said in page.text:
                        break
                    await asyncio.sleep(0.1)
                assert said in page.text
            assert printed[0].startswith(b"%PDF-")
            assert "Printed" not in (await browser.get(f"/area/results/{other}/hand")).text
            noted = writer.rows("SELECT details FROM audit WHERE action = 'result exported'")
            assert len(noted) == 2

    asyncio.run(run())


def test_what_is_not_released_says_so_before_it_is_handed_out(tmp_path: Path) -> None:
    async def run() -> None:
        async with working(tmp_path, "results") as (app, browser):
            writer = app.kiosk.writer
            result = measured(writer, "26-0001", 98.0)

            async def hand() -> str:
                return (await browser.get(f"/area/results/{result}/hand")).text

            assert "Nobody has signed this result." in await hand()
            change(writer, result, "signed", by="grace")
            assert "all the same" not in await hand()
            steps: tuple[tuple[Change, str], ...] = (
                ("held", "This result is held."),
                ("released", ""),
                ("withdrawn", "This result is withdrawn."),
            )
            for done, said in steps:
                change(writer, result, done, by="grace", reason="number_in_doubt")
                page = await hand()
                assert (said in page) and ("Print all the same" in page) == bool(said)

    asyncio.run(run())


def test_a_result_before_a_failed_control_says_so_before_it_is_handed_out(tmp_path: Path) -> None:
    with Writer(RecordsFolder(tmp_path)) as writer:
        marked = measured(writer, "S-1", 120.0, profile_made_at=NOW)
        change(writer, marked, "signed", by="grace")
        assert not_released(writer, result_of(writer, marked), Words()) is None
        entry = writer.entry("control recorded", by="grace")
        writer.connection.execute(
            "INSERT INTO control (profile_made_at, kind, slide, passed, at, content, audit) "
            "VALUES (?, 'check', 'C-1', 0, ?, '{}', ?)",
            (NOW.isoformat(), NOW.isoformat(), entry.number),
        )
        warned = not_released(writer, result_of(writer, marked), Words())
        assert warned is not None
        assert warned.title == "A control slide failed after this result."
