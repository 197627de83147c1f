"""Analyser values of stored samples, beside the device's own."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgehemo.errors import RecordsError
from edgehemo.measurands import MEASURAND_FACTS, MEASURANDS, PLAUSIBLE
from edgehemo.records.rows import insert_vouched
from edgehemo.records.store import Reader, Writer


@dataclass(frozen=True, slots=True)
class Paired:
    """One value that an analyser measured of a sample, in the unit that ``measurand`` ends with."""

    sample: str
    measurand: str
    value: float
    analyser: str
    by: str
    at: str


def pair(
    writer: Writer, sample: str, values: dict[str, float], *, analyser: str, by: str
) -> list[Paired]:
    """Keep what an analyser measured of a stored sample.

    values: by measurand (``hgb_g_per_l``). Raises RecordsError for a sample that has no result, an
    unknown measurand or a value out of its range.
    """
    made = []
    if not analyser.strip():
        raise RecordsError("name the analyser that measured it")
    with writer.transaction():
        if not writer.rows("SELECT 1 FROM latest WHERE sample = ? LIMIT 1", (sample,)):
            raise RecordsError("no result of a sample of this number is stored")
        for measurand, value in values.items():
            if measurand not in MEASURANDS:
                known = ", ".join(MEASURANDS)
                raise RecordsError(f"{measurand} is not measured; known are {known}")
            facts = MEASURAND_FACTS[measurand]
            low, high = PLAUSIBLE[measurand]
            if not math.isfinite(value) or not low <= value <= high:
                raise RecordsError(
                    f"{facts.name} {value:g} is not possible; it lies in {low:g} to {high:g} "
                    f"{facts.unit}"
                )
            item = Paired(sample, measurand, float(value), analyser, by, writer.stamp().text)
            row = {name: getattr(item, name) for name in Paired.__slots__}
            insert_vouched(writer, "paired", row, "", {"measurand": measurand}, by=by)
            made.append(item)
    return made


def pairs(reader: Reader, sample: str | None = None) -> list[Paired]:
    """The values that count, of a sample or of all: the newest of each quantity."""
    where, values = ("", ()) if sample is None else (" WHERE sample = ?", (sample,))
    columns = ", ".join(Paired.__slots__)
    rows = reader.rows(
        f"SELECT {columns}, max(number) FROM paired{where} GROUP BY sample, measurand "
        "ORDER BY max(number)",
        values,
    )
    return [Paired(**dict(zip(Paired.__slots__, row[:-1], strict=True))) for row in rows]
