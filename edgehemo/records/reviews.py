"""What people said of single cells: kept one by one, so that they can teach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgehemo.cells.cell import NOT_A_CELL
from edgehemo.errors import RecordsError
from edgehemo.records.results import number_of, result_at
from edgehemo.records.rows import insert_vouched
from edgehemo.records.store import Reader, Writer
from edgehemo.records.versions import Amendments, RenamedCell

ReviewVerdict = Literal["confirmed", "renamed", "unsure", "not a cell"]


@dataclass(frozen=True, slots=True)
class Review:
    """One review of one cell. field, cell: positions from 0. model_type, model_score: what the
    model said. type: what the person says, None with ``unsure`` and ``not a cell``.
    """

    result: int
    field: int
    cell: int
    kind: str
    model_type: str | None
    model_score: float | None
    verdict: ReviewVerdict
    type: str | None
    by: str
    at: str


def review(
    writer: Writer,
    identifier: str,
    *,
    field: int,
    cell: int,
    type: str | None,
    is_cell: bool = True,
    by: str,
) -> Review:
    """Keep what a person said of a cell; it is on the disk when this returns.

    type: what it is; None where the person cannot tell. Raises RecordsError for a cell that the
    result does not have.
    """
    with writer.transaction():
        number = number_of(writer, identifier)
        result = result_at(writer, number)
        images = result.document(writer).record["images"]
        cells = images[field].get("cells") if 0 <= field < len(images) else None
        if not cells or not 0 <= cell < len(cells):
            raise RecordsError(f"{result.id} has no cell {cell + 1} in field {field + 1}")
        found = cells[cell]
        made = Review(
            result=number,
            field=field,
            cell=cell,
            kind=found["kind"],
            model_type=found.get("type"),
            model_score=found.get("type_score"),
            verdict=_verdict(type, found.get("type"), is_cell),
            type=type if is_cell else None,
            by=by,
            at=writer.stamp().text,
        )
        row = {name: getattr(made, name) for name in Review.__slots__}
        insert_vouched(writer, "review", row, result.id, {"field": field, "cell": cell}, by=by)
    return made


def reviews_of(reader: Reader, number: int | None = None) -> list[Review]:
    """All reviews of a result, or of all results, in the order they were made."""
    where, values = ("", ()) if number is None else (" WHERE result = ?", (number,))
    columns = Review.__slots__
    rows = reader.rows(f"SELECT {', '.join(columns)} FROM review{where} ORDER BY number", values)
    return [Review(**dict(zip(columns, row, strict=True))) for row in rows]


def amendments_from(reader: Reader, number: int) -> Amendments:
    """The newest word on each cell that a person renamed, for the version that takes it in."""
    latest = {(item.field, item.cell): item for item in reviews_of(reader, number)}
    return Amendments(
        cells=tuple(
            RenamedCell(field=item.field, cell=item.cell, type=_name(item))
            for item in latest.values()
            if item.verdict != "confirmed"
        )
    )


def _name(item: Review) -> str:
    if item.verdict == "not a cell":
        return NOT_A_CELL
    return item.type or "uncertain"


def _verdict(type: str | None, model_type: str | None, is_cell: bool) -> ReviewVerdict:
    if not is_cell:
        return "not a cell"
    if type is None:
        return "unsure"
    return "confirmed" if type == model_type else "renamed"
