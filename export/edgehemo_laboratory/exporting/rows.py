"""Results as rows of a table, read a thousand at a time: memory does not grow with their number.

Withdrawn results are left out unless they are asked for; of them, and of held ones, no value is
told. A corrected result is one row, of its newest version. Without names the sample's number, the
operator and the day are left out, as a kiosk that sends pseudonyms leaves them out.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgehemo.measurands import MEASURANDS
from edgehemo.records.deidentified import OLDEST_TOLD_YEARS
from edgehemo_laboratory.clock import moment_of
from edgehemo_laboratory.seeing.filters import Chosen
from edgehemo_laboratory.storage.days import CHECKS
from edgehemo_laboratory.storage.interface import Row, Statements, Value

AT_ONCE = 1000
Cell = str | int | float | bool | None
# Columns with their kinds, in their order; units stand in the names.
TEXT, WHOLE, NUMBER, YES = "text", "whole", "number", "yes or no"
_CHECK_UNITS = {
    "focus": "per_um", "exposure": "counts", "evenness": "share", "stain_density": "od",
    "stain_colour": "ratio", "crowding": "share", "envelope": "distance",
}  # fmt: skip
COLUMNS: Mapping[str, str] = {
    "day": TEXT, "site": TEXT, "kiosk": TEXT, "store": TEXT, "result_id": TEXT, "version": WHOLE,
    "standing": TEXT, "corrected": YES, "made_at": TEXT, "came_at_utc": TEXT, "clock": TEXT,
    "simulated": YES, "sample": TEXT, "operator": TEXT, "age_years": NUMBER, "sex": TEXT,
    "grade": TEXT, "withheld_code": TEXT,
    "hgb_g_per_l": NUMBER, "hgb_g_per_l_low": NUMBER, "hgb_g_per_l_high": NUMBER,
    "hct_l_per_l": NUMBER, "rbc_1e12_per_l": NUMBER,
    "hgb_index": NUMBER, "hct_index": NUMBER, "rbc_index": NUMBER,
    "analyser_hgb_g_per_l": NUMBER, "analyser_hct_l_per_l": NUMBER,
    "analyser_rbc_1e12_per_l": NUMBER,
    "accepted_fields": WHOLE, "refused_fields": WHOLE,
    **{f"{name}_{_CHECK_UNITS[name]}": NUMBER for name in CHECKS},
    "red_cells_by_type": TEXT, "bundle_sha256": TEXT, "profile_sha256": TEXT,
    "software_version": TEXT, "identity_sha256": TEXT,
}  # fmt: skip
_READ = (
    "r.counted_day, r.store, r.made_at, r.result_id, k.site, k.name, r.version, r.standing, "
    "r.corrected, r.came_at_s, r.clock, r.simulated, r.identified, r.sample, r.operator, r.person, "
    "r.grade, r.withheld, r.hgb_g_per_l, r.hgb_low, r.hgb_high, r.hct_l_per_l, r.rbc_1e12_per_l, "
    "r.hgb_index, r.hct_index, r.rbc_index, r.accepted, r.refused, r.checks, r.types, "
    "r.bundle_sha256, r.profile_sha256, r.software_version, r.identity"
)
_TOLD = ("given", "withheld")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is exported. names: with samples' numbers, operators and days where kiosks sent them.
    withdrawn: withdrawn results too.
    """

    chosen: Chosen
    names: bool = False
    withdrawn: bool = False

    def where(self, first: int = 1) -> tuple[str, list[Value]]:
        where, values = self.chosen.where(first)
        if not self.withdrawn and self.chosen.outcome != "withdrawn":
            where += " AND r.standing <> 'withdrawn'"
        return where, values


async def pages(
    statements: Statements, asked: Asked, read: str, joined: str = ""
) -> AsyncIterator[list[Row]]:
    """Rows of what is asked for, a page at a time, oldest first. read: columns, the first four of
    them the place: day, store, made_at, result_id.
    """
    place = "r.counted_day, r.store, r.made_at, r.result_id"
    after: list[Value] = ["", "", "", ""]
    where, values = asked.where(5)
    while True:
        rows = await statements.rows(
            f"SELECT {read} FROM result r JOIN records s ON s.store = r.store "
            f"JOIN kiosk k ON k.number = s.kiosk {joined} "
            f"WHERE ({place}) > ($1, $2, $3, $4) AND {where} ORDER BY {place} LIMIT {AT_ONCE}",
            *after, *values,
        )  # fmt: skip
        if not rows:
            return
        yield rows
        after = list(rows[-1][:4])


async def exported(statements: Statements, asked: Asked) -> AsyncIterator[list[dict[str, Cell]]]:
    """Rows of the table, a page at a time."""
    async for rows in pages(statements, asked, _READ):
        measured = await _measured(statements, rows)
        yield [_told(row, measured, names=asked.names) for row in rows]


async def _measured(
    statements: Statements, rows: list[Row]
) -> dict[tuple[str, str], dict[str, float]]:
    """What analysers measured of some rows' samples: (store, sample) -> measurand -> value."""
    stores = sorted({row[1] for row in rows})
    found: dict[tuple[str, str], dict[str, float]] = {}
    marks = ", ".join(f"${number}" for number in range(1, len(stores) + 1))
    values = await statements.rows(
        f"SELECT store, sample, measurand, value FROM paired WHERE store IN ({marks}) "
        "ORDER BY store, number",
        *stores,
    )
    wanted = {(row[1], row[13]) for row in rows}
    for store, sample, measurand, value in values:
        if (store, sample) in wanted:
            found.setdefault((store, sample), {})[measurand] = float(value)
    return found


def _told(
    row: Row, measured: Mapping[tuple[str, str], Mapping[str, float]], *, names: bool
) -> dict[str, Cell]:
    (
        day, store, made_at, result_id, site, kiosk, version, standing, corrected, came_at_s, clock,
        simulated, identified, sample, operator, person, grade, withheld, hgb, low, high, hct, rbc,
        hgb_index, hct_index, rbc_index, accepted, refused, checks, types, bundle, profile,
        software, identity,
    ) = row  # fmt: skip
    hidden = bool(identified) and not names
    who: dict[str, Any] = json.loads(person) if person else {}
    usable = standing in _TOLD
    analyser = measured.get((store, sample), {})
    values: dict[str, Any] = json.loads(checks)
    cells = json.loads(types).get("rbc")
    numbers = (grade, hgb, low, high, hct, rbc, hgb_index, hct_index, rbc_index)
    grade, hgb, low, high, hct, rbc, hgb_index, hct_index, rbc_index = (
        numbers if usable else (None,) * len(numbers)
    )
    return {
        "day": f"{day[:7]}-01" if hidden else day,
        "site": site,
        "kiosk": kiosk,
        "store": store,
        "result_id": result_id,
        "version": version,
        "standing": standing,
        "corrected": bool(corrected),
        "made_at": f"{made_at[:7]}-01T00:00:00+00:00" if hidden else made_at,
        "came_at_utc": moment_of(came_at_s)[:7] if hidden else moment_of(came_at_s),
        "clock": clock,
        "simulated": bool(simulated),
        "sample": None if hidden else sample,
        "operator": None if hidden else operator,
        "age_years": _age(who.get("age_years"), hidden=hidden),
        "sex": who.get("sex"),
        "grade": grade,
        "withheld_code": withheld,
        "hgb_g_per_l": hgb,
        "hgb_g_per_l_low": low,
        "hgb_g_per_l_high": high,
        "hct_l_per_l": hct,
        "rbc_1e12_per_l": rbc,
        "hgb_index": hgb_index,
        "hct_index": hct_index,
        "rbc_index": rbc_index,
        **{f"analyser_{name}": analyser.get(name) for name in MEASURANDS},
        "accepted_fields": accepted,
        "refused_fields": refused,
        **{f"{name}_{unit}": values.get(name) for name, unit in _CHECK_UNITS.items()},
        "red_cells_by_type": None if cells is None else json.dumps(cells, sort_keys=True),
        "bundle_sha256": bundle,
        "profile_sha256": profile,
        "software_version": software,
        "identity_sha256": identity,
    }


def _age(years: Any, *, hidden: bool) -> float | None:
    """An age as a kiosk without names tells it."""
    if not isinstance(years, int | float):
        return None
    if not hidden:
        return float(years)
    return min(float(int(years)), float(OLDEST_TOLD_YEARS)) if years >= 2 else years // 0.5 / 2
