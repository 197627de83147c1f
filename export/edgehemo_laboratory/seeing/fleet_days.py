"""The days of all kiosks as arrays, from the sums that the intake keeps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgehemo_laboratory.storage.days import CHECKS
from edgehemo_laboratory.storage.interface import Statements

# Days that are looked at: a baseline of two weeks, and four weeks and more after it.
WINDOW_DAYS = 56
# Days by which a kiosk is set beside the fleet.
RECENT_DAYS = 28
Array = NDArray[np.float64]
_Types = dict[str, dict[str, int]]
_READ = "k.number, d.day, d.given, d.withheld, d.held, d.accepted, d.refused, d.hgb_n, d.hgb_sum"


@dataclass(frozen=True, slots=True)
class FleetDays:
    """Kiosks that sent anything in these days: K of them, D days.

    names, sites: of the kiosks. days: all of them, oldest first. means: quantity -> mean of the
    results of each day, float64 (K, D), NaN of days without. withheld, results: of each day, (K,
    D); refused, fields: likewise. types: red cell type -> cells of the recent days, (K,); cells:
    all of them.
    """

    names: tuple[str, ...]
    sites: tuple[str, ...]
    days: tuple[date, ...]
    means: dict[str, Array]
    withheld: Array
    results: Array
    refused: Array
    fields: Array
    types: dict[str, Array]
    cells: Array


async def fleet_days(statements: Statements, until: date) -> FleetDays:
    """The last days until a day, of kiosks that are in service."""
    days = tuple(until - timedelta(days=back) for back in reversed(range(WINDOW_DAYS)))
    pairs = ", ".join(f"d.{name}_n, d.{name}_sum" for name in CHECKS)
    rows = await statements.rows(
        f"SELECT {_READ}, {pairs} FROM result_day d JOIN records s ON s.store = d.store "
        "JOIN kiosk k ON k.number = s.kiosk WHERE d.day >= $1 AND d.day <= $2 "
        "AND k.revoked_at IS NULL",
        days[0].isoformat(), until.isoformat(),
    )  # fmt: skip
    numbers = sorted({row[0] for row in rows})
    known = dict(await _named(statements))
    at_kiosk = {number: place for place, number in enumerate(numbers)}
    at_day = {day.isoformat(): place for place, day in enumerate(days)}
    shape = (len(numbers), len(days))
    sums = np.zeros((7 + 2 * len(CHECKS), *shape))
    if rows:
        kiosk = np.array([at_kiosk[row[0]] for row in rows])
        day = np.array([at_day[row[1]] for row in rows])
        values = np.array([row[2:] for row in rows], np.float64).T
        for place, column in enumerate(values):
            np.add.at(sums[place], (kiosk, day), column)
    given, withheld, held, accepted, refused, hgb_n, hgb_sum = sums[:7]
    means = {"hgb": _mean(hgb_sum, hgb_n)}
    for place, name in enumerate(CHECKS):
        means[name] = _mean(sums[8 + 2 * place], sums[7 + 2 * place])
    recent = days[-RECENT_DAYS].isoformat()
    types, cells = await _types(statements, recent, until.isoformat(), at_kiosk)
    return FleetDays(
        tuple(known[number][0] for number in numbers),
        tuple(known[number][1] for number in numbers),
        days,
        means,
        withheld,
        given + withheld + held,
        refused,
        accepted + refused,
        types,
        cells,
    )


async def _named(statements: Statements) -> list[tuple[int, tuple[str, str]]]:
    rows = await statements.rows("SELECT number, name, site FROM kiosk")
    return [(number, (name, site)) for number, name, site in rows]


async def _types(
    statements: Statements, since: str, until: str, at_kiosk: dict[int, int]
) -> tuple[dict[str, Array], Array]:
    rows = await statements.rows(
        "SELECT s.kiosk, d.types FROM result_day d JOIN records s ON s.store = d.store "
        "WHERE d.day >= $1 AND d.day <= $2",
        since, until,
    )  # fmt: skip
    found: dict[str, Array] = {}
    cells = np.zeros(len(at_kiosk))
    decoder = msgspec.json.Decoder(_Types)
    for number, text in rows:
        place = at_kiosk.get(number)
        if place is None:
            continue
        for name, count in decoder.decode(text).get("rbc", {}).items():
            if name not in found:
                found[name] = np.zeros(len(at_kiosk))
            found[name][place] += count
            cells[place] += count
    return found, cells


def _mean(total: Array, count: Array) -> Array:
    found = np.full(total.shape, np.nan)
    np.divide(total, count, out=found, where=count > 0)
    return found
