"""Drift planted into drawn readings is found, named and dated; what is steady or small is not."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from edgehemo.control.history import ControlCheck
from edgehemo.errors import RecordsError
from edgehemo.guidance.codes import DriftCode
from edgehemo.monitor.baseline import Period
from edgehemo.monitor.events import (
    Event,
    note_event,
    noted_events,
    state_baseline,
    stated_baseline,
)
from edgehemo.monitor.judging import judge, mattered
from edgehemo.monitor.overview import Observation, observe
from edgehemo.monitor.page import monitor_page
from edgehemo.monitor.series import series
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.results import json_text
from edgehemo.records.store import Writer
from edgehemo.records.verifying import verify
from tests.support.device_days import (
    FIRST_DAY,
    DrawnResult,
    Drift,
    MemoryReader,
    Usual,
    drawn_days,
    fill,
    memory_store,
    steady,
    with_extra,
)
from tests.support.pages import faults_of_page
from tests.support.stored import MADE_AT

BEGUN = 90
DAYS = 150


def after(**moved: float) -> Drift:
    def drift(day: int) -> Mapping[str, float]:
        return moved if day >= BEGUN else {}

    return drift


def observed(
    drift: Drift = steady,
    *,
    days: int = DAYS,
    seed: int = 11,
    operator: Callable[[int], str] = lambda _: "amina",
    change: Callable[[Iterator[DrawnResult]], Iterator[DrawnResult]] = lambda items: items,
    **asked: Any,
) -> Observation:
    connection = memory_store()
    drawn = drawn_days(random.Random(seed), days, drift=drift, operator=operator)
    fill(connection, change(drawn))
    return observe(MemoryReader(connection), **asked)


def codes(seen: Observation) -> set[str]:
    return {item.code for item in seen.findings}


PLANTED: dict[DriftCode, Drift] = {
    "LIGHT_FADED": after(brightness=0.88),
    "LIGHT_BRIGHTER": after(brightness=1.1),
    "LIGHT_COLOUR_CHANGED": after(red_of_light=1.08),
    "STAIN_CHANGED": after(stain=0.8),
    "STAIN_HUE_CHANGED": after(hue_of_stain=1.2),
    "FOCUS_WORN": after(focus=0.8),
    "SMEARS_THICKER": after(cells_a_field=1.5),
    "SMEARS_THINNER": after(cells_a_field=0.6),
    "REFUSALS_MORE": after(refused=0.25),
    "WITHHELD_MORE": after(withheld=0.25),
    "RESULTS_SHIFTED": after(hgb=0.85),
    "NAMES_UNSURE_MORE": after(unsure_red=2.0),
    "FIELDS_UNFAMILIAR": after(unlikeness=1.6),
    "OVERRIDES_MORE": after(overridden=0.2),
}


@pytest.mark.parametrize("code", PLANTED)
def test_planted_drift_is_found_named_and_dated(code: DriftCode) -> None:
    seen = observed(PLANTED[code])
    assert codes(seen) == {code}
    (found,) = seen.findings
    begun = FIRST_DAY + timedelta(days=BEGUN)
    assert found.since is not None and abs((found.since - begun).days) <= 6
    assert found.noticed is not None and found.noticed >= found.since
    assert found.change is not None and found.low is not None and found.high is not None
    assert found.low < found.change < found.high
    assert "{" not in found.reason + found.action
    assert str(found.since.day) in found.reason
    assert any("baseline" in line for line in found.evidence)
    page = monitor_page(seen, None, MADE_AT)
    assert not faults_of_page(page)
    assert found.title in page and code in page


def test_nothing_is_found_where_nothing_changed() -> None:
    seen = observed()
    assert seen.findings == ()
    page = monitor_page(seen, None, MADE_AT)
    assert "Nothing was found" in page and not faults_of_page(page)
    assert page.count("<svg") == 2 * sum(bool(item.series.points) for item in seen.judged)


def test_the_size_of_a_change_is_that_planted() -> None:
    seen = observed(after(brightness=0.88))
    (found,) = seen.findings
    assert found.change == pytest.approx(-0.12, abs=0.02)
    assert found.values["size"] in ("11 %", "12 %", "13 %")
    assert "has lost" in found.reason


def test_what_the_charts_see_and_nobody_need_come_for_is_no_finding() -> None:
    connection = memory_store()
    calm = replace(Usual(), brightness=(190.0, 0.003, 0.005))
    drawn = drawn_days(random.Random(1), DAYS, usual=calm, drift=after(brightness=0.975))
    fill(connection, drawn)
    seen = observe(MemoryReader(connection))
    light = seen.judged[0]
    assert light.alarm is not None and not light.matters
    assert seen.findings == ()


def test_an_improvement_is_no_finding() -> None:
    seen = observed(after(focus=1.3))
    focus = next(item for item in seen.judged if item.series.quantity.name == "focus")
    assert focus.alarm is not None and seen.findings == ()


def test_what_was_found_on_each_day_ends_in_what_is_found_now() -> None:
    connection = memory_store()
    fill(connection, drawn_days(random.Random(3), DAYS, drift=after(stain=0.8, focus=0.8)))
    for item in series(MemoryReader(connection)):
        judged = judge(item)
        flags = mattered(judged)
        assert len(flags) == len(judged.judged)
        if flags:
            assert flags[-1] == judged.matters
            # A report of an earlier day says what was found then.
            half = len(flags) // 2
            day = judged.judged[half].day
            assert judge(judged.series, until=day).matters == flags[half]


def test_days_without_samples_and_few_samples_change_nothing_of_it() -> None:
    def thinned(items: Iterator[DrawnResult]) -> Iterator[DrawnResult]:
        for number, item in enumerate(items):
            closed = 40 <= (item.day - FIRST_DAY).days < 61
            if not closed and number % 3 == 0:
                yield item

    assert observed(change=thinned, days=300).findings == ()
    seen = observed(after(brightness=0.88), change=thinned, days=300)
    assert codes(seen) == {"LIGHT_FADED"}
    assert all(not 40 <= (point.day - FIRST_DAY).days < 61 for point in seen.judged[0].judged)


def test_an_operator_who_comes_when_a_change_begins_is_named() -> None:
    seen = observed(
        after(focus=0.8, cells_a_field=1.5),
        operator=lambda day: "amina" if day < BEGUN else "joseph",
    )
    assert codes(seen) == {"FOCUS_WORN", "SMEARS_THICKER"}
    for found in seen.findings:
        assert [event.text for event in found.causes] == ["first samples of joseph"]


def test_too_few_days_are_not_judged_and_a_young_device_has_a_short_baseline() -> None:
    young = observed(days=8)
    assert all(item.baseline is None and item.lacking for item in young.judged)
    assert young.findings == ()
    older = observed(after(), days=30)
    light = older.judged[0]
    assert light.baseline is not None and light.baseline.days == 11
    empty = observed(days=0)
    assert (empty.results, empty.device, empty.findings) == (0, None, ())
    assert "There is no result" in monitor_page(empty, None, MADE_AT)


def test_after_a_new_lamp_another_baseline_is_stated() -> None:
    drift = after(brightness=1.3)
    assert codes(observed(drift)) == {"LIGHT_BRIGHTER"}
    begun = FIRST_DAY + timedelta(days=BEGUN)
    period = Period(begun, begun + timedelta(days=27))
    seen = observed(drift, baseline=period)
    assert seen.findings == () and seen.baseline == period
    light = seen.judged[0]
    assert light.baseline is not None and light.baseline.first >= begun
    assert light.judged and all(point.day > period.until for point in light.judged)
    short = observed(drift, baseline=Period(begun, begun + timedelta(days=5)))
    assert short.judged[0].baseline is None and "10 are needed" in short.judged[0].lacking


def test_a_bias_against_the_analyser_matters_from_the_beginning() -> None:
    connection = memory_store()
    results = list(drawn_days(random.Random(5), 40))
    fill(connection, results)
    kept = [n for n, item in enumerate(results, start=1) if not item.withheld]

    def found_with(offset: float, pairs: int) -> set[str]:
        chance = random.Random(2)
        for number in kept[-pairs:]:
            value = results[number - 1].values["hgb"] + offset + chance.gauss(0, 4)
            connection.execute(
                "INSERT INTO paired (sample, measurand, value, analyser, by, at, audit) "
                "VALUES (?, 'hgb_g_per_l', ?, 'a', 'b', 'c', 1)",
                (f"N-{number:06d}", value),
            )
        return codes(observe(MemoryReader(connection)))

    assert found_with(9.0, 5) == set()
    assert found_with(1.0, 20) == set()
    assert found_with(9.0, 20) == {"ANALYSER_DISAGREES"}


def test_retraining_is_due_where_names_are_changed_or_cells_are_abroad() -> None:
    connection = memory_store()
    fill(connection, drawn_days(random.Random(5), 60))
    reader = MemoryReader(connection)
    last = connection.execute("SELECT max(number) FROM result").fetchone()[0]
    for cell in range(40):
        verdict, given = ("renamed", "ovalocyte") if cell < 14 else ("confirmed", "elliptocyte")
        connection.execute(
            "INSERT INTO review (result, field, cell, kind, model_type, model_score, verdict, "
            "type, by, at, audit) VALUES (?, 0, ?, 'rbc', 'elliptocyte', 0.9, ?, ?, 'a', 'b', 1)",
            (last, cell, verdict, given),
        )
    (found,) = observe(reader).findings
    assert found.code == "RETRAINING_DUE"
    assert found.reason == "the models should learn anew: elliptocyte"
    assert "14 of 40 names were changed" in found.evidence[0]
    assert "ovalocyte (14)" in found.evidence[0]
    assert any("40 reviewed cells can teach" in line for line in found.evidence)
    assert "--format training" in found.action

    abroad = observed(change=lambda items: with_extra(items, unfamiliar=True))
    (found,) = abroad.findings
    assert found.code == "RETRAINING_DUE" and found.since is None
    assert any("look unlike all that" in line for line in found.evidence)


def test_a_control_slide_that_moves_is_found_though_every_check_passes() -> None:
    connection = memory_store()
    fill(connection, drawn_days(random.Random(5), 60))
    chance = random.Random(4)

    def check(day: int, hgb: float) -> None:
        at = MADE_AT + timedelta(days=day)
        record = ControlCheck(
            at=at,
            software_version="0.1.0",
            slide="A",
            established_at=MADE_AT,
            profile_sha256="0" * 64,
            fields=5,
            refused=0,
            values={"hgb_index": 0.1, "background_green": 190.0},
            deviations={"hgb_index": hgb, "background_green": chance.gauss(0, 0.9)},
            passed=True,
        )
        connection.execute(
            "INSERT INTO control (profile_made_at, kind, slide, passed, at, content, audit) "
            "VALUES ('p', 'check', 'A', 1, ?, ?, 1)",
            (at.isoformat(), json_text(record.model_dump(exclude_none=True))),
        )

    for day in range(25):
        check(day, chance.gauss(0, 0.9))
    assert observe(MemoryReader(connection)).findings == ()
    for day in range(25, 45):
        check(day, 1.6 + chance.gauss(0, 0.3))
    seen = observe(MemoryReader(connection))
    (found,) = seen.findings
    assert found.code == "CONTROL_DRIFTS"
    assert "haemoglobin index, control slide A" in found.reason
    assert found.since is not None
    assert abs((found.since - (MADE_AT + timedelta(days=25)).date()).days) <= 2
    assert "Control slides" in monitor_page(seen, None, MADE_AT)


def test_events_and_baselines_are_noted_in_the_chain(tmp_path: Path) -> None:
    with Writer(RecordsFolder.below(tmp_path)) as writer:
        assert stated_baseline(writer) is None
        event = Event(date(2026, 3, 3), "stain lot", "Giemsa lot 4711")
        note_event(writer, event, by="sup")
        assert noted_events(writer) == (event,)
        period = Period(date(2026, 3, 3), date(2026, 4, 3), "new lamp")
        state_baseline(writer, period, by="sup")
        assert stated_baseline(writer) == period
        state_baseline(writer, None, by="sup")
        assert stated_baseline(writer) is None
        for wrong in (replace(event, kind="operator"), replace(event, text=" ")):
            with pytest.raises(RecordsError):
                note_event(writer, wrong, by="sup")
        with pytest.raises(RecordsError):
            note_event(writer, event, by=" ")
        with pytest.raises(RecordsError):
            state_baseline(writer, replace(period, reason=""), by="sup")
        with pytest.raises(RecordsError):
            state_baseline(writer, replace(period, until=date(2026, 1, 1)), by="sup")
        assert verify(writer).whole
