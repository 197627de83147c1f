"""What the drift of a device is told by: one row a result, pooled from what was read of its images.

A row is made with the result, in its transaction, so that years of results are summed up by the
database alone. Results from before there were such rows are caught up with by `catch_up`.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

from edgehemo.cells.cell import UNCERTAIN
from edgehemo.errors import RecordsError
from edgehemo.guidance.withheld import not_given
from edgehemo.records.reading_document import unpacked
from edgehemo.records.results import inserted
from edgehemo.records.store import Reader, Writer
from edgehemo.screening.cell_types import interior_cells
from edgehemo.screening.field import FieldReading
from edgehemo.screening.sample import UnreadableImage

log = logging.getLogger(__name__)

# Called with how many results were caught up with, and how many there are.
OnResult = Callable[[int, int], None]
# Results caught up with in one transaction: a reading is some MB, and others may wait to write.
_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Measured:
    """One result's row, as the columns of `measured` are called; see there for units.

    A mean is None where no field gave the value. refusals: code -> fields refused for it.
    """

    readable: int
    background_red: float | None
    background_green: float | None
    background_blue: float | None
    focus: float | None
    unlikeness: float | None
    cell_od_red: float | None
    cell_od_green: float | None
    cell_od_blue: float | None
    hgb_index: float | None
    red_cells_a_field: float | None
    red_cells_named: int
    red_cells_uncertain: int
    white_cells_named: int
    white_cells_uncertain: int
    unfamiliar: bool
    refusals: Mapping[str, int]


def measured_of(
    images: Iterable[FieldReading | UnreadableImage], reasons: Iterable[str] = ()
) -> Measured:
    """The row of a result from the readings of its images.

    reasons: why types of its cells are not given, as the result words it.
    """
    readings = [image for image in images if isinstance(image, FieldReading)]
    lights = [item.background_rgb for item in readings if item.background_rgb is not None]
    indices = [item.indices for item in readings if item.accepted and item.indices is not None]
    named: Counter[str] = Counter()
    uncertain: Counter[str] = Counter()
    for item in readings:
        for cell in interior_cells(item) if item.accepted else ():
            if cell.type == UNCERTAIN:
                uncertain[cell.kind] += 1
            elif cell.type is not None:
                named[cell.kind] += 1
    refusals = Counter(code for item in readings for code in item.quality.faults if code)
    unfamiliar = not_given("CELLS_UNFAMILIAR").reason
    return Measured(
        readable=len(readings),
        background_red=_mean(light[0] for light in lights),
        background_green=_mean(light[1] for light in lights),
        background_blue=_mean(light[2] for light in lights),
        focus=_mean(_checked(readings, "focus")),
        unlikeness=_mean(_checked(readings, "envelope")),
        cell_od_red=_mean(item.cell_od_red for item in indices if item.cell_cover > 0),
        cell_od_green=_mean(item.cell_od_green for item in indices if item.cell_cover > 0),
        cell_od_blue=_mean(item.cell_od_blue for item in indices if item.cell_cover > 0),
        hgb_index=_mean(item.hgb_index for item in indices),
        red_cells_a_field=_mean(
            item.cells.counts["rbc"]
            for item in readings
            if item.accepted and item.cells is not None
        ),
        red_cells_named=named["rbc"],
        red_cells_uncertain=uncertain["rbc"],
        white_cells_named=named["wbc"],
        white_cells_uncertain=uncertain["wbc"],
        unfamiliar=any(reason == unfamiliar for reason in reasons),
        refusals=dict(refusals),
    )


def keep_measured(connection: sqlite3.Connection, number: int, measured: Measured) -> None:
    """Insert the row of a result and its refusals, in the transaction under way."""
    columns = [item.name for item in fields(Measured) if item.name != "refusals"]
    values = {name: getattr(measured, name) for name in columns}
    row = {"result": number, **values, "unfamiliar": int(measured.unfamiliar)}
    inserted(connection, "measured", row)
    for code, count in sorted(measured.refusals.items()):
        inserted(connection, "measured_refusal", {"result": number, "code": code, "fields": count})


def unmeasured(reader: Reader) -> list[int]:
    """The results that have no row yet, oldest first."""
    rows = reader.rows(
        "SELECT r.number FROM result r LEFT JOIN measured m ON m.result = r.number "
        "WHERE m.result IS NULL ORDER BY r.number"
    )
    return [int(row[0]) for row in rows]


def catch_up(writer: Writer, on_result: OnResult | None = None) -> int:
    """Make the rows that are missing from the stored readings; returns how many were made.

    A result whose reading is gone or of another version gets a row without values, so that it is
    not tried each time; the log says so.
    """
    missing = unmeasured(writer)
    for first in range(0, len(missing), _AT_ONCE):
        numbers = missing[first : first + _AT_ONCE]
        made = [(number, _from_reading(writer, number)) for number in numbers]
        with writer.transaction() as connection:
            for number, measured in made:
                keep_measured(connection, number, measured)
        if on_result is not None:
            on_result(first + len(numbers), len(missing))
    return len(missing)


def _from_reading(reader: Reader, number: int) -> Measured:
    ((digest,),) = reader.rows("SELECT reading_sha256 FROM result WHERE number = ?", (number,))
    try:
        document = unpacked(reader.contents.read(digest))
        types = document.record["sample"]["types"] or {}
        reasons = [types.get(name, "") for name in ("red_cells_reason", "white_cells_reason")]
        return measured_of(document.images(), reasons)
    except (RecordsError, KeyError, TypeError) as error:
        log.warning("result number %d says nothing of drift: %s", number, error)
        return measured_of(())


def _checked(readings: Sequence[FieldReading], name: str) -> Iterable[float]:
    """The values of one check, of the fields that have it."""
    return (
        check.value
        for item in readings
        for check in item.quality.checks
        if check.name == name and check.value is not None
    )


def _mean(values: Iterable[float]) -> float | None:
    known = [float(value) for value in values]
    return sum(known) / len(known) if known else None
