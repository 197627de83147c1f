"""Cells over the fields they lie in, with what model and people called them: for viewers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

from edgehemo.cells.cell import UNCERTAIN, CellKind
from edgehemo.records.exports.exporting import Exporting
from edgehemo.records.results import StoredResult
from edgehemo.records.reviews import Review, reviews_of
from edgehemo.records.versions import amendments_of

# Corners of the polygon that stands for the ellipse of a red cell.
CORNERS = 24
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class AnnotatedCell:
    """One cell. field, cell: its places in the result, from 0. box: x0 y0 x1 y1, px. type, score:
    the model's; None where it names none. named: in force, a person's word before the model's.
    by_person: whether it is a person's. review: the newest, None without one.
    """

    field: int
    cell: int
    kind: CellKind
    box: Box
    score: float
    type: str | None
    type_score: float | None
    named: str
    by_person: bool
    review: Review | None

    @property
    def outline(self) -> list[tuple[float, float]]:
        """Corners, counterclockwise in x and y: an ellipse in the box of a red cell, else the box.
        Of a cell the finder gives no more than its box.
        """
        x0, y0, x1, y1 = self.box
        if self.kind != "rbc":
            return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
        x, y, across, down = (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2
        angles = (2 * math.pi * n / CORNERS for n in range(CORNERS))
        return [(x + across * math.cos(a), y + down * math.sin(a)) for a in angles]


@dataclass(frozen=True, slots=True)
class AnnotatedField:
    """One field that could be read. name: of its image, as it may be told. picture: its file as an
    exported folder has it. cells: empty where it was refused.
    """

    result: str
    position: int
    name: str
    picture: str
    width: int
    height: int
    um_per_px: float
    accepted: bool
    cells: tuple[AnnotatedCell, ...]

    @property
    def stem(self) -> str:
        """Its number and name, fit for a file's name."""
        letters = "".join(c if c.isalnum() or c in "._-" else "_" for c in PurePath(self.name).stem)
        number = f"{self.position + 1:03d}"
        return number if letters == number else f"{number}_{letters[:80]}"


def annotated_fields(export: Exporting, result: StoredResult) -> Iterator[AnnotatedField]:
    """The fields of a result. RecordsError where its reading cannot be read."""
    images = export.view.record(result, result.document(export.reader).record)["images"]
    reviews = {(item.field, item.cell): item for item in reviews_of(export.reader, result.number)}
    amended = {(cell.field, cell.cell): cell.type for cell in amendments_of(result.latest).cells}
    for position, image in enumerate(images):
        if "error" in image:
            continue
        cells = []
        for place, entry in enumerate(image["cells"] or ()):
            at = (position, place)
            said = amended.get(at)
            review = reviews.get(at)
            if said is None and review is not None and review.verdict == "confirmed":
                said = review.type
            cells.append(
                AnnotatedCell(
                    field=position,
                    cell=place,
                    kind=entry["kind"],
                    box=(entry["x0"], entry["y0"], entry["x1"], entry["y1"]),
                    score=entry["score"],
                    type=entry["type"],
                    type_score=entry["type_score"],
                    named=said or entry["type"] or UNCERTAIN,
                    by_person=said is not None,
                    review=review,
                )
            )
        yield AnnotatedField(
            result=result.id,
            position=position,
            name=image["image"],
            picture=f"pictures/{position + 1:03d}.png",
            width=image["width"],
            height=image["height"],
            um_per_px=image["um_per_px"],
            accepted=image["accepted"],
            cells=tuple(cells),
        )
