"""Results as lists, sums by day and by site, and one of them with all that is stored of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from edgehemo.statistics.binomial import share_interval
from edgehemo_laboratory.errors import LaboratoryError
from edgehemo_laboratory.intake.contents import unpacked
from edgehemo_laboratory.seeing.filters import GRADES, Chosen
from edgehemo_laboratory.storage.interface import Row, Statements

# Results of one page.
PAGE = 50
_STANDINGS = ("given", "withheld", "held", "withdrawn")
_SEPARATOR = "~"


@dataclass(frozen=True, slots=True)
class Sums:
    """How many results there are of each kind. grades: in the order of `GRADES`; corrected: of
    all.
    """

    given: int
    withheld: int
    held: int
    withdrawn: int
    corrected: int
    grades: tuple[int, ...]

    @property
    def results(self) -> int:
        return self.given + self.withheld + self.held + self.withdrawn

    @property
    def withheld_share(self) -> tuple[float, float, float] | None:
        """Share of those that were not withdrawn, with its 95 % interval; None of none."""
        of = self.given + self.withheld + self.held
        return (self.withheld / of, *share_interval(self.withheld, of)) if of else None

    def plus(self, other: Sums) -> Sums:
        return Sums(
            self.given + other.given,
            self.withheld + other.withheld,
            self.held + other.held,
            self.withdrawn + other.withdrawn,
            self.corrected + other.corrected,
            tuple(a + b for a, b in zip(self.grades, other.grades, strict=True)),
        )


NONE = Sums(0, 0, 0, 0, 0, (0,) * len(GRADES))


@dataclass(frozen=True, slots=True)
class Summed:
    """Sums of what was chosen: by day, oldest first, and by site."""

    days: dict[date, Sums]
    sites: dict[str, Sums]
    all: Sums


async def summed(statements: Statements, chosen: Chosen) -> Summed:
    """The sums, from the index alone."""
    where, values = chosen.where()
    kinds = {
        **{
            f"n_{name}": f"CASE WHEN r.standing = '{name}' THEN 1 ELSE 0 END" for name in _STANDINGS
        },
        "n_corrected": "r.corrected",
        **{
            f"n_{name}": f"CASE WHEN r.standing = 'given' AND r.grade = '{name}' THEN 1 ELSE 0 END"
            for name in GRADES
        },
    }
    counted = ", ".join(f"sum({what}) AS {name}" for name, what in kinds.items())
    together = ", ".join(f"sum({name})" for name in kinds)
    rows = await statements.rows(
        f"WITH d AS (SELECT r.counted_day AS day, r.store AS store, {counted} FROM result r "
        f"WHERE {where} GROUP BY r.counted_day, r.store) "
        f"SELECT 'day', d.day, {together} FROM d GROUP BY d.day UNION ALL "
        f"SELECT 'site', k.site, {together} FROM d JOIN records s ON s.store = d.store "
        "JOIN kiosk k ON k.number = s.kiosk GROUP BY k.site",
        *values,
    )
    found = {part: {key: _sums(counts) for kind, key, *counts in rows if kind == part}
             for part in ("day", "site")}  # fmt: skip
    total = NONE
    for each in found["site"].values():
        total = total.plus(each)
    days = {date.fromisoformat(day): found["day"][day] for day in sorted(found["day"])}
    return Summed(days, dict(sorted(found["site"].items())), total)


def _sums(counts: Sequence[Any]) -> Sums:
    given, withheld, held, withdrawn, corrected, *grades = (int(each) for each in counts)
    return Sums(given, withheld, held, withdrawn, corrected, tuple(grades))


@dataclass(frozen=True, slots=True)
class Listed:
    """A row of the list. day: that it counts for."""

    store: str
    result_id: str
    day: str
    made_at: str
    kiosk: str
    site: str
    sample: str | None
    standing: str
    corrected: bool
    grade: str | None
    withheld: str | None
    hgb_g_per_l: float | None
    hgb_low: float | None
    hgb_high: float | None
    accepted: int
    refused: int
    simulated: bool

    @property
    def key(self) -> str:
        """Where a page ends, as part of an address."""
        return _SEPARATOR.join((self.day, self.store, self.made_at, self.result_id))


async def listed(
    statements: Statements, chosen: Chosen, after: str = ""
) -> tuple[list[Listed], str]:
    """A page of the list, the newest day first, and where the next begins; empty at the end.

    after: where it begins. LaboratoryError for a place that is none.
    """
    where, values = chosen.where()
    keys = "r.counted_day, r.store, r.made_at, r.result_id"
    if after:
        place = after.split(_SEPARATOR)
        if len(place) != 4:
            raise LaboratoryError("there is no such page: begin with the first")
        marks = ", ".join(f"${len(values) + number}" for number in range(1, 5))
        where += f" AND ({keys}) < ({marks})"
        values += place
    found = await statements.rows(
        f"SELECT {keys} FROM result r WHERE {where} ORDER BY r.counted_day DESC, r.store DESC, "
        f"r.made_at DESC, r.result_id DESC LIMIT {PAGE + 1}",
        *values,
    )
    rows = [await _listed(statements, store, result_id) for _, store, _, result_id in found[:PAGE]]
    return rows, rows[-1].key if len(found) > PAGE else ""


async def _listed(statements: Statements, store: str, result_id: str) -> Listed:
    (row,) = await statements.rows(
        "SELECT r.store, r.result_id, r.counted_day, r.made_at, k.name, k.site, r.sample, "
        "r.standing, r.corrected, r.grade, r.withheld, r.hgb_g_per_l, r.hgb_low, r.hgb_high, "
        "r.accepted, r.refused, r.simulated FROM result r JOIN records s ON s.store = r.store "
        "JOIN kiosk k ON k.number = s.kiosk WHERE r.store = $1 AND r.result_id = $2",
        store, result_id,
    )  # fmt: skip
    values = dict(zip(Listed.__slots__, row, strict=True))
    return Listed(
        **{**values, "corrected": bool(values["corrected"]), "simulated": bool(values["simulated"])}
    )


@dataclass(frozen=True, slots=True)
class StoredOne:
    """A version as it came. vouched: the entry of the chain that names it: chain, number, when, by
    whom, hash. said: what it says.
    """

    identity: str
    version: int
    state: str
    change: str
    changed_at: str
    size: int
    came_at_s: int
    vouched: tuple[str, int, str, str, str]
    newest: bool
    said: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Whole:
    """A result with all that is stored of it. columns: of `result`; versions: the newest first;
    paired: what an analyser measured of its sample; pictures: how many are here, wanted: whether
    they were asked for and what came of it, None where nobody asked.
    """

    listed: Listed
    columns: dict[str, Any]
    versions: list[StoredOne]
    paired: list[tuple[str, float, str | None]]
    pictures: int
    wanted: tuple[str, str, str | None, str] | None


_SHOWN = (
    "hct_l_per_l", "rbc_1e12_per_l", "hgb_index", "hct_index", "rbc_index", "operator", "clock",
    "identified", "bundle_sha256", "profile_sha256", "software_version", "identity",
)  # fmt: skip
_JSON = ("checks", "failed", "types", "person")


async def whole_result(statements: Statements, store: str, result_id: str) -> Whole:
    """One result; LaboratoryError where there is none."""
    found = await statements.rows(
        f"SELECT {', '.join((*_SHOWN, *_JSON))} FROM result WHERE store = $1 AND result_id = $2",
        store, result_id,
    )  # fmt: skip
    if not found:
        raise LaboratoryError("there is no such result here")
    values = dict(zip((*_SHOWN, *_JSON), found[0], strict=True))
    for name in _JSON:
        values[name] = json.loads(values[name]) if values[name] else {}
    row = await _listed(statements, store, result_id)
    versions = await statements.rows(
        "SELECT v.identity, v.version, v.state, v.change, v.changed_at, v.size, v.came_at_s, "
        "a.chain, a.number, a.at, a.actor, a.hash, v.body FROM version v "
        "JOIN audit a ON a.chain = v.chain AND a.number = v.entry "
        "WHERE v.store = $1 AND v.result_id = $2 "
        "ORDER BY v.version DESC, v.changed_at DESC, v.identity DESC",
        store, result_id,
    )  # fmt: skip
    paired = await statements.rows(
        "SELECT p.measurand, p.value, p.analyser FROM paired p WHERE p.store = $1 "
        "AND p.sample = $2 AND p.number = (SELECT max(n.number) FROM paired n "
        "WHERE n.store = p.store AND n.sample = p.sample AND n.measurand = p.measurand)",
        store, row.sample,
    )  # fmt: skip
    ((pictures,),) = await statements.rows(
        "SELECT count(*) FROM picture WHERE store = $1 AND result_id = $2", store, result_id
    )
    wanted = await statements.rows(
        "SELECT by_whom, at, settled_at, words FROM wanted_pictures "
        "WHERE store = $1 AND result_id = $2",
        store, result_id,
    )  # fmt: skip
    return Whole(
        row,
        values,
        [_stored(each, values["identity"]) for each in versions],
        [(name, float(value), analyser) for name, value, analyser in paired],
        pictures,
        tuple(wanted[0]) if wanted else None,
    )


def _stored(row: Row, newest: str) -> StoredOne:
    identity, version, state, change, changed_at, size, came_at_s, *vouched, body = row
    chain, number, at, actor, digits = vouched
    return StoredOne(
        identity=identity,
        version=version,
        state=state,
        change=change,
        changed_at=changed_at,
        size=size,
        came_at_s=came_at_s,
        vouched=(chain, number, at, actor, digits),
        newest=identity == newest,
        said=json.loads(unpacked(bytes(body))),
    )
