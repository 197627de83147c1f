"""Results of a kiosk's records by the day they count for: one row a day, made anew in the
transaction of whatever comes of it, so that it never says anything else than the results do.

Pages and comparisons of hundreds of kiosks read these rows, and no results.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from edgehemo_laboratory.storage.interface import Row, Statements, Storage, Value

# Checks of a field's quality that kiosks are compared by: light, sharpness, stain, density.
CHECKS: tuple[str, ...] = (
    "focus", "exposure", "evenness", "stain_density", "stain_colour", "crowding", "envelope",
)  # fmt: skip
_COUNTED = ("given", "withheld", "held", "withdrawn")
_BEFORE = (
    "results", *_COUNTED, "corrected", "accepted", "refused", "hgb_n", "hgb_sum",
)  # fmt: skip
# Columns of `result_day` beside its key.
DAY_COLUMNS: tuple[str, ...] = (
    *_BEFORE, *(f"{name}_{what}" for name in CHECKS for what in ("n", "sum")), "failed", "types",
)  # fmt: skip
_OF_RESULT = (
    "standing", "corrected", "accepted", "refused", "hgb_g_per_l", "checks", "failed", "types",
)  # fmt: skip
# Before it no kiosk was made: a clock that says an earlier day is wrong.
EARLIEST_DAY = "2020-01-01"

# The results of a day; values: store, day.
OF_DAY = f"SELECT {', '.join(_OF_RESULT)} FROM result WHERE store = $1 AND counted_day = $2"
# The row of a day; values: store, day and those of `day_values`.
KEEP_DAY = (
    f"INSERT INTO result_day (store, day, {', '.join(DAY_COLUMNS)}) VALUES ($1, $2, "
    f"{', '.join(f'${number}' for number in range(3, 3 + len(DAY_COLUMNS)))}) "
    "ON CONFLICT (store, day) DO UPDATE SET "
    f"{', '.join(f'{name} = excluded.{name}' for name in DAY_COLUMNS)}"
)
# Numbers of a batch that came with several contents; values: store, then the numbers.
KEEP_DOUBLED = (
    "INSERT INTO doubled (store, sequence) SELECT store, sequence FROM arrival "
    "WHERE store = $1 AND sequence {among} GROUP BY store, sequence HAVING count(*) > 1 "
    "ON CONFLICT DO NOTHING"
)


def counted_day(columns: Mapping[str, Value], came_at_s: int) -> str:
    """The day a result counts for: its own where it says one that can be, else that on which it
    came, by the receiver's clock. columns: of its content.
    """
    came = datetime.fromtimestamp(came_at_s, UTC)
    day = str(columns["day"])
    latest = (came + timedelta(days=1)).date().isoformat()
    known = columns["identified"] and columns["clock"] == "set"
    return day if known and EARLIEST_DAY <= day <= latest else came.date().isoformat()


def day_values(rows: Iterable[Row]) -> list[Value]:
    """What a day's row says, as `DAY_COLUMNS`. rows: of `OF_DAY`."""
    said = [dict(zip(_OF_RESULT, row, strict=True)) for row in rows]
    standings = Counter(each["standing"] for each in said)
    counted = [each for each in said if each["standing"] != "withdrawn"]
    hgb = _known(each["hgb_g_per_l"] for each in counted if each["standing"] == "given")
    checks = [json.loads(each["checks"]) for each in counted]
    values: list[Value] = [
        len(said),
        *(standings[name] for name in _COUNTED),
        sum(each["corrected"] for each in counted),
        sum(each["accepted"] for each in counted),
        sum(each["refused"] for each in counted),
        len(hgb),
        float(sum(hgb)),
    ]
    for name in CHECKS:
        found = _known(each.get(name) for each in checks)
        values += [len(found), float(sum(found))]
    types: dict[str, Counter[str]] = {}
    failed: Counter[str] = Counter()
    for each in counted:
        failed.update(json.loads(each["failed"]))
        for kind, cells in json.loads(each["types"]).items():
            types.setdefault(kind, Counter()).update(cells)
    return [*values, _json(failed), _json({kind: dict(cells) for kind, cells in types.items()})]


async def catch_up(storage: Storage) -> None:
    """Make all days, where results came before there were any."""
    missing = await storage.rows(
        "SELECT 1 FROM records WHERE NOT EXISTS (SELECT 1 FROM result_day) "
        "AND EXISTS (SELECT 1 FROM result) LIMIT 1"
    )

    async def work(change: Statements) -> None:
        for store, day in await change.rows("SELECT DISTINCT store, counted_day FROM result"):
            values = day_values(await change.rows(OF_DAY, store, day))
            await change.do(KEEP_DAY, store, day, *values)

    if missing:
        await storage.change(work)


def _known(values: Iterable[float | None]) -> Sequence[float]:
    return [value for value in values if value is not None]


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
