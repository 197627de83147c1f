"""White cells of a strange stain: recoloured to a known one, named where they are then known."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgehemo.bundle.manifest import FamiliarityRule
from edgehemo.cells.cell import UNCERTAIN, Cell, FieldCells
from edgehemo.cells.stain_match import (
    REFERENCE_NUCLEUS,
    REFERENCE_RED_CELL,
    Colour,
    matched,
    outside_middle,
    red_cell_colour,
)
from edgehemo.cells.typing import CellClassifier, CellTyper
from edgehemo.field.canonical import canonical_field
from edgehemo.images.frame import Frame
from edgehemo.quality.check import QualityReport
from edgehemo.screening.doubtful_names import borne_out
from edgehemo.screening.field import FieldReading
from tests.support.classifiers import entry

SIDE = 96
WIDE = 128
CLASSES = ("neutrophil", "lymphocyte", "myeloblast", "other")
RULE = FamiliarityRule(cell_from=0.5, sample_from=0.5, sample_cells=5, cells=100)
# Another laboratory's: bluish and pale nuclei, orange red cells.
STRANGE_NUCLEUS: Colour = np.array([0.30, 0.40, 0.05])
STRANGE_RED_CELL: Colour = np.array([0.03, 0.13, 0.12])
# In the middle of `picture`.
WHITE = Cell("wbc", 40, 40, 88, 88, 0.9)


def codes_of(density: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(np.rint(200.0 * 10.0**-density), 0, 255).astype(np.uint8)


def picture(nucleus: Colour, red_cell: Colour, side: int = WIDE) -> NDArray[np.uint8]:
    """A white cell in the middle, nucleus and plasma, among red cells, as canonical codes."""
    out = np.full((side, side, 3), codes_of(np.zeros(3)), np.uint8)
    middle = side // 2
    for x, y in ((14, 14), (side - 15, 14), (14, side - 15), (side - 15, side - 15)):
        cv2.circle(out, (x, y), 13, codes_of(red_cell).tolist(), cv2.FILLED)
    plasma = 0.3 * nucleus + 0.7 * red_cell
    cv2.circle(out, (middle, middle), 24, codes_of(plasma).tolist(), cv2.FILLED)
    cv2.circle(out, (middle, middle), 15, codes_of(nucleus).tolist(), cv2.FILLED)
    return out


def crop_of(wide: NDArray[np.uint8]) -> NDArray[np.uint8]:
    first = (wide.shape[0] - SIDE) // 2
    return wide[first : first + SIDE, first : first + SIDE]


def red_of(wide: NDArray[np.uint8]) -> Colour | None:
    return red_cell_colour(wide, outside_middle(wide.shape[0], 60))


@settings(max_examples=40, deadline=None)
@given(
    # Red over green: of a nucleus well above a red cell's, or the two were one colour.
    st.tuples(st.floats(0.75, 1.1), st.floats(0.35, 0.9), st.floats(0.02, 0.3)),
    st.tuples(st.floats(0.02, 0.06), st.floats(0.12, 0.22), st.floats(0.04, 0.12)),
)
def test_any_stain_of_two_dyes_becomes_the_references(
    of_nucleus: tuple[float, float, float], red_cell: tuple[float, float, float]
) -> None:
    red_to_green, green, blue = of_nucleus
    wide = picture(np.array([red_to_green * green, green, blue]), np.array(red_cell))
    red = red_of(wide)
    assert red is not None
    np.testing.assert_allclose(red, red_cell, atol=0.01)
    seen = matched(crop_of(wide), red)
    assert seen is not None and seen.shape == (SIDE, SIDE, 3) and seen.dtype == np.uint8
    wanted = crop_of(picture(REFERENCE_NUCLEUS, REFERENCE_RED_CELL))
    # Codes are whole numbers: a pale stain spread to a deep one shows their steps.
    for y, x in ((48, 48), (48, 48 + 20), (2, 48), (4, 4)):
        np.testing.assert_allclose(seen[y, x].astype(int), wanted[y, x].astype(int), atol=14)


def test_the_reference_itself_stays_as_it_is() -> None:
    wide = picture(REFERENCE_NUCLEUS, REFERENCE_RED_CELL)
    seen = matched(crop_of(wide), REFERENCE_RED_CELL)
    assert seen is not None
    assert np.abs(seen.astype(int) - crop_of(wide)).max() <= 2


def test_without_a_nucleus_or_red_cells_nothing_is_matched() -> None:
    red_middle = picture(STRANGE_RED_CELL, STRANGE_RED_CELL)
    assert matched(crop_of(red_middle), STRANGE_RED_CELL) is None
    # A dark red cell: red enough, but of a red cell's hue.
    dark = picture(4 * STRANGE_RED_CELL, STRANGE_RED_CELL)
    assert matched(crop_of(dark), STRANGE_RED_CELL) is None
    alone = picture(STRANGE_NUCLEUS, np.zeros(3))
    assert red_of(alone) is None
    assert red_cell_colour(alone, np.zeros(alone.shape[:2], np.bool_)) is None


class KnowsTheReference:
    """Knows nuclei of the reference's colour and is sure of a class; of others it says little."""

    name, version = "reference", "1"

    def __init__(self, class_index: int = 0, before: float = 0.3) -> None:
        self.class_index, self.before = class_index, before
        self.asked = 0

    def run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.asked += len(codes)
        middle = codes[:, SIDE // 2, SIDE // 2].astype(int)
        known = np.abs(middle - codes_of(REFERENCE_NUCLEUS).astype(int)).max(axis=1) <= 14
        sure = np.where(known, 0.97, self.before)[:, None]
        answers = np.tile((1 - sure) / 3, (1, 5)).astype(np.float32)
        answers[:, self.class_index] = sure[:, 0]
        answers[:, 4] = np.where(known, 0.9, 0.2)
        return answers


def classifier(runner: KnowsTheReference) -> CellClassifier:
    return CellClassifier(runner, entry(side=SIDE, familiarity=RULE, classes=CLASSES))


def test_a_strange_white_cell_is_named_in_its_field_and_in_a_strange_sample() -> None:
    wide = picture(STRANGE_NUCLEUS, STRANGE_RED_CELL)
    field = canonical_field(Frame(wide, "strange"), um_per_px=0.25)
    corners = [(14, 14), (113, 14), (14, 113), (113, 113)]
    red = [Cell("rbc", x - 13, y - 13, x + 13, y + 13, 0.9) for x, y in corners]
    found = FieldCells((*red, WHITE), {"rbc": 4, "wbc": 1, "platelet": 0}, {}, 0.01)
    typed = CellTyper({"nucleated": classifier(KnowsTheReference())}).typed(field, found)
    assert typed.cells[4].type == "neutrophil" and typed.matched == {4}
    assert typed.cells[4].type_score == pytest.approx(0.97)
    # The sample is to know that the look is strange; the name stands in it all the same.
    assert typed.cells[4].familiarity == pytest.approx(0.2)
    reading = FieldReading("a.png", WIDE, WIDE, 0.25, "given", QualityReport(()), typed, None)
    assert borne_out([reading], {"wbc": RULE}) == {}
    unmatched = replace(reading, cells=replace(typed, matched=frozenset()))
    changed = borne_out([unmatched], {"wbc": RULE})[0].cells
    assert changed is not None and changed.cells[4].type == UNCERTAIN


@pytest.mark.parametrize(
    ("runner", "white"),
    [
        # What alarms is never named so; nor what the cell's own look excludes.
        (KnowsTheReference(class_index=2), WHITE),
        (KnowsTheReference(before=0.01), WHITE),
        # Half of a cell, and one that holds something, are not asked again.
        (KnowsTheReference(), replace(WHITE, x0=0.0)),
        (KnowsTheReference(), replace(WHITE, inclusion=True)),
    ],
)
def test_what_is_not_named_after_a_match(runner: KnowsTheReference, white: Cell) -> None:
    wide = picture(STRANGE_NUCLEUS, STRANGE_RED_CELL)
    field = canonical_field(Frame(wide, "strange"), um_per_px=0.25)
    red = Cell("rbc", 1, 1, 27, 27, 0.9)
    found = FieldCells((red, white), {"rbc": 1, "wbc": 1, "platelet": 0}, {}, 0.01)
    typed = CellTyper({"nucleated": classifier(runner)}).typed(field, found)
    assert typed.cells[1].type == UNCERTAIN and typed.matched == frozenset()


def test_a_single_picture_is_asked_again_by_the_red_cells_around_its_cell() -> None:
    runner = KnowsTheReference()
    model = classifier(runner)
    strange = Frame(picture(STRANGE_NUCLEUS, STRANGE_RED_CELL), "strange")
    verdict, _ = model.classify(strange, 0.25)
    assert verdict.type == "neutrophil" and verdict.certain and not verdict.unlike
    assert verdict.candidates == ("neutrophil",) and verdict.score == pytest.approx(0.97)
    assert runner.asked == 2
    # A known look is asked once, and a cell alone in its picture has nothing to be matched by.
    model.classify(Frame(picture(REFERENCE_NUCLEUS, REFERENCE_RED_CELL), "known"), 0.25)
    assert runner.asked == 3
    alone, _ = model.classify(Frame(picture(STRANGE_NUCLEUS, np.zeros(3)), "alone"), 0.25)
    assert not alone.certain and alone.unlike
