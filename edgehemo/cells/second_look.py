"""Red cells that the finder took for white ones.

A spherocyte, an elliptocyte or a burr cell, deeply stained and without pallor, looks to the finder
like a nucleus: just in anaemia white cells would be counted that are none, and red cells be
missing. The classifier of nucleated cells looks closer, and its word that a cell has no nucleus
counts.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from edgehemo.cells.cell import (
    UNCERTAIN,
    Cell,
    CellKind,
    CountInterval,
    DoubtfulCell,
    FieldCells,
)
from edgehemo.cells.counting import recounted
from edgehemo.cells.finder import interior_mask
from edgehemo.field.canonical import CanonicalField

# From this probability of being no nucleated cell on, a white cell of the finder is a red one
# (benchmarks/second_look.py; set on tune parts: of 22 white cells of BCCD and 170 of Raabin 1 and 3
# lie above it, of 39 red cells taken for white in diseased blood 30).
NO_NUCLEUS_FROM = 0.6


def as_red_cells(found: FieldCells, which: Collection[int], field: CanonicalField) -> FieldCells:
    """The cells at these places of ``found.cells`` as red ones, their score as it was and their
    type open, and the counts by it: whole numbers and the interior's expected ones.
    """
    cells = list(found.cells)
    counts = dict(found.counts)
    moved = 0.0
    interior = interior_mask(field.valid) if which else None
    for index in which:
        cell = cells[index]
        cells[index] = replace(cell, kind="rbc", type=UNCERTAIN, type_score=None)
        counts[cell.kind] -= 1
        counts["rbc"] += 1
        if interior is not None and interior[_place(cell, field)]:
            moved += cell.score
    return replace(
        found,
        cells=tuple(cells),
        counts=counts,
        interior_counts=_moved(found.interior_counts, moved),
    )


def with_red_cells(found: FieldCells, extra: Sequence[DoubtfulCell]) -> FieldCells:
    """The cells and these doubtful ones as red ones, and the counts by it: the interior's expected
    ones give up what they held of each and get all of it as red.
    """
    if not extra:
        return found
    cells = [replace(each.cell, kind="rbc", type=UNCERTAIN, type_score=None) for each in extra]
    counts = found.counts | {"rbc": found.counts["rbc"] + len(cells)}
    interior = dict(found.interior_counts)
    for each in extra:
        if each.counted is None or not {"rbc", "wbc"} <= set(interior):
            continue
        own = interior[each.cell.kind]
        interior[each.cell.kind] = recounted(own, max(0.0, own.value - each.counted))
        interior["rbc"] = recounted(interior["rbc"], interior["rbc"].value + each.cell.score)
    return replace(found, cells=(*found.cells, *cells), counts=counts, interior_counts=interior)


def _moved(counts: dict[CellKind, CountInterval], expected: float) -> dict[CellKind, CountInterval]:
    """Interior counts with so many expected cells red instead of white."""
    if not expected or not {"rbc", "wbc"} <= set(counts):
        return counts
    return counts | {
        "wbc": recounted(counts["wbc"], max(0.0, counts["wbc"].value - expected)),
        "rbc": recounted(counts["rbc"], counts["rbc"].value + expected),
    }


def _place(cell: Cell, field: CanonicalField) -> tuple[int, int]:
    """Row and column of a cell's centre in the canonical field."""
    across, down = field.frame_px_per_canonical_px
    x, y = cell.centre
    return min(field.height - 1, int(y / down)), min(field.width - 1, int(x / across))
