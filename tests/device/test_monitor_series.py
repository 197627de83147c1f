"""What monitoring reads from the records: one pass of the database, and tables beside it."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import date, timedelta

import pytest

from edgehemo.monitor.events import events
from edgehemo.monitor.names import reviewed
from edgehemo.monitor.quantities import QUANTITIES
from edgehemo.monitor.series import Scope, series
from edgehemo.monitor.tables import agreement, operators, refusals, weeks
from tests.support.device_days import (
    FIRST_DAY,
    DrawnResult,
    MemoryReader,
    drawn_days,
    fill,
    memory_store,
    with_extra,
)


def drawn(days: int = 40, seed: int = 2) -> list[DrawnResult]:
    return list(drawn_days(random.Random(seed), days))


def test_the_database_sums_up_what_is_there() -> None:
    results = drawn()
    connection = memory_store()
    fill(connection, results)
    found = {item.quantity.name: item.points for item in series(MemoryReader(connection))}
    assert list(found) == [item.name for item in QUANTITIES]
    wanted = defaultdict(list)
    for item in results:
        wanted[item.day].append(item.values["brightness"])
    assert [point.day for point in found["brightness"]] == sorted(wanted)
    assert all(day.weekday() < 5 for day in wanted), "days without samples have no point"
    for point in found["brightness"]:
        values = wanted[point.day]
        mean = sum(values) / len(values)
        assert point.results == len(values)
        assert point.mean == pytest.approx(mean)
        assert point.squares == pytest.approx(sum((v - mean) ** 2 for v in values), rel=1e-6)
    refused = sum(point.results * point.mean for point in found["refused"])
    assert refused == pytest.approx(sum(item.refused / item.readable for item in results))
    withheld = sum(point.results * point.mean for point in found["withheld"])
    assert withheld == pytest.approx(sum(item.withheld for item in results))
    hgb = sum(point.results for point in found["hgb"])
    assert hgb == sum(not item.withheld for item in results)
    assert found["against_analyser"] == ()
    weekly = series(MemoryReader(connection), by="week")[0]
    assert sum(point.results for point in weekly.points) == len(results)
    assert len(weekly.points) < len(found["brightness"]) / 3


def test_only_what_was_asked_for_is_counted() -> None:
    connection = memory_store()
    real = drawn(10)
    fill(connection, real)
    fill(connection, drawn(10, seed=3), simulated=True)
    other = drawn(10, seed=4)
    fill(connection, other, device="kiosk 2")
    fill(connection, with_extra(iter(drawn(10, seed=5)), clock="unset"))
    reader = MemoryReader(connection)

    def counted(scope: Scope) -> int:
        return sum(point.results for point in series(reader, scope)[0].points)

    assert counted(Scope()) == len(real) + len(other)
    assert counted(Scope(device="kiosk 1")) == len(real)
    assert counted(Scope(device="kiosk 3")) == 0
    assert counted(Scope(simulated=True)) == len(drawn(10, seed=3))
    day = FIRST_DAY + timedelta(days=3)
    wanted = sum(item.day == day for item in real)
    assert counted(Scope("kiosk 1", since=day, until=day)) == wanted > 0


def test_a_withdrawn_result_tells_of_the_lamp_and_not_of_the_people() -> None:
    connection = memory_store()
    results = drawn(10)
    fill(connection, with_extra(iter(results), state="withdrawn"))
    reader = MemoryReader(connection)
    found = {item.quantity.name: item.points for item in series(reader)}
    assert found["hgb"] == () == found["overridden"]
    assert sum(point.results for point in found["brightness"]) == len(results)
    assert weeks(reader, Scope()) == ()


def test_refusals_are_shares_of_all_fields_and_of_the_weeks_before() -> None:
    connection = memory_store()
    early, late = drawn(14, seed=6), drawn(14, seed=7)
    late = [item for item in late if item.day.weekday() < 5]
    fill(connection, early)
    shift = timedelta(days=14)
    moved = [
        DrawnResult(
            item.day + shift, item.operator, item.values, item.readable, item.refused,
            item.withheld, item.overridden, {"code": "TOO_CROWDED"},
        )
        for item in late
    ]  # fmt: skip
    fill(connection, moved)
    reader = MemoryReader(connection)
    begun = FIRST_DAY + shift
    now = Scope(since=begun)
    (found,) = refusals(reader, now, Scope(until=begun - timedelta(days=1)))
    assert found.code == "TOO_CROWDED"
    assert found.fields == sum(item.refused for item in moved)
    assert found.share == pytest.approx(found.fields / sum(item.readable for item in moved))
    assert found.share_before == 0.0
    both = refusals(reader, Scope())
    assert {item.code for item in both} == {"TOO_CROWDED", "OUT_OF_FOCUS"}
    assert [item.fields for item in both] == sorted((i.fields for i in both), reverse=True)
    assert both[0].share_before is None


def test_weeks_hold_quartiles_and_grades() -> None:
    connection = memory_store()
    results = drawn(14, seed=8)
    fill(connection, results)
    found = weeks(MemoryReader(connection), Scope())
    assert [week.day for week in found] == [FIRST_DAY, FIRST_DAY + timedelta(days=7)]
    first = [item for item in results if item.day < FIRST_DAY + timedelta(days=7)]
    values = sorted(item.values["hgb"] for item in first if not item.withheld)
    hgb = found[0].hgb
    assert hgb is not None
    assert hgb == tuple(sorted(hgb)) and set(hgb) <= set(values)
    assert sum(v <= hgb[1] for v in values) in (len(values) // 2, len(values) // 2 + 1)
    assert found[0].results == len(first)
    assert found[0].withheld == sum(item.withheld for item in first)
    assert sum(found[0].grades.values()) == len(values)


def test_pairs_are_joined_by_sample_and_the_newest_value_counts() -> None:
    connection = memory_store()
    results = drawn(10, seed=9)
    fill(connection, results)
    reader = MemoryReader(connection)
    assert agreement(reader, Scope()) is None
    given = [(n, item) for n, item in enumerate(results, start=1) if not item.withheld][:12]
    for number, item in given:
        for value in (50.0, item.values["hgb"] + 7.0):
            connection.execute(
                "INSERT INTO paired (sample, measurand, value, analyser, by, at, audit) "
                "VALUES (?, 'hgb_g_per_l', ?, 'a', 'b', 'c', 1)",
                (f"N-{number:06d}", value),
            )
    found = agreement(reader, Scope())
    assert found is not None and found.pairs == 12
    assert found.mean == pytest.approx(-7.0) and found.sd == pytest.approx(0.0, abs=1e-4)
    points = {item.quantity.name: item.points for item in series(reader)}["against_analyser"]
    assert sum(point.results for point in points) == 12


def test_operators_stand_side_by_side() -> None:
    connection = memory_store()
    days = list(
        drawn_days(
            random.Random(3), 30, operator=lambda day: "amina" if day < 20 else "joseph",
            drift=lambda day: {} if day < 20 else {"focus": 0.5},
        )
    )  # fmt: skip
    fill(connection, days)
    amina, joseph = operators(MemoryReader(connection), Scope())
    assert (amina.name, joseph.name) == ("amina", "joseph")
    assert amina.results > joseph.results
    assert joseph.focus is not None and amina.focus is not None
    assert joseph.focus / amina.focus == pytest.approx(0.5, rel=0.1)


def test_what_changed_at_the_device_is_an_event_and_what_was_there_is_none() -> None:
    connection = memory_store()
    first, later = drawn(5, seed=1), drawn(10, seed=2)
    fill(connection, with_extra(iter(first), profile="2026-01-01T00:00:00+00:00"))
    begun = FIRST_DAY + timedelta(days=5)
    fill(
        connection,
        with_extra(
            (item for item in later if item.day >= begun),
            profile="2026-02-02T00:00:00+00:00",
            bundle="b" * 64,
            software="0.2.0",
        ),
    )
    found = events(MemoryReader(connection))
    day = min(item.day for item in later if item.day >= begun)
    assert [(event.day, event.kind) for event in found] == [
        (day, "bundle"),
        (day, "profile"),
        (day, "software"),
    ]
    assert "2026-02-02" in found[1].text
    assert events(MemoryReader(connection), Scope(until=date(2026, 1, 6))) == ()


def test_the_newest_word_on_a_cell_counts_and_unsure_ones_are_no_change() -> None:
    connection = memory_store()
    fill(connection, drawn(2))

    def review(cell: int, model: str | None, verdict: str, given: str | None) -> None:
        connection.execute(
            "INSERT INTO review (result, field, cell, kind, model_type, model_score, verdict, "
            "type, by, at, audit) VALUES (1, 0, ?, 'wbc', ?, 0.5, ?, ?, 'a', 'b', 1)",
            (cell, model, verdict, given),
        )

    for cell in range(30):
        review(cell, "monocyte", "confirmed", "monocyte")
    for cell in range(12):
        review(cell, "monocyte", "renamed", "lymphocyte")
    review(40, "monocyte", "unsure", None)
    review(41, "monocyte", "not a cell", None)
    review(42, "uncertain", "renamed", "neutrophil")
    review(43, None, "renamed", "neutrophil")
    found = reviewed(MemoryReader(connection))
    (names,) = found.names
    assert (names.type, names.looked_at, names.changed) == ("monocyte", 31, 13)
    assert names.became[0] == ("lymphocyte", 12) and names.due
    assert found.learnable == (
        ("wbc", "lymphocyte", 12), ("wbc", "monocyte", 18), ("wbc", "neutrophil", 2)
    )  # fmt: skip
    assert found.settled == 1
    assert not found.abroad
