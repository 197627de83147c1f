"""Which cells of a result ask for a person, in which order, and what a person may call them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgehemo.cells.cell import NOT_A_CELL, UNCERTAIN, CellKind
from edgehemo.cells.typing import BORDER_PX

# Cells without a name that are shown: all white ones of any usual sample, and of the red ones, of
# which each name weighs little, as many as a person will look at.
MOST_WHITE, MOST_RED = 96, 24
INCLUSIONS = "RED_CELLS_WITH_INCLUSIONS"
# What a person may call a cell of each kind, the commonest first; words in `cell_names`.
TYPES_OF_KIND: Mapping[CellKind, tuple[str, ...]] = {
    "wbc": (
        "neutrophil", "lymphocyte", "monocyte", "eosinophil", "basophil", "immature_granulocyte",
        "myeloblast", "erythroblast", "other", "platelet",
    ),
    "rbc": (
        "normal", "microcyte", "macrocyte", "hypochromia", "target_cell", "ovalocyte",
        "elliptocyte", "teardrop", "spherocyte", "stomatocyte", "burr_cell", "schistocyte",
        "sickle_cell", "uncategorised", "platelet",
    ),
    "platelet": ("platelet",),
}  # fmt: skip
# What a red cell may hold, where that is asked.
INCLUSION_TYPES = ("parasite", "howell_jolly_body", "platelet_on_cell", "stain_deposit")
# All that a review may say besides a confirmation.
SAYABLE: frozenset[str] = frozenset(
    (UNCERTAIN, NOT_A_CELL, *INCLUSION_TYPES, *(t for each in TYPES_OF_KIND.values() for t in each))
)


@dataclass(frozen=True, slots=True)
class AskedCell:
    """A cell that a person is asked of. field, cell: its places in the result, from 0. box: x0 y0
    x1 y1, px of the field. type: what the model says. codes: of the findings it was seen in; empty
    where only its name is asked.
    """

    field: int
    cell: int
    kind: CellKind
    box: tuple[float, float, float, float]
    type: str
    codes: tuple[str, ...] = ()

    @property
    def choices(self) -> tuple[str, ...]:
        """What a person may call it."""
        return INCLUSION_TYPES if INCLUSIONS in self.codes else TYPES_OF_KIND[self.kind]


def asked_cells(record: Mapping[str, Any]) -> tuple[AskedCell, ...]:
    """Of a record as result.json holds it: the cells of findings, in the findings' order; white
    cells without a name, as they were taken; red ones without a name, those the classifier was
    least sure of first. The last two are bounded; none twice.
    """
    images = record["images"]
    found = _of_findings(record["sample"]["findings"], images)
    unnamed = [
        (field, place, entry)
        for field, place, entry in _cells(images)
        if (field, place) not in found and _is_unnamed(entry, images[field])
    ]
    white = [each for each in unnamed if each[2]["kind"] == "wbc"][:MOST_WHITE]
    red = [each for each in unnamed if each[2]["kind"] == "rbc"]
    red.sort(key=lambda each: (each[2]["type_score"], each[0], each[1]))
    return (*found.values(), *(_asked(*each) for each in (*white, *red[:MOST_RED])))


def cells_shown(
    record: Mapping[str, Any], named: Collection[tuple[int, int]]
) -> tuple[AskedCell, ...]:
    """Of a report: the cells of findings, those that a person named, and those that wait for one.

    named: (field, cell) of what a person named, whether it was asked or not.
    """
    asked = asked_cells(record)
    known = {(cell.field, cell.cell) for cell in asked}
    images = record["images"]
    others = tuple(
        _asked(field, place, images[field]["cells"][place])
        for field, place in sorted(set(named) - known)
    )
    found = [cell for cell in asked if cell.codes]
    rest = [cell for cell in asked if not cell.codes]
    said = [cell for cell in rest if (cell.field, cell.cell) in named]
    waiting = [cell for cell in rest if (cell.field, cell.cell) not in named]
    return (*found, *said, *others, *waiting)


def must_be_seen(cells: Sequence[AskedCell]) -> int:
    """How many of them were seen in a finding: the first ones."""
    return sum(bool(each.codes) for each in cells)


def _cells(images: list[Any]) -> Iterator[tuple[int, int, Mapping[str, Any]]]:
    for field, image in enumerate(images):
        for place, entry in enumerate(image.get("cells") or ()):
            yield field, place, entry


def _of_findings(findings: list[Any], images: list[Any]) -> dict[tuple[int, int], AskedCell]:
    """The cells that findings name; a finding knows them by field and box."""
    at = {(field, *_box(entry)): (place, entry) for field, place, entry in _cells(images)}
    found: dict[tuple[int, int], AskedCell] = {}
    for finding in findings:
        for named in finding["cells"]:
            field = named["image"]
            known = at.get((field, *_box(named)))
            if known is None:
                continue
            place, entry = known
            before = found.get((field, place))
            codes = (*(() if before is None else before.codes), finding["code"])
            found[field, place] = _asked(field, place, entry, codes)
    return found


def _is_unnamed(entry: Mapping[str, Any], image: Mapping[str, Any]) -> bool:
    """Whether a classifier looked at a whole cell and could not name it."""
    if entry["type"] != UNCERTAIN or entry["type_score"] is None:
        return False
    x0, y0, x1, y1 = _box(entry)
    far_x, far_y = image["width"] - BORDER_PX, image["height"] - BORDER_PX
    return x0 >= BORDER_PX and y0 >= BORDER_PX and x1 <= far_x and y1 <= far_y


def _asked(
    field: int, place: int, entry: Mapping[str, Any], codes: tuple[str, ...] = ()
) -> AskedCell:
    return AskedCell(field, place, entry["kind"], _box(entry), entry["type"], codes)


def _box(entry: Mapping[str, Any]) -> tuple[float, float, float, float]:
    return entry["x0"], entry["y0"], entry["x1"], entry["y1"]
