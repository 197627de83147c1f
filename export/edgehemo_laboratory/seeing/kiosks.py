"""One kiosk: what came of it day by day, its checks, what is missing, refused and asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from edgehemo_laboratory.storage.days import CHECKS
from edgehemo_laboratory.storage.interface import Statements

# Days of a kiosk's page, refused items and pictures of it.
SHOWN_DAYS = 60
MOST_REFUSED = 20
MOST_WANTED = 20


@dataclass(frozen=True, slots=True)
class KioskDay:
    """A day of a kiosk, of all its records. means: check -> mean of the results' values, those
    without any left out. hgb: mean, g/L, None without any.
    """

    day: date
    results: int
    given: int
    withheld: int
    held: int
    withdrawn: int
    corrected: int
    accepted: int
    refused: int
    hgb: float | None
    means: dict[str, float]


@dataclass(frozen=True, slots=True)
class Refused:
    """An item that was not stored. at_s: when it came; words: why."""

    store: str
    sequence: int
    at_s: int
    words: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """A result whose pictures a person asked for. settled_at: when the kiosk had sent what it
    would, None while it has not; words: why it sent none.
    """

    store: str
    result_id: str
    by_whom: str
    at: str
    settled_at: str | None
    words: str
    pictures: int


_SUMS = ("results", "given", "withheld", "held", "withdrawn", "corrected", "accepted", "refused")


async def kiosk_days(statements: Statements, stores: Sequence[str]) -> list[KioskDay]:
    """The newest days of a kiosk, oldest first."""
    if not stores:
        return []
    marks = ", ".join(f"${number}" for number in range(2, 2 + len(stores)))
    pairs = ", ".join(f"sum({name}_n), sum({name}_sum)" for name in CHECKS)
    rows = await statements.rows(
        f"SELECT day, {', '.join(f'sum({name})' for name in _SUMS)}, sum(hgb_n), sum(hgb_sum), "
        f"{pairs} FROM result_day WHERE store IN ({marks}) GROUP BY day ORDER BY day DESC LIMIT $1",
        SHOWN_DAYS, *stores,
    )  # fmt: skip
    found = []
    for day, *values in reversed(rows):
        counts: dict[str, int] = dict(zip(_SUMS, map(int, values), strict=False))
        hgb_n, hgb_sum, *checks = values[len(_SUMS) :]
        means = {
            name: float(checks[2 * at + 1]) / int(checks[2 * at])
            for at, name in enumerate(CHECKS)
            if checks[2 * at]
        }
        hgb = float(hgb_sum) / int(hgb_n) if hgb_n else None
        found.append(KioskDay(day=date.fromisoformat(day), hgb=hgb, means=means, **counts))
    return found


async def refused_of(statements: Statements, stores: Sequence[str]) -> list[Refused]:
    """What was refused of a kiosk, the newest first."""
    found: list[Refused] = []
    for store in stores:
        rows = await statements.rows(
            "SELECT store, sequence, at_s, words FROM arrival "
            "WHERE store = $1 AND outcome = 'refused' ORDER BY at_s DESC, sequence DESC LIMIT $2",
            store, MOST_REFUSED,
        )  # fmt: skip
        found += [Refused(*row) for row in rows]
    return sorted(found, key=lambda each: (-each.at_s, -each.sequence))[:MOST_REFUSED]


async def doubled_of(statements: Statements, store: str, most: int = 20) -> list[int]:
    """Numbers of records that came with several contents."""
    rows = await statements.rows(
        "SELECT sequence FROM doubled WHERE store = $1 ORDER BY sequence LIMIT $2", store, most
    )
    return [row[0] for row in rows]


async def wanted_of(statements: Statements, stores: Sequence[str]) -> list[Wanted]:
    """Pictures of a kiosk that people asked for, the newest first."""
    found: list[Wanted] = []
    for store in stores:
        rows = await statements.rows(
            "SELECT w.store, w.result_id, w.by_whom, w.at, w.settled_at, w.words, "
            "(SELECT count(*) FROM picture p WHERE p.store = w.store "
            "AND p.result_id = w.result_id) FROM wanted_pictures w WHERE w.store = $1 "
            "ORDER BY w.at DESC LIMIT $2",
            store, MOST_WANTED,
        )  # fmt: skip
        found += [Wanted(*row) for row in rows]
    return sorted(found, key=lambda each: each.at, reverse=True)[:MOST_WANTED]


async def newest_bundles(statements: Statements) -> dict[str, str]:
    """Store -> digest of the bundle of its newest result, where that names one."""
    rows = await statements.rows(
        "SELECT s.store, (SELECT r.bundle_sha256 FROM result r WHERE r.store = s.store "
        "ORDER BY r.counted_day DESC, r.made_at DESC, r.result_id DESC LIMIT 1) FROM records s"
    )
    return {store: digest for store, digest in rows if digest}
