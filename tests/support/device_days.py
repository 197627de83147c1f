"""Days of a device for tests and benchmarks: results that nobody screened, in a store's tables.

Only the rows that monitoring reads are made: cheap, so that years of days can be drawn. Every
number is drawn, and says nothing of a real instrument.
"""

from __future__ import annotations

import math
import random
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from edgehemo.records import schema

FIRST_DAY = date(2026, 1, 5)
_ZEROS = "0" * 64


@dataclass(frozen=True, slots=True)
class Usual:
    """What a steady device's results look like. Each quantity: mean, then standard deviations
    between days and among the samples of a day, both as a share of the mean. The rest are chances.
    """

    brightness: tuple[float, float, float] = (190.0, 0.010, 0.020)
    red_of_light: tuple[float, float, float] = (1.05, 0.004, 0.010)
    blue_of_light: tuple[float, float, float] = (0.92, 0.004, 0.010)
    stain: tuple[float, float, float] = (0.30, 0.030, 0.120)
    hue_of_stain: tuple[float, float, float] = (1.10, 0.020, 0.060)
    focus: tuple[float, float, float] = (2.60, 0.030, 0.120)
    cells_a_field: tuple[float, float, float] = (90.0, 0.060, 0.250)
    unlikeness: tuple[float, float, float] = (1.80, 0.040, 0.250)
    unsure_red: tuple[float, float, float] = (0.24, 0.060, 0.200)
    unsure_white: tuple[float, float, float] = (0.30, 0.060, 0.300)
    hgb: tuple[float, float, float] = (118.0, 0.010, 0.150)
    refused: float = 0.15
    withheld: float = 0.04
    overridden: float = 0.02
    fields: int = 10
    samples_a_day: float = 8.0
    weekend: bool = True


# Day (from 0) -> quantity -> factor of it (or, of a share, what is added).
Drift = Callable[[int], Mapping[str, float]]


def steady(_: int) -> Mapping[str, float]:
    """No drift."""
    return {}


@dataclass(frozen=True, slots=True)
class DrawnResult:
    """One result as it is stored. values: of `measured`, and hgb."""

    day: date
    operator: str
    values: Mapping[str, float]
    readable: int
    refused: int
    withheld: bool
    overridden: bool
    extra: Mapping[str, Any] = field(default_factory=dict)


def drawn_days(
    chance: random.Random,
    days: int,
    *,
    usual: Usual | None = None,
    drift: Drift = steady,
    operator: Callable[[int], str] = lambda _: "amina",
    first: date = FIRST_DAY,
    lasting: float = 0.0,
) -> Iterator[DrawnResult]:
    """The results of some days. lasting: correlation of a day with the day before."""
    usual = usual or Usual()
    names = [name for name in Usual.__slots__ if isinstance(getattr(usual, name), tuple)]
    level = dict.fromkeys(names, 0.0)
    for number in range(days):
        for name in names:
            fresh = chance.gauss(0.0, 1.0)
            level[name] = lasting * level[name] + math.sqrt(1 - lasting**2) * fresh
        day = first + timedelta(days=number)
        if usual.weekend and day.weekday() >= 5:
            continue
        moved = drift(number)
        for _ in range(_poisson(chance, usual.samples_a_day)):
            values = {}
            for name in names:
                mean, between, within = getattr(usual, name)
                away = between * level[name] + within * chance.gauss(0.0, 1.0)
                values[name] = mean * moved.get(name, 1.0) * max(0.05, 1.0 + away)
            refuse = min(0.95, usual.refused + moved.get("refused", 0.0))
            withhold = min(0.95, usual.withheld + moved.get("withheld", 0.0))
            refused = sum(chance.random() < refuse for _ in range(usual.fields))
            yield DrawnResult(
                day,
                operator(number),
                values,
                usual.fields,
                refused,
                chance.random() < withhold,
                chance.random() < usual.overridden + moved.get("overridden", 0.0),
            )


def memory_store() -> sqlite3.Connection:
    """An empty store in memory, of the newest version, that takes rows without their chain."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.migrate(connection)
    connection.execute("PRAGMA foreign_keys = OFF")
    return connection


class MemoryReader:
    """Reads a connection as `edgehemo.records.store.Reader` does."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def rows(self, query: str, arguments: Any = ()) -> list[Any]:
        return self.connection.execute(query, arguments).fetchall()


def fill(
    connection: sqlite3.Connection,
    results: Sequence[DrawnResult] | Iterator[DrawnResult],
    *,
    device: str = "kiosk 1",
    simulated: bool = False,
    chance: random.Random | None = None,
) -> int:
    """Insert results; returns how many. The chain is left out."""
    chance = chance or random.Random(1)
    connection.execute("BEGIN")
    count = int(connection.execute("SELECT coalesce(max(number), 0) FROM result").fetchone()[0])
    begun = count
    for item in results:
        count += 1
        _insert(connection, count, item, device, simulated, chance)
    connection.execute("COMMIT")
    return count - begun


def _insert(
    connection: sqlite3.Connection,
    number: int,
    item: DrawnResult,
    device: str,
    simulated: bool,
    chance: random.Random,
) -> None:
    at = datetime.combine(item.day, time(9, 0), UTC) + timedelta(minutes=number % 400)
    extra = item.extra
    values = item.values
    green = values["brightness"]
    red_cells = 400
    unsure_red = _binomial(chance, red_cells, min(0.98, values["unsure_red"]))
    unsure_white = _binomial(chance, 12, min(0.98, values["unsure_white"]))
    sample = str(extra.get("sample", f"N-{number:06d}"))
    connection.execute(
        "INSERT INTO result VALUES (?, ?, ?, 'drawn', NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, "
        "'{}', ?, NULL, ?, ?, ?, 1)",
        (
            number, f"{number:016d}", sample, item.operator, device, at.isoformat(),
            int(at.timestamp()), extra.get("clock", "set"), int(simulated),
            "withheld" if item.withheld else "reported",
            None if item.withheld else values["hgb"],
            None if item.withheld else ("none" if values["hgb"] >= 120 else "mild"),
            item.readable - item.refused, item.readable, extra.get("bundle", _ZEROS),
            extra.get("profile"), extra.get("software", "0.1.0"), _ZEROS,
        ),
    )  # fmt: skip
    connection.execute(
        "INSERT INTO version VALUES (?, 1, ?, 'recorded', ?, ?, 'x', ?, 'set', '', 1)",
        (
            number, extra.get("state", "signed"), sample,
            '{"override":{"grade":null}}' if item.overridden else "{}", at.isoformat(),
        ),
    )  # fmt: skip
    connection.execute(
        "INSERT INTO measured VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?, ?, ?, ?, ?, ?)",
        (
            number, item.readable, green * values["red_of_light"], green,
            green * values["blue_of_light"], values["focus"], values["unlikeness"],
            0.6 * values["stain"], values["stain"], values["stain"] * values["hue_of_stain"],
            values["cells_a_field"], red_cells - unsure_red, unsure_red, 12 - unsure_white,
            unsure_white, int(extra.get("unfamiliar", False)),
        ),
    )  # fmt: skip
    if item.refused:
        connection.execute(
            "INSERT INTO measured_refusal VALUES (?, ?, ?)",
            (number, extra.get("code", "OUT_OF_FOCUS"), item.refused),
        )


def with_extra(results: Iterator[DrawnResult], **extra: Any) -> Iterator[DrawnResult]:
    """The results with other columns."""
    return (replace(item, extra={**item.extra, **extra}) for item in results)


def _poisson(chance: random.Random, mean: float) -> int:
    """A Poisson number (Knuth)."""
    limit, product, count = math.exp(-mean), chance.random(), 0
    while product > limit:
        product *= chance.random()
        count += 1
    return count


def _binomial(chance: random.Random, of: int, share: float) -> int:
    """About a binomial number: by its normal neighbour, within its range."""
    drawn = chance.gauss(of * share, math.sqrt(max(1e-9, of * share * (1 - share))))
    return max(0, min(of, round(drawn)))
