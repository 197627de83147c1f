"""The second look at clumps: which of the finder's half-sure candidates are cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgehemo.bundle.manifest import InputSpec, KindOperatingPoint, ScoreCalibration
from edgehemo.cells.cell import UNCERTAIN
from edgehemo.cells.clumps import HIDDEN_FROM, HIDDEN_SHARE_RIGHT, hidden_cells
from edgehemo.cells.finder import CellFinder
from edgehemo.cells.typing import CellClassifier, CellTyper
from edgehemo.field.canonical import CanonicalField, canonical_field
from edgehemo.images.frame import Frame
from edgehemo.simulation.field import simulate_field
from edgehemo.simulation.panels import CBCPanel
from edgehemo.simulation.parameters import SmearParameters
from tests.support.classifiers import AlwaysRed, entry

RADIUS = 15
CLEAR = (220, 220, 220)
RED_CELL = (200, 150, 145)
PLATELET_COLOUR = (150, 130, 200)
# Four cells that stand alone show how large and of what colour a red cell is.
ALONE: Sequence[tuple[float, float]] = [(40, 40), (40, 160), (40, 100), (280, 40)]
COVERING, COVERED = (150.0, 100.0), (168.0, 108.0)
HALF_SURE = 0.4
Colour = tuple[int, int, int]
Place = tuple[float, float]


def field_of(
    places: Sequence[Place],
    colours: Sequence[Colour] | None = None,
    size: tuple[int, int] = (200, 320),
) -> CanonicalField:
    """Discs of a red cell's size at these places, the first lie on top."""
    pixels = np.full((*size, 3), CLEAR, np.uint8)
    drawn = list(zip(places, colours or [RED_CELL] * len(places), strict=True))
    for (x, y), colour in reversed(drawn):
        cv2.circle(pixels, (round(x), round(y)), RADIUS, colour, cv2.FILLED)
    return canonical_field(Frame(pixels, "drawn"), um_per_px=0.25)


def rows_at(places: Sequence[Place], radius: float = RADIUS, kind: int = 0) -> NDArray[np.float32]:
    return np.array(
        [[x - radius, y - radius, x + radius, y + radius, 0.5, kind] for x, y in places],
        np.float32,
    ).reshape(-1, 6)


def looked_at(
    sure: Sequence[Place],
    asked: Sequence[Place],
    field: CanonicalField,
    probability: float = HALF_SURE,
    radius: float = RADIUS,
) -> list[Place]:
    """Those of the places asked of that are cells, while the sure ones are reported."""
    rows = np.concatenate([rows_at(sure), rows_at(asked, radius)])
    given = np.array([0.9] * len(sure) + [probability] * len(asked), np.float32)
    reported = np.arange(len(rows)) < len(sure)
    return [asked[i - len(sure)] for i in hidden_cells(rows, given, reported, field).tolist()]


def test_the_covered_one_of_two_cells_is_found_by_the_stain_it_explains() -> None:
    field = field_of([COVERING, COVERED, *ALONE])
    sure = [COVERING, *ALONE]
    assert looked_at(sure, [COVERED], field) == [COVERED]
    assert looked_at(sure, [COVERED], field, probability=HIDDEN_FROM - 0.01) == []
    # Where it is reported already, nothing is left to explain: not by a twin, not by the first.
    assert looked_at([*sure, COVERED], [(165, 106), (151, 99), (160, 104)], field) == []


def test_two_proposals_for_one_hidden_cell_are_one_cell() -> None:
    field = field_of([COVERING, COVERED, *ALONE])
    beside = (COVERED[0] + 2.0, COVERED[1] + 1.0)
    rows = np.concatenate([rows_at([COVERING, *ALONE]), rows_at([beside, COVERED])])
    given = np.array([0.9] * 5 + [0.3, 0.5], np.float32)
    assert hidden_cells(rows, given, np.arange(7) < 5, field).tolist() == [6]


@pytest.mark.parametrize(
    ("asked", "radius"),
    [
        # No stain to explain; half a cell of it at most.
        ((150, 138), RADIUS),
        ((150, 122), RADIUS),
        # Stands alone: the finder's own word is asked, not ours.
        ((230, 150), RADIUS),
        # Of no red cell's size.
        (COVERED, 0.6 * RADIUS),
        (COVERED, 1.6 * RADIUS),
    ],
)
def test_what_is_no_hidden_cell_is_left(asked: Place, radius: float) -> None:
    field = field_of([COVERING, COVERED, *ALONE, (230, 150)])
    assert looked_at([COVERING, *ALONE], [asked], field, radius=radius) == []


def test_a_thing_of_another_colour_against_a_cell_is_none() -> None:
    places = [COVERING, COVERED, *ALONE]
    field = field_of(places, [RED_CELL, PLATELET_COLOUR, *[RED_CELL] * len(ALONE)])
    assert looked_at([COVERING, *ALONE], [COVERED], field) == []


def test_what_is_opaque_or_hardly_stained_against_a_cell_is_none() -> None:
    sure = [COVERING, *ALONE]
    for share, found in ((0.3, []), (0.7, [COVERED]), (1.4, [COVERED]), (4.0, [])):
        # The same hue at another density.
        colour = tuple(
            round(clear * (value / clear) ** share)
            for value, clear in zip(RED_CELL, CLEAR, strict=True)
        )
        places = [COVERING, COVERED, *ALONE]
        colours = [RED_CELL, (colour[0], colour[1], colour[2]), *[RED_CELL] * len(ALONE)]
        assert looked_at(sure, [COVERED], field_of(places, colours)) == found


def test_a_field_without_colour_is_left_as_it_is() -> None:
    places = [COVERING, COVERED, *ALONE]
    grey = field_of(places, [(160, 160, 160)] * len(places))
    assert looked_at([COVERING, *ALONE], [COVERED], grey) == []


def test_too_few_red_cells_tell_nothing_and_an_empty_field_has_none() -> None:
    field = field_of([COVERING, COVERED, *ALONE])
    assert looked_at([COVERING, *ALONE[:2]], [COVERED], field) == []
    nothing = np.zeros((0, 6), np.float32)
    none = hidden_cells(nothing, np.zeros(0, np.float32), np.zeros(0, np.bool_), field)
    assert none.shape == (0,)


def test_white_cells_and_platelets_are_never_proposed() -> None:
    field = field_of([COVERING, COVERED, *ALONE])
    for kind in (1, 2):
        rows = np.concatenate([rows_at([COVERING, *ALONE]), rows_at([COVERED], kind=kind)])
        given = np.array([0.9] * 5 + [HALF_SURE], np.float32)
        assert not len(hidden_cells(rows, given, np.arange(6) < 5, field))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_simulated_clumps_whose_truth_is_known(seed: int) -> None:
    """Of every clump a part is reported; the others come back, proposals off the cells do not."""
    rng = np.random.default_rng(seed)
    panel = CBCPanel(130, 0.40, 4.5, 0.0, 0.0)
    drawn = simulate_field(
        panel,
        rng=rng,
        width_px=480,
        height_px=360,
        um_per_px=0.25,
        smear=SmearParameters(clumping=0.8, crowding=0.5),
    )
    field = canonical_field(drawn.frame, um_per_px=0.25)
    cells = drawn.truth.of_kind("rbc")
    boxes = np.array([[c.x0, c.y0, c.x1, c.y1] for c in cells], np.float32)
    reported = np.ones(len(cells), np.bool_)
    for index, cell in enumerate(cells):
        apart = np.hypot(*(np.array([[c.x_px, c.y_px] for c in cells]) - (cell.x_px, cell.y_px)).T)
        near = (apart < 26) & (apart > 0)
        inside = 20 < cell.x_px < 460 and 20 < cell.y_px < 340
        # One of each pair, of those that another does not cover nearly whole.
        if cell.overlapped and inside and reported[near].all() and near.sum() == 1:
            reported[index] = apart[near].min() < 14
    wanted = set(np.flatnonzero(~reported).tolist())
    assert len(wanted) >= 10
    # Twins of reported cells, as a network proposes them a few pixels off.
    twins = boxes[reported] + rng.normal(0, 1.5, (int(reported.sum()), 1)).astype(np.float32)
    rows = np.zeros((len(boxes) + len(twins), 6), np.float32)
    rows[:, :4] = np.concatenate([boxes, twins])
    given = np.where(np.append(reported, np.zeros(len(twins), np.bool_)), 0.9, HALF_SURE)
    found = hidden_cells(
        rows,
        given.astype(np.float32),
        np.append(reported, np.zeros(len(twins), np.bool_)),
        field,
    )
    right = wanted & set(found.tolist())
    assert len(right) >= 0.9 * len(wanted)
    assert len(found) - len(right) <= 0.03 * len(twins)


class Silent:
    """A runner that is never asked."""

    name, version = "silent", "0"

    def run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        raise AssertionError("the candidates are given")


def test_a_hidden_cell_is_counted_as_probable_as_such_cells_are_and_bears_no_type() -> None:
    point = KindOperatingPoint(
        threshold=0.7,
        calibration=ScoreCalibration(slope=1.0, intercept=0.0),
        count_relative_sd=0.0,
    )
    spec = InputSpec(
        height_px=None,
        width_px=None,
        multiple_of_px=16,
        um_per_px=0.25,
        code_of_transmittance_1=200.0,
    )
    finder = CellFinder(Silent(), spec, dict.fromkeys(("rbc", "wbc", "platelet"), point))
    field = field_of([COVERING, COVERED, *ALONE])
    rows = rows_at([COVERED, COVERING, *ALONE])
    rows[:, 4] = (HALF_SURE, 0.9, 0.9, 0.9, 0.9, 0.9)
    found = finder.cells_from(rows, field)
    assert found.counts["rbc"] == 6 and found.hidden == {0}
    assert found.cells[0].score == pytest.approx(HIDDEN_SHARE_RIGHT)
    assert found.interior_counts["rbc"].value == pytest.approx(5 * 0.9 + HIDDEN_SHARE_RIGHT)
    # Half of a cell shows no shape.
    typer = CellTyper({"morphology": CellClassifier(AlwaysRed(), entry("morphology"))})
    named = replace(found, hidden=frozenset())
    assert all(cell.type != UNCERTAIN for cell in typer.typed(field, named).cells[1:])
    typed = typer.typed(field, found).cells
    assert typed[0].type == UNCERTAIN
    assert [cell.type for cell in typed[1:]] == [
        cell.type for cell in typer.typed(field, named).cells[1:]
    ]
    # Without the one that explains half of it the cell stands alone, and is left to its score.
    assert finder.cells_from(rows[[0, 2, 3, 4, 5]], field).counts["rbc"] == 4
