"""A year of SIMULATED days, many times over: how soon drift is found, and how often falsely.

    python benchmarks/monitor_drift.py --spread benchmarks/monitor_spread.json --out FILE

Every result is drawn, not screened: no picture, no person and no instrument stands behind a number
here. Drift is planted into the drawn readings; they lie in the tables of a real store, and go
through the functions that `edgehemo monitor report` runs. The spread among the samples of a day is
that of real fields (`monitor_spread.py`); that between days is taken as a third of it, as no public
set has dates.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import resource
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from edgehemo.files.atomic import write_json_atomically
from edgehemo.monitor.baseline import Period
from edgehemo.monitor.judging import Judged, judge, judged_against, mattered
from edgehemo.monitor.overview import observe
from edgehemo.monitor.series import series
from edgehemo.records import schema
from edgehemo.version import __version__
from tests.support.device_days import (
    FIRST_DAY,
    Drift,
    MemoryReader,
    Usual,
    drawn_days,
    fill,
    memory_store,
    steady,
)

YEARS, DAYS, BEGUN = 100, 365, 120
BETWEEN_OVER_WITHIN = 1 / 3
LARGE = 100_000


@dataclass(frozen=True, slots=True)
class Scenario:
    """A drift that is planted from day `BEGUN` on. wanted: the codes that are right; operator: who
    works on a day.
    """

    name: str
    drift: Drift
    wanted: frozenset[str]
    operator: Callable[[int], str] = lambda _: "amina"


def ramp(day: int, days: int, change: float) -> float:
    """A change that grows evenly over some days, as a factor."""
    return 1 + change * min(1.0, max(0.0, (day - BEGUN) / days))


def lamp(day: int) -> Mapping[str, float]:
    """The lamp loses 12 % in 90 days, and grows redder."""
    return {"brightness": ramp(day, 90, -0.12), "red_of_light": ramp(day, 90, 0.02)}


def stain(day: int) -> Mapping[str, float]:
    """A new lot: 12 % weaker, 5 % bluer."""
    return {} if day < BEGUN else {"stain": 0.88, "hue_of_stain": 1.05, "unlikeness": 1.1}


def operator(day: int) -> Mapping[str, float]:
    """Somebody else: less sharp, nearer to the drop, more refused."""
    return {} if day < BEGUN else {"focus": 0.88, "cells_a_field": 1.35, "refused": 0.12}


def worn(day: int) -> Mapping[str, float]:
    """Focus wears: a fifth less sharp within 120 days, more refused."""
    return {"focus": ramp(day, 120, -0.2), "refused": ramp(day, 120, 0.15) - 1}


SCENARIOS = (
    Scenario("none", steady, frozenset()),
    Scenario("lamp ageing", lamp, frozenset({"LIGHT_FADED"})),
    Scenario("new stain lot", stain, frozenset({"STAIN_CHANGED"})),
    Scenario(
        "another operator", operator,
        frozenset({"FOCUS_WORN", "SMEARS_THICKER", "REFUSALS_MORE"}),
        lambda day: "amina" if day < BEGUN else "joseph",
    ),
    Scenario("focus worn", worn, frozenset({"FOCUS_WORN"})),
)  # fmt: skip


def usual_of(spread: Mapping[str, Any], samples_a_day: float) -> Usual:
    """A device of the spread of a source."""
    told: dict[str, Any] = {"samples_a_day": samples_a_day}
    for name, value in spread.items():
        if isinstance(value, dict) and value["relative"] and hasattr(Usual, name):
            relative = min(0.6, value["relative"])
            told[name] = (value["mean"], BETWEEN_OVER_WITHIN * relative, relative)
    told.pop("refused", None)
    # Of 510 published blood counts; who comes on a day is chance, so that the days hardly differ.
    told["hgb"] = (108.4, 0.02, 0.308)
    return replace(Usual(), **told)


def year(
    scenario: Scenario,
    usual: Usual,
    seed: int,
    *,
    lasting: float = 0.0,
    baseline_days: int | None = None,
    textbook: bool = False,
) -> list[Judged]:
    """Draw a year and judge it."""
    chance = random.Random(seed)
    connection = memory_store()
    days = drawn_days(
        chance, DAYS, usual=usual, drift=scenario.drift, operator=scenario.operator, lasting=lasting
    )
    fill(connection, days, chance=chance)
    found = []
    for item in series(MemoryReader(connection)):
        stated = None
        if baseline_days is not None and len(item.points) > baseline_days:
            stated = Period(item.points[0].day, item.points[baseline_days - 1].day)
        judged = judge(item, stated)
        if textbook and judged.baseline is not None:
            # As if the baseline's mean and spread were the truth.
            known = replace(judged.baseline, mean_error=0.0, freedom=None)
            judged = judged_against(item, known, judged.judged)
        found.append(judged)
    connection.close()
    return found


def first_found(judged: Sequence[Judged], codes: Collection[str]) -> tuple[int, int] | None:
    """Days from the beginning of a drift to the first finding of one of some codes, and how far the
    date that it names lies from the beginning; None where it was not found.
    """
    begun = FIRST_DAY + timedelta(days=BEGUN)
    firsts: list[tuple[date, date]] = []
    for item in judged:
        for place, found in enumerate(mattered(item)):
            day = item.judged[place].day
            if not found or day < begun:
                continue
            step = item.steps[place]
            quantity = item.series.quantity
            code = quantity.up if step.direction > 0 else quantity.down
            if code is not None and code in codes:
                alarm = next(
                    alarm
                    for alarm in item.alarms
                    if alarm.noticed <= day and (alarm.ended is None or alarm.ended > day)
                )
                firsts.append((day, alarm.since))
                break
    if not firsts:
        return None
    day, since = min(firsts)
    return (day - begun).days, (since - begun).days


def begun_in(flags: Sequence[bool]) -> int:
    """How often something begins."""
    return sum(flags[:1]) + sum(later and not before for before, later in pairwise(flags))


def drifts(usual: Usual, years: int) -> dict[str, Any]:
    """Each planted drift: how often and how soon it is found."""
    figures: dict[str, Any] = {}
    for scenario in SCENARIOS[1:]:
        delays, sinces, others, westgard = [], [], 0, []
        for number in range(years):
            judged = year(scenario, usual, 1000 + number)
            found = first_found(judged, scenario.wanted)
            if found is not None:
                delays.append(found[0])
                sinces.append(found[1])
            others += sum(
                begun_in(mattered(item))
                for item in judged
                if not {item.series.quantity.up, item.series.quantity.down} & scenario.wanted
                and not _planted(item, scenario)
            )
            westgard.append(_westgard_delay(judged, scenario))
        told = [delay for delay in westgard if delay is not None]
        figures[scenario.name] = {
            "years": years,
            "found": len(delays),
            "delay_days_median": _quantile(delays, 0.5),
            "delay_days_90": _quantile(delays, 0.9),
            "since_error_days_median": _quantile(sinces, 0.5),
            "other_findings_a_year": round(others / years, 2),
            "westgard_alone_delay_days_median": _quantile(told, 0.5),
        }
        print(scenario.name, figures[scenario.name], flush=True)
    return figures


def _planted(item: Judged, scenario: Scenario) -> bool:
    """Whether the drift moves this quantity as well."""
    return item.series.quantity.name in scenario.drift(DAYS)


def _westgard_delay(judged: Sequence[Judged], scenario: Scenario) -> int | None:
    """Days until a Westgard rule rejects a point of a quantity that is right."""
    begun = FIRST_DAY + timedelta(days=BEGUN)
    days = [
        (point.day - begun).days
        for item in judged
        if {item.series.quantity.up, item.series.quantity.down} & scenario.wanted
        for point, rules in zip(item.judged, item.rules, strict=True)
        if rules and point.day >= begun
    ]
    return min(days, default=None)


def false_alarms(usual: Usual, years: int) -> dict[str, Any]:
    """Years without drift: what is found all the same, over all quantities together."""
    ways: dict[str, dict[str, Any]] = {
        "usual baseline of 30 days": {},
        "baseline of 10 days": {"baseline_days": 10},
        "baseline of 10 days, taken for the truth": {"baseline_days": 10, "textbook": True},
        "days that hang together (correlation 0.3)": {"lasting": 0.3},
    }
    figures: dict[str, Any] = {}
    for name, way in ways.items():
        findings = alarms = westgard = quantities = 0
        quiet = 0
        for number in range(years):
            judged = [item for item in year(SCENARIOS[0], usual, number, **way) if item.baseline]
            quantities = len(judged)
            here = sum(begun_in(mattered(item)) for item in judged)
            findings += here
            quiet += here == 0
            alarms += sum(len(item.alarms) for item in judged)
            westgard += sum(begun_in([bool(rules) for rules in item.rules]) for item in judged)
        figures[name] = {
            "years": years,
            "quantities": quantities,
            "findings_a_year": round(findings / years, 2),
            "years_without_any": round(quiet / years, 2),
            "chart_alarms_a_year": round(alarms / years, 2),
            "westgard_alone_a_year": round(westgard / years, 1),
        }
        print(name, figures[name], flush=True)
    return figures


def cost() -> dict[str, Any]:
    """100,000 results in a store on disk: time and memory of everything the report reads."""
    with tempfile.TemporaryDirectory(prefix="edgehemo-monitor-") as name:
        file = Path(name) / "records.sqlite3"
        connection = sqlite3.connect(file, isolation_level=None)
        schema.migrate(connection)
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        usual = replace(Usual(), samples_a_day=192.0)
        made = fill(connection, drawn_days(random.Random(5), 2 * DAYS, usual=usual))
        connection.close()
        reader = MemoryReader(sqlite3.connect(file.as_uri() + "?mode=ro", uri=True))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        times, busy = [], []
        for _ in range(3):
            started, worked = time.perf_counter(), time.process_time()
            observe(reader)
            times.append(time.perf_counter() - started)
            busy.append(time.process_time() - worked)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        figures = {
            "results": made,
            "seconds_median": round(statistics.median(times), 2),
            "processor_seconds_median": round(statistics.median(busy), 2),
            "memory_grew_mb": round((after - before) / 1024, 1),
        }
        print(figures, flush=True)
        return figures


def _quantile(values: Sequence[int], share: float) -> int | None:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))] if ordered else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spread", type=Path, required=True, help="what monitor_spread.py wrote")
    parser.add_argument("--years", type=int, default=YEARS)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    spread = json.loads(asked.spread.read_text())
    figures: dict[str, Any] = {
        "simulated": "every result was drawn; nothing here is of a real instrument",
        "made_on": {"version": __version__, "python": platform.python_version()},
        "drift_begins_on_day": BEGUN,
        "cost": cost(),
    }
    for source in ("bccd", "chula_rbc12"):
        for samples in (8, 2):
            name = f"spread of {source}, {samples} samples a day"
            print(name, flush=True)
            usual = usual_of(spread[source], samples)
            figures[name] = {
                "drift": drifts(usual, asked.years),
                "false": false_alarms(usual, asked.years),
            }
    if asked.out is not None:
        write_json_atomically(asked.out, figures)


if __name__ == "__main__":
    main()
