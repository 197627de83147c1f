"""What types of cells a sample holds: shares of the red cells' types, counts of the white ones'.

Only cells whose centre lies at least 0.6 of a normal red cell's diameter from the border count:
of a cell cut by it the shape cannot be told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgehemo.cells.cell import COUNT_DECIMALS, UNCERTAIN, Cell, CellKind, CountInterval
from edgehemo.cells.finder import INTERIOR_DIAMETERS
from edgehemo.cells.shares import MIN_CELLS, TypeShare, count_names, type_shares
from edgehemo.cells.typing import PLATELET
from edgehemo.field.scale import RED_CELL_DIAMETER_UM
from edgehemo.files.strict import Count
from edgehemo.guidance.withheld import not_given
from edgehemo.screening.types_check import why_types_are_doubted
from edgehemo.statistics.poisson import poisson_interval

if TYPE_CHECKING:
    from edgehemo.bundle.manifest import ModelTask
    from edgehemo.profile.parts import RedCellTypesCheck
    from edgehemo.screening.field import FieldReading, Typer


@dataclass(frozen=True, slots=True)
class SampleTypes:
    """The types of one sample's cells, over its accepted fields.

    red_cells: corrected share of each type, None with the reason in ``red_cells_reason``.
    red_cells_uncertain: red cells that no one type fits. white_cells: how many of each type were
    named, and how many `uncertain`, with their 95 % Poisson intervals, None with the reason in
    ``white_cells_reason``.
    """

    red_cells: tuple[TypeShare, ...] | None
    red_cells_reason: str
    red_cells_uncertain: Count
    white_cells: Mapping[str, CountInterval] | None
    white_cells_reason: str = ""

    def rounded(self) -> SampleTypes:
        """As files hold it."""
        return replace(
            self,
            red_cells=None
            if self.red_cells is None
            else tuple(share.rounded() for share in self.red_cells),
            white_cells=None
            if self.white_cells is None
            else {name: count.rounded(COUNT_DECIMALS) for name, count in self.white_cells.items()},
        )


def sample_types(
    fields: Iterable[FieldReading],
    typer: Typer,
    strange: Collection[CellKind] = (),
    checked: RedCellTypesCheck | None = None,
) -> tuple[SampleTypes | None, tuple[TypeShare, ...] | None]:
    """The types over the accepted fields of a sample; None where the bundle names no cells. And the
    shares of the red cells' types, given or not: a finding is weighed by them, which asks a person
    to look and claims nothing.

    strange: kinds of cells that look unlike all that their classifier learnt from: of these no
    types are given. checked: what a person said of the red cells' types on this microscope; shares
    are given only where that bears them out (`edgehemo.screening.types_check`).
    """
    if not typer.classifiers:
        return None, None
    cells = [cell for reading in fields for cell in interior_cells(reading)]
    white, red_model = typer.classifiers.get("nucleated"), typer.classifiers.get("morphology")
    red = [cell.type for cell in cells if cell.kind == "rbc"]
    likely, reason = _red_cells(red, typer)
    shares = likely
    if "rbc" in strange:
        shares, reason = None, not_given("CELLS_UNFAMILIAR").reason
    elif likely is not None and red_model is not None:
        doubted = why_types_are_doubted(checked, red_model.entry.checkpoint_sha256)
        if doubted is not None:
            shares, reason = None, doubted.reason
    counted, why = None, ""
    if white is None:
        why = not_given("WHITE_CELL_MODEL_MISSING").reason
    elif "wbc" in strange:
        why = not_given("CELLS_UNFAMILIAR").reason
    else:
        types = [name for name in white.types if name != PLATELET]
        counted = _counts((cell.type for cell in cells if cell.kind == "wbc"), types)
    found = SampleTypes(
        red_cells=shares,
        red_cells_reason=reason,
        red_cells_uncertain=sum(name == UNCERTAIN for name in red),
        white_cells=counted,
        white_cells_reason=why,
    )
    return found, likely


def interior_cells(reading: FieldReading) -> list[Cell]:
    """The cells of a field that count: those not cut by the border of the frame."""
    if reading.cells is None:
        return []
    margin = INTERIOR_DIAMETERS * RED_CELL_DIAMETER_UM / reading.um_per_px
    right, bottom = reading.width - margin, reading.height - margin
    return [
        cell
        for cell in reading.cells.cells
        if margin <= cell.centre[0] <= right and margin <= cell.centre[1] <= bottom
    ]


def _red_cells(names: list[str], typer: Typer) -> tuple[tuple[TypeShare, ...] | None, str]:
    task: ModelTask = "morphology"
    classifier = typer.classifiers.get(task)
    if classifier is None:
        return None, not_given("RED_CELL_MODEL_MISSING").reason
    entry = classifier.entry
    if entry.confusion is None:
        return None, not_given("CONFUSION_MISSING").reason
    shares = type_shares(count_names(names, entry.classes), entry.classes, entry.confusion)
    if shares is None:
        return None, not_given("TOO_FEW_RED_CELLS", cells=MIN_CELLS).reason
    return tuple(share for share in shares if share.type in classifier.types), ""


def _counts(names: Iterable[str], types: Iterable[str]) -> dict[str, CountInterval]:
    seen = Counter(names)
    return {
        name: CountInterval(float(seen[name]), *poisson_interval(float(seen[name])))
        for name in (*types, UNCERTAIN)
    }
