"""The supervisor's charts: what has changed, control slides, refusals, and an analyser's values."""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest

from edgehemo.control.history import Clearance, ControlCheck, Violation
from edgehemo.control.westgard import RULES
from edgehemo.kiosk.supervision import watched
from edgehemo.kiosk.supervision.chart import Line, Mark, ThemedChart, number_marks
from edgehemo.kiosk.supervision.monitoring import DAYS, hgb_in
from edgehemo.monitor.overview import observe
from edgehemo.monitor.quantities import QUANTITIES
from edgehemo.monitor.series import Scope
from edgehemo.monitor.tables import Agreement, agreement, agreement_pairs
from edgehemo.records.controls import newest_history
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.pairs import pair, pairs
from edgehemo.records.results import json_text
from edgehemo.records.rows import insert_vouched
from edgehemo.records.store import Writer
from edgehemo.records.users import Role
from edgehemo.words.language import Words
from tests.device.test_kiosk_page import does
from tests.support.device_days import MemoryReader, drawn_days, fill, memory_store
from tests.support.supervised import device_of, links_of, measured, posted, working

EN, FR_DL = Words("en"), Words("fr", "g/dL")
AT = datetime(2026, 11, 1, 8, 0, tzinfo=UTC)


def fading(day: int) -> Mapping[str, float]:
    return {"brightness": 0.85} if day > 70 else {}


def fill_days(folder: Path, days: int = 120) -> None:
    """Days of a device whose light fades, up to today."""
    with Writer(RecordsFolder.below(device_of(folder).data_dir)) as writer:
        writer.connection.execute("PRAGMA foreign_keys = OFF")
        first = date.today() - timedelta(days=days - 1)
        drawn = drawn_days(random.Random(5), days, drift=fading, first=first)
        fill(writer.connection, drawn, device="test")


def check(deviation: float, day: int = 0, *, fields: int = 8) -> ControlCheck:
    broken = (Violation(quantity="background_green", rule="1-3s"),) if abs(deviation) > 3 else ()
    return ControlCheck(
        at=AT + timedelta(days=day),
        software_version="0.1.0",
        slide="C-12",
        established_at=AT,
        profile_sha256="ab" * 32,
        fields=fields,
        refused=1,
        values={"background_green": 190.0 + deviation},
        deviations={"background_green": deviation, "hgb_index": 0.1},
        violations=broken,
        passed=not broken,
        reason="the light" if broken else "",
    )


def store_controls(folder: Path, records: Sequence[ControlCheck | Clearance]) -> None:
    with Writer(RecordsFolder.below(device_of(folder).data_dir)) as writer:
        for record in records:
            checked = isinstance(record, ControlCheck)
            row = {
                "profile_made_at": AT.isoformat(),
                "kind": record.kind,
                "slide": "C-12" if checked else None,
                "passed": int(record.passed) if isinstance(record, ControlCheck) else None,
                "at": record.at.isoformat(),
                "content": json_text(record.model_dump(exclude_none=True)),
            }
            insert_vouched(writer, "control", row, by="test")


def test_a_new_device_says_what_will_stand_on_each_page(tmp_path: Path) -> None:
    async def run() -> None:
        async with working(tmp_path, "monitoring") as (_, browser):
            for path, said in (
                ("", "There is no result yet"),
                ("control", "No control slide was checked yet"),
                ("refusals", "There is no result yet"),
                ("analyser", "No analyser value yet"),
            ):
                assert said in (await browser.get(f"/area/monitoring/{path}")).text
            for path in ("of/stain", "of/nothing", "such", "of"):
                assert (await browser.get(f"/area/monitoring/{path}")).status_code == 404

    asyncio.run(run())


def test_what_has_changed_stands_first_and_says_what_to_do(tmp_path: Path) -> None:
    fill_days(tmp_path)

    async def run() -> None:
        async with working(tmp_path, "monitoring") as (_, browser):
            page = await browser.get("/area/monitoring/?rows=20")
            assert "1 thing has changed" in page.text
            first = next(link for link in links_of(page) if "/of/" in link)
            assert first == "/area/monitoring/of/brightness"
            page = await browser.get(first)
            assert "The light is fading" in page.text
            assert "condenser" in page.text
            assert re.search(r"Since \d{4}-\d\d-\d\d", page.text)
            assert 'class="line limit"' in page.text
            steady = await browser.get("/area/monitoring/of/focus?days=0")
            assert "steady" in steady.text
            assert "The green days" in steady.text
            assert (await browser.get("/area/monitoring/of/focus?days=x")).status_code == 200

    asyncio.run(run())


def test_few_days_have_a_chart_and_no_verdict(tmp_path: Path) -> None:
    fill_days(tmp_path, days=6)

    async def run() -> None:
        async with working(tmp_path, "monitoring") as (_, browser):
            assert "Limits are learnt from 10 days" in (await browser.get("/area/monitoring/")).text
            page = await browser.get("/area/monitoring/of/stain")
            assert "too few days yet" in page.text
            assert 'class="mark good"' in page.text
            assert "line limit" not in page.text

    asyncio.run(run())


@pytest.mark.parametrize(
    ("records", "said", "unsaid"),
    [
        ([check(0.2), check(-0.4, 1)], "The control slide passed", "It failed"),
        ([check(0.2), check(-3.4, 1)], "one beyond 3 SD (1-3s)", "passed."),
        (
            [
                check(-3.4),
                Clearance(at=AT, software_version="0.1.0", reason="lamp changed", by="hana"),
            ],
            "hana found the cause",
            "Run the control slide again",
        ),
    ],
    ids=["passed", "failed", "cleared"],
)
def test_control_slides_have_their_chart_and_what_to_do(
    tmp_path: Path, records: list[ControlCheck | Clearance], said: str, unsaid: str
) -> None:
    store_controls(tmp_path, records)

    async def run() -> None:
        async with working(tmp_path, "monitoring") as (app, browser):
            assert newest_history(app.kiosk.writer) == tuple(records)
            page = await browser.get("/area/monitoring/control")
            assert said in page.text
            assert unsaid not in page.text
            assert 'class="band good"' in page.text
            other = next(link for link in links_of(page) if "quantity=hgb_index" in link)
            assert "Haemoglobin index" in (await browser.get(other)).text

    asyncio.run(run())


def test_a_check_that_read_too_little_says_so() -> None:
    poor = replace_check(check(0.0, fields=1), passed=False)
    assert watched.why_failed(poor, EN) == ["Too little could be read: 1 of 2 fields."]
    assert watched.why_failed(check(0.0), EN) == []
    assert watched.mark_of(check(-3.4), "background_green") == "fails"
    assert watched.mark_of(check(2.4), "background_green") == "soon"
    assert watched.mark_of(check(2.4), "hgb_index") == "good"
    for rule in RULES:
        assert watched.rule_words(EN, rule)


def replace_check(found: ControlCheck, *, passed: bool) -> ControlCheck:
    return found.model_copy(update={"passed": passed})


def test_refusals_by_reason_and_shares(tmp_path: Path) -> None:
    fill_days(tmp_path)

    async def run() -> None:
        async with working(tmp_path, "monitoring") as (app, browser):
            page = await browser.get("/area/monitoring/refusals")
            assert "Out of focus" in page.text
            assert "Grades set by a person" in page.text
            seen = observe(app.kiosk.writer)
            share = f"{100 * seen.refusals[0].share:.0f} %"
            assert share in page.text

    asyncio.run(run())


def test_an_analysers_value_is_typed_in_and_compared(tmp_path: Path) -> None:
    with Writer(RecordsFolder.below(device_of(tmp_path).data_dir)) as writer:
        now = datetime.now().astimezone()
        for number in range(9):
            measured(writer, f"26-04{number:02d}", 90.0 + 5 * number, made_at=now)

    async def run() -> None:
        async with working(tmp_path, "monitoring") as (app, browser):
            writer = app.kiosk.writer
            value = {"sample": "26-0400", "hgb": "88,5", "analyser": "Sysmex"}
            for said, problem in (
                ({**value, "sample": "26-9999"}, "no result of a sample with this number"),
                ({**value, "hgb": "nan"}, "between 20 and 260 g/L"),
                ({**value, "hgb": "8.8"}, "between 20 and 260 g/L"),
                ({**value, "hgb": "blue"}, "between 20 and 260 g/L"),
                ({**value, "analyser": " "}, "which analyser"),
            ):
                page = await posted(browser, "monitoring", "analyser/add", **said)
                assert problem in page.text
            assert pairs(writer) == []
            page = await posted(browser, "monitoring", "analyser/add", **value)
            assert "The value is kept" in page.text
            assert "One sample is too few" in page.text
            (kept,) = pairs(writer)
            assert (kept.value, kept.analyser, kept.by) == (88.5, "Sysmex", "grace")
            assert 'value="Sysmex"' in (await browser.get("/area/monitoring/analyser/add")).text
            for number in range(1, 9):
                said = {**value, "sample": f"26-04{number:02d}", "hgb": str(92 + 5 * number)}
                page = await posted(browser, "monitoring", "analyser/add", **said)
            assert page.text.count('class="mark') == 9
            scope = Scope("test device", True)
            found = agreement(writer, scope)
            assert found is not None
            assert found.pairs == len(agreement_pairs(writer, scope)) == 9
            assert f"{found.mean:+.1f}".replace("-", "−") in page.text

    asyncio.run(run())


def test_a_value_is_read_in_the_sites_unit() -> None:
    assert hgb_in("88,5", EN) == 88.5
    assert hgb_in(" 8,85 ", FR_DL) == 88.5
    for wrong in ("", "inf", "1e999", "-", "8 8"):
        assert hgb_in(wrong, EN) is None


def test_limits_of_agreement_have_the_error_that_bland_and_altman_give() -> None:
    found = Agreement(25, -1.0, -3.0, 1.0, 5.0, -10.8, 8.8)
    limits = watched.limits_of(found)
    # t of 24 degrees of freedom, times the square root of 3 s² / n.
    half = 2.06390 * 5.0 * (3 / 25) ** 0.5
    assert limits.high == pytest.approx((8.8, 8.8 - half, 8.8 + half))
    assert limits.low == pytest.approx((-10.8, -10.8 - half, -10.8 + half))
    lines = watched.agreement_lines(found, FR_DL)
    assert lines[1][1].startswith("−0,10 (−0,30")
    svg = watched.agreement_chart([(100.0, 101.0), (60.0, 80.0)], found, FR_DL)
    assert svg.count('class="mark good"') == 1
    assert svg.count('class="mark soon"') == 1


def test_every_quantity_has_its_words_and_value() -> None:
    connection = memory_store()
    fill(connection, drawn_days(random.Random(1), 30))
    judged = observe(MemoryReader(connection)).judged
    rows = {row.name: row for row in watched.rows_of_watched(judged, FR_DL)}
    for quantity in QUANTITIES:
        assert watched.quantity_name(EN, quantity) != quantity.label
    assert rows["refused"].now.endswith("%")
    assert rows["hgb"].now.endswith("g/dL")
    assert "," in rows["stain"].now
    shown = next(item for item in judged if item.series.quantity.name == "hgb")
    assert watched.trend_chart(shown, EN, date(2999, 1, 1)) == ""
    assert ">12<" in watched.trend_chart(shown, FR_DL, None)
    assert DAYS[-1] == 0


def test_a_chart_escapes_what_it_says_and_leaves_out_what_is_no_number() -> None:
    chart = ThemedChart('<b>"', (0.0, 1.0), (0.0, 1.0), [(0.5, "<i>")], number_marks((0, 1), 0))
    chart.point(float("nan"), 0.0, "good", "")
    chart.path([(0.0, float("inf")), (0.0, 0.0)], "mean")
    for mark in get_args(Mark):
        chart.point(0.5, 9.0, mark, "<tip>")
    for line in get_args(Line):
        chart.level(0.5, line)
    svg = chart.svg()
    assert "<b>" not in svg
    assert "<i>" not in svg
    assert "<tip>" not in svg
    assert "nan" not in svg
    assert "inf" not in svg
    assert svg.count('class="mark') == 3
    assert "style=" not in svg
    assert [text for _, text in number_marks((-0.04, 0.31), 0, ",")] == [
        "0,0", "0,1", "0,2", "0,3",
    ]  # fmt: skip
    assert number_marks((-12.0, 11.0), 0)[0][1] == "−10"


def test_nobody_else_sees_or_types_anything(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Writer(RecordsFolder.below(device_of(tmp_path).data_dir)) as writer:
        measured(writer, "26-0400", 90.0)

    async def run() -> None:
        value = {"sample": "26-0400", "hgb": "88", "analyser": "Sysmex"}
        others: tuple[Role, ...] = ("operator", "engineer")
        for role in others:
            async with working(tmp_path, "monitoring", role) as (app, browser):
                assert (await browser.get("/area/monitoring/")).url.path == "/"
                page = await posted(browser, "monitoring", "analyser/add", **value)
                assert page.url.path == "/"
                assert pairs(app.kiosk.writer) == []
                await does(browser, await browser.get("/"), "signout")
        async with working(tmp_path, "monitoring") as (app, browser):
            form = {"screen": "monitoring", "token": "0" * 64, **value}
            answer = await browser.post("/area/monitoring/analyser/add", data=form)
            assert answer.status_code == 400
            assert pairs(app.kiosk.writer) == []
            pair(app.kiosk.writer, "26-0400", {"hgb_g_per_l": 88.0}, analyser="x", by="grace")

    with caplog.at_level(logging.DEBUG):
        asyncio.run(run())
    assert "26-04" not in caplog.text
