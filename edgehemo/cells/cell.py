"""What was found in a field: cells with their boxes, and counts with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from edgehemo.files.strict import Share
from edgehemo.statistics.interval import Interval

CellKind = Literal["rbc", "wbc", "platelet"]
CELL_KINDS: tuple[CellKind, ...] = get_args(CellKind)
UNCERTAIN = "uncertain"
# What a person says of what the finder took for a cell and is none.
NOT_A_CELL = "not_a_cell"
# An expected count is a sum of probabilities, and stored so finely.
COUNT_DECIMALS = 3


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: its box in pixels of the given image (x to the right, y down, may be fractional,
    clipped to the image), the finder's calibrated score (0-1), and the classifier's type.

    ``type`` is a class of the contract or ``uncertain``; ``type_score`` its probability, None
    where no classifier looked. ``inclusion``: a red cell that holds something small and dark, see
    `edgehemo.cells.inclusions`. ``familiarity``: how like the cells that its classifier learnt from
    it looks (`edgehemo.bundle.manifest.FamiliarityRule`), None where nothing tells.
    """

    kind: CellKind
    x0: float
    y0: float
    x1: float
    y1: float
    score: Share
    type: str = UNCERTAIN
    type_score: Share | None = None
    inclusion: bool = False
    familiarity: Share | None = None

    @property
    def centre(self) -> tuple[float, float]:
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    @property
    def box(self) -> tuple[float, float, float, float]:
        return self.x0, self.y0, self.x1, self.y1

    @property
    def diameter(self) -> float:
        """Geometric mean of the box's sides, px."""
        return float(max(0.0, (self.x1 - self.x0) * (self.y1 - self.y0)) ** 0.5)

    def rounded(self) -> Cell:
        """As files hold it: boxes to 0.01 px, scores to 0.0001."""
        return Cell(
            self.kind,
            round(self.x0, 2),
            round(self.y0, 2),
            round(self.x1, 2),
            round(self.y1, 2),
            round(self.score, 4),
            self.type,
            None if self.type_score is None else round(self.type_score, 4),
            self.inclusion,
            None if self.familiarity is None else round(self.familiarity, 3),
        )


@dataclass(frozen=True, slots=True)
class DoubtfulCell:
    """A cell whose kind is in doubt. cell: of the likelier kind, its score that of being a cell of
    either. counted: what of it the interior's expected count of that kind holds, None where its
    centre is not in the interior.
    """

    cell: Cell
    counted: float | None


@dataclass(frozen=True, slots=True)
class CountInterval(Interval):
    """An expected count with its 95 % interval: Poisson and the finder's own error together."""


@dataclass(frozen=True, slots=True)
class FieldCells:
    """The cells of one field.

    cells: every cell at or above its kind's threshold. counts: how many of each kind.
    interior_counts: those whose centre lies at least 0.6 of a normal red cell's diameter from the
    border and the field stop; interior_area_mm2: the area they were counted on. Densities use
    these two, so that a cell cut by the border neither counts fully nor is lost. doubtful: where a
    cell surely lies, by the scores of all kinds together, and no kind reaches its threshold; not
    among ``cells``, and settled by `edgehemo.cells.inclusions.with_inclusions`. hidden: places in
    ``cells`` of those that others half cover (`edgehemo.cells.clumps`): they count, and their shape
    tells no type. matched: places of white cells whose look no classifier knows and whose type it
    knew once their stain was matched (`edgehemo.cells.stain_match`).
    """

    cells: tuple[Cell, ...]
    counts: dict[CellKind, int]
    interior_counts: dict[CellKind, CountInterval]
    interior_area_mm2: float
    doubtful: tuple[DoubtfulCell, ...] = ()
    hidden: frozenset[int] = frozenset()
    matched: frozenset[int] = frozenset()

    def __repr__(self) -> str:
        counts = ", ".join(f"{self.counts.get(kind, 0)} {kind}" for kind in CELL_KINDS)
        return f"<FieldCells {counts}>"

    def of_kind(self, kind: CellKind) -> Sequence[Cell]:
        return [cell for cell in self.cells if cell.kind == kind]
