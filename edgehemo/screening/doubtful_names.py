"""Names of cells that a sample does not bear out: they are taken back, and stay `uncertain`.

A cell is named one by one; what the whole sample says of its names is known at the end. Where its
cells look unlike all that a classifier learnt from, the microscope or the stain is another one, and
only the names of those that look alike stand, as they are or once their stain is matched. And a
name that alarms is not given on one cell's word, nor on any in such a sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from edgehemo.cells.cell import UNCERTAIN, Cell, CellKind
from edgehemo.cells.typing import ALARMING_TYPES, TASK_OF_KIND
from edgehemo.screening.cell_types import interior_cells
from edgehemo.screening.field import FieldReading
from edgehemo.statistics.medians import median_of

if TYPE_CHECKING:
    from edgehemo.bundle.manifest import FamiliarityRule
    from edgehemo.screening.field import Typer

# A name that alarms is given only where so many cells bear it, or where one is named with this
# probability.
ALARMING_CELLS = 2
ALARMING_SCORE = 0.95


def strange_kinds(
    fields: Sequence[FieldReading], typer: Typer | None
) -> Mapping[CellKind, FamiliarityRule]:
    """The kinds of cells whose classifier does not know the look of this sample's, and its rule.

    fields: the accepted ones. Asked where there are enough cells to tell
    (`edgehemo.bundle.manifest.FamiliarityRule`).
    """
    if typer is None:
        return {}
    found: dict[CellKind, FamiliarityRule] = {}
    for kind, task in TASK_OF_KIND.items():
        classifier = typer.classifiers.get(task)
        rule = None if classifier is None else classifier.entry.familiarity
        if rule is None:
            continue
        known = [
            cell.familiarity
            for field in fields
            for cell in interior_cells(field)
            if cell.kind == kind and cell.familiarity is not None
        ]
        if len(known) >= rule.sample_cells and median_of(np.array(known)) < rule.sample_from:
            found[kind] = rule
    return found


def borne_out(
    fields: Sequence[FieldReading], strange: Mapping[CellKind, FamiliarityRule]
) -> Mapping[int, FieldReading]:
    """The fields whose names change, by their place in ``fields``.

    strange: see `strange_kinds`; of these only what is familiar enough keeps its name, by itself or
    once its stain was matched.
    """
    counts = Counter(
        cell.type
        for field in fields
        if field.cells is not None
        for cell in field.cells.cells
        if cell.kind not in strange
    )
    few = {name for name in ALARMING_TYPES if counts[name] < ALARMING_CELLS}

    def stays(cell: Cell, matched: bool) -> bool:
        if (rule := strange.get(cell.kind)) is not None:
            familiar = matched or (cell.familiarity or 0.0) >= rule.strange_cell_from
            return familiar and cell.type not in ALARMING_TYPES
        return cell.type not in few or (cell.type_score or 0.0) >= ALARMING_SCORE

    changed = {}
    for place, field in enumerate(fields):
        if field.cells is None:
            continue
        matched = field.cells.matched
        cells = tuple(
            cell if stays(cell, index in matched) else replace(cell, type=UNCERTAIN)
            for index, cell in enumerate(field.cells.cells)
        )
        if cells == field.cells.cells:
            continue
        changed[place] = replace(field, cells=replace(field.cells, cells=cells))
    return changed
