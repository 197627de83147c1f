"""Simulated fleets, looked at every evening: how often nothing is wrong and something is told, and
how soon a fault is found.

    PYTHONPATH=. python benchmarks/laboratory_fleet.py --out benchmarks/laboratory_fleet.json

Kiosks differ, their days differ and their results differ as `edgehemo_laboratory.simulated.fleet`
has it; here their daily sums are drawn directly.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from edgehemo.files.atomic import write_json_atomically
from edgehemo_laboratory.seeing.fleet_days import RECENT_DAYS, WINDOW_DAYS, FleetDays
from edgehemo_laboratory.seeing.judging import judge, names_of
from edgehemo_laboratory.simulated.fleet import (
    CELLS,
    FIELDS,
    QUANTITIES,
    REFUSED,
    REFUSED_SPREAD,
    TYPES,
    TYPES_SPREAD,
    WITHHELD,
    WITHHELD_SPREAD,
)

# Days that are looked at, one after the other: a month.
LOOKS = 28
RESULTS_A_DAY = 8.0
SITES = 5
# Where kiosks differ less evenly than the normal distribution: Student's t of so many degrees.
TAILED = 5


@dataclass
class Drawn:
    """A fleet of some days: arrays of kiosks and days, to which faults can be added."""

    means: dict[str, NDArray[np.float64]]
    results: NDArray[np.float64]
    withheld: NDArray[np.float64]
    fields: NDArray[np.float64]
    refused: NDArray[np.float64]
    types: dict[str, NDArray[np.float64]]


def drawn(
    chance: np.random.Generator, kiosks: int, *, tailed: bool, withheld: float = 0.0,
    refused_of_site: float = 0.0,
) -> Drawn:  # fmt: skip
    """One fleet. withheld: so much more of the first kiosk's. refused_of_site: so much more of the
    first site's fields.
    """
    shape = (kiosks, WINDOW_DAYS + LOOKS)
    results = chance.poisson(RESULTS_A_DAY, shape).astype(float)
    results[:, 6::7] = 0

    def between() -> NDArray[np.float64]:
        if not tailed:
            return chance.standard_normal((kiosks, 1))
        apart: NDArray[np.float64] = chance.standard_t(TAILED, (kiosks, 1))
        return apart / float(np.sqrt(TAILED / (TAILED - 2)))

    means = {}
    for name, each in QUANTITIES.items():
        size = each.level if each.relative else 1.0
        level = each.level + size * each.between * between()
        noise = each.daily * chance.standard_normal(shape)
        with np.errstate(divide="ignore"):
            noise += each.within * chance.standard_normal(shape) / np.sqrt(results)
        means[name] = np.where(results > 0, level + size * noise, np.nan)

    def shares(mean: float, spread: float) -> NDArray[np.float64]:
        strength = 1 / spread - 1
        own: NDArray[np.float64] = chance.beta(mean * strength, (1 - mean) * strength, (kiosks, 1))
        return own

    held = shares(WITHHELD, WITHHELD_SPREAD)
    held[0] += withheld
    bad = shares(REFUSED, REFUSED_SPREAD)
    bad[::SITES] += refused_of_site
    fields = results * FIELDS
    strength = 1 / TYPES_SPREAD - 1
    own = chance.dirichlet([share * strength for share in TYPES.values()], kiosks)
    cells = np.array([chance.multinomial(int(CELLS * RESULTS_A_DAY * RECENT_DAYS), p) for p in own])
    return Drawn(
        means,
        results,
        chance.binomial(results.astype(int), np.minimum(1, held)).astype(float),
        fields,
        chance.binomial(fields.astype(int), np.minimum(1, bad)).astype(float),
        {name: cells[:, place].astype(float) for place, name in enumerate(TYPES)},
    )


def told(fleet: Drawn, look: int) -> set[tuple[str, str, str]]:
    """What the page would say on the evening of a look, from 1."""
    days = slice(look, look + WINDOW_DAYS)
    kiosks = len(fleet.results)
    first = date(2026, 1, 1)
    return names_of(
        judge(
            FleetDays(
                tuple(f"kiosk-{number}" for number in range(kiosks)),
                tuple(f"site-{number % SITES}" for number in range(kiosks)),
                tuple(first + timedelta(days=look + number) for number in range(WINDOW_DAYS)),
                {name: values[:, days] for name, values in fleet.means.items()},
                fleet.withheld[:, days],
                fleet.results[:, days],
                fleet.refused[:, days],
                fleet.fields[:, days],
                fleet.types,
                sum(fleet.types.values()) + np.zeros(kiosks),
            )
        ).outliers
    )


def false_alarms(kiosks: int, fleets: int, *, tailed: bool) -> dict[str, float]:
    """Of fleets in control, each looked at every evening of a month."""
    alarms = with_any = 0
    for seed in range(fleets):
        fleet = drawn(np.random.default_rng([1, kiosks, seed]), kiosks, tailed=tailed)
        # What stands there on the first evening is told once, as what comes later is.
        seen = set().union(*(told(fleet, look) for look in range(1, LOOKS + 1)))
        alarms += len(seen)
        with_any += bool(seen)
    return {"fleet_months": fleets, "alarms": alarms, "a_fleet_month": alarms / fleets,
            "fleets_with_any": with_any / fleets}  # fmt: skip


def found_after(name: str, share: float, kiosks: int, fleets: int) -> dict[str, float | None]:
    """Days until a quantity of one kiosk that falls at once is told; None of never within a
    month. The fault begins with the first look.
    """
    days: list[int | None] = []
    for seed in range(fleets):
        fleet = drawn(np.random.default_rng([2, kiosks, seed]), kiosks, tailed=False)
        fleet.means[name][0, WINDOW_DAYS + 1 :] *= 1 - share
        days.append(_first(fleet, lambda each: each[1] == "kiosk-0" and each[2] == name))
    return _told_days(days)


def _first(fleet: Drawn, wanted: Callable[[tuple[str, str, str]], bool]) -> int | None:
    for look in range(1, LOOKS + 1):
        if any(wanted(each) for each in told(fleet, look)):
            return look - 1
    return None


def _told_days(days: list[int | None]) -> dict[str, float | None]:
    known = [each for each in days if each is not None]
    return {
        "fleets": len(days),
        "found_within_a_month": len(known) / len(days),
        "days_median": median(known) if known else None,
        "days_most": max(known) if known else None,
    }


def found_share(kiosks: int, fleets: int, **fault: float) -> float:
    """Share of fleets in which a fault that always was there is told on the last evening."""
    who = "kiosk-0" if "withheld" in fault else "site-0"
    what = "withheld" if "withheld" in fault else "refused"
    hits = 0
    for seed in range(fleets):
        fleet = drawn(np.random.default_rng([3, kiosks, seed]), kiosks, tailed=False, **fault)
        hits += any(each[1:] == (who, what) for each in told(fleet, LOOKS))
    return hits / fleets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fleets", type=int, default=100)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    n = given.fleets
    write_json_atomically(
        given.out,
        {
            "looks": LOOKS,
            "results_a_day": RESULTS_A_DAY,
            "false_alarms": {
                f"{kiosks} kiosks{', tailed' if tailed else ''}": false_alarms(
                    kiosks, n, tailed=tailed
                )
                for kiosks in (24, 100)
                for tailed in (False, True)
            },
            "lamp_10": found_after("exposure", 0.10, 24, n),
            "lamp_20": found_after("exposure", 0.20, 24, n),
            "stain_15": found_after("stain_density", 0.15, 24, n),
            "withheld_15": found_share(24, n, withheld=0.15),
            "withheld_25": found_share(24, n, withheld=0.25),
            "refused_of_site_15": found_share(24, n, refused_of_site=0.15),
            "refused_of_site_25": found_share(24, n, refused_of_site=0.25),
        },
    )


if __name__ == "__main__":
    main()
