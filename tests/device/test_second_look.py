"""Red cells taken for white ones: what the second look changes, and what it leaves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgehemo.cells.cell import UNCERTAIN, Cell, CellKind, CountInterval, FieldCells
from edgehemo.cells.counting import expected_count, recounted
from edgehemo.cells.second_look import NO_NUCLEUS_FROM, as_red_cells
from edgehemo.cells.typing import CellClassifier, CellTyper
from edgehemo.field.canonical import CanonicalField, canonical_field
from edgehemo.images.frame import Frame
from edgehemo.statistics.poisson import poisson_interval
from tests.support.classifiers import AlwaysRed, entry


def field() -> CanonicalField:
    pixels = np.full((240, 320, 3), 210, np.uint8)
    return canonical_field(Frame(pixels, "clear"), um_per_px=0.25)


def cell(kind: CellKind, x: float, y: float, score: float = 0.9) -> Cell:
    return Cell(kind, x - 15, y - 15, x + 15, y + 15, score)


def found() -> FieldCells:
    """Two white cells well inside, one at the border, and a red one."""
    cells = (
        cell("wbc", 100, 100, 0.8),
        cell("wbc", 200, 100, 0.7),
        cell("wbc", 6, 100, 0.9),
        cell("rbc", 100, 200),
    )
    interior: dict[CellKind, CountInterval] = {
        "rbc": expected_count(np.array([0.9], np.float32), relative_sd=0.02),
        "wbc": expected_count(np.array([0.8, 0.7], np.float32), relative_sd=0.0),
        "platelet": expected_count(np.zeros(0, np.float32), relative_sd=0.0),
    }
    return FieldCells(cells, {"rbc": 1, "wbc": 3, "platelet": 0}, interior, 0.01)


def test_a_cell_without_a_nucleus_changes_sides_in_every_count() -> None:
    seen = as_red_cells(found(), [0, 2], field())
    assert [c.kind for c in seen.cells] == ["rbc", "wbc", "rbc", "rbc"]
    assert seen.counts == {"rbc": 3, "wbc": 1, "platelet": 0}
    # The one at the border never was part of the interior's count.
    assert seen.interior_counts["wbc"].value == pytest.approx(0.7)
    assert seen.interior_counts["rbc"].value == pytest.approx(1.7)
    assert seen.interior_counts["platelet"] == found().interior_counts["platelet"]
    for count in seen.interior_counts.values():
        assert count.low <= count.value <= count.high
    assert as_red_cells(found(), [], field()) == found()


@given(
    st.lists(st.floats(0, 1), max_size=40),
    st.floats(0, 0.2),
    st.floats(0, 60),
)
def test_a_count_about_another_value_keeps_its_own_error(
    probabilities: list[float], relative_sd: float, value: float
) -> None:
    count = expected_count(np.array(probabilities, np.float32), relative_sd=relative_sd)
    same = recounted(count, count.value)
    assert same.high == pytest.approx(count.high, abs=1e-6)
    assert same.low == pytest.approx(count.low, abs=1e-6)
    other = recounted(count, value)
    low, high = poisson_interval(value)
    assert other.low <= low + 1e-9 and other.high >= high - 1e-9
    exact = recounted(CountInterval(5.0, *poisson_interval(5.0)), value)
    assert (exact.low, exact.high) == pytest.approx((low, high), abs=1e-6)


class Rejecting:
    """A nucleated model that is sure of no nucleus in the first crop it sees, not in others."""

    name, version = "rejecting", "1"

    def __init__(self, rejected: float) -> None:
        self.rejected = rejected

    def run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        sure = [(1 - self.rejected) / 3] * 3 + [self.rejected]
        return np.array([sure] + [[0.2, 0.2, 0.1, 0.5]] * (len(codes) - 1), np.float32)


@pytest.mark.parametrize("rejected", [NO_NUCLEUS_FROM + 0.01, NO_NUCLEUS_FROM - 0.01])
def test_what_has_no_nucleus_is_named_as_a_red_cell(rejected: float) -> None:
    white = CellClassifier(Rejecting(rejected), entry())
    red = CellClassifier(AlwaysRed(), entry("morphology"))
    typed = CellTyper({"nucleated": white, "morphology": red}).typed(field(), found())
    sure = rejected >= NO_NUCLEUS_FROM
    assert [c.kind for c in typed.cells] == ["rbc" if sure else "wbc", "wbc", "wbc", "rbc"]
    assert typed.cells[0].type == ("red" if sure else UNCERTAIN)
    assert typed.cells[1].type == UNCERTAIN and typed.cells[3].type == "red"
    assert typed.counts["wbc"] == (2 if sure else 3)
    # Without a model of red cells its type stays open.
    alone = CellTyper({"nucleated": white}).typed(field(), found()).cells[0]
    assert alone.type == UNCERTAIN and (alone.type_score is None) == sure


def test_without_classifiers_nothing_is_looked_at() -> None:
    assert CellTyper({}).typed(field(), found()) == found()
