"""Outlines of red cells: what is measured on drawn shapes, and which types a shape allows."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgehemo.cells.outline import Outline, outline_in_middle, outlines_at
from edgehemo.cells.shapes import LIMITS, allows
from edgehemo.field.canonical import CANONICAL_UM_PER_PX, CLEAR_FIELD_CODE

SIDE = 88
STAINED = (150, 110, 150)
# Drawn finer and made smaller, so that borders are as soft as on a field.
FINER = 8


def clear(side: int = SIDE) -> NDArray[np.uint8]:
    return np.full((side, side, 3), CLEAR_FIELD_CODE, np.uint8)


def drawn(
    points_um: NDArray[np.float64], side: int = SIDE, at_px: tuple[float, float] | None = None
) -> NDArray[np.uint8]:
    """A stained polygon on a clear field; points (n, 2) in um about ``at_px``."""
    x, y = at_px or (side / 2, side / 2)
    large = np.full((side * FINER, side * FINER, 3), CLEAR_FIELD_CODE, np.uint8)
    px = (points_um / CANONICAL_UM_PER_PX + (x, y)) * FINER
    cv2.fillPoly(large, [np.rint(px).astype(np.int32)], STAINED)
    return np.asarray(cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def ellipse(length_um: float, width_um: float, angle: float = 0.0) -> NDArray[np.float64]:
    t = np.linspace(0, 2 * np.pi, 200)
    return turned(np.stack([length_um / 2 * np.cos(t), width_um / 2 * np.sin(t)], axis=1), angle)


def lens(length_um: float, width_um: float, angle: float = 0.0) -> NDArray[np.float64]:
    """Pointed at both ends, as a sickle cell is."""
    u = np.linspace(-1, 1, 100)
    upper = np.stack([length_um / 2 * u, width_um / 2 * (1 - u**2)], axis=1)
    lower = np.stack([length_um / 2 * u[::-1], -width_um / 2 * (1 - u[::-1] ** 2)], axis=1)
    return turned(np.concatenate([upper, lower]), angle)


def turned(points: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    rotation = [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
    return np.asarray(points @ np.array(rotation), np.float64)


@given(
    width_um=st.floats(5.0, 8.0),
    elongation=st.floats(1.0, 2.4),
    angle=st.floats(0.0, math.pi),
)
@settings(max_examples=40, deadline=None)
def test_an_ellipse_is_as_long_as_it_was_drawn(
    width_um: float, elongation: float, angle: float
) -> None:
    found = outline_in_middle(drawn(ellipse(width_um * elongation, width_um, angle)))
    assert found is not None
    assert found.elongation == pytest.approx(elongation, abs=0.08)
    area = math.pi / 4 * width_um**2 * elongation
    assert found.area_um2 == pytest.approx(area, rel=0.12)
    assert found.solidity > 0.93
    assert min(found.tips) > 0.55


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.2, 2.5])
def test_a_cell_pointed_at_both_ends_is_of_sickle_shape_and_no_other(angle: float) -> None:
    found = outline_in_middle(drawn(lens(12.0, 4.6, angle)))
    assert found is not None
    assert found.elongation > 1.7 and max(found.tips) < 0.65
    allowed = {name for name in LIMITS if allows(name, found)}
    assert "sickle_cell" in allowed
    assert not allowed & {"normal", "spherocyte", "target_cell", "stomatocyte", "macrocyte"}


def test_round_cells_are_not_long_types_and_long_ones_not_round_types() -> None:
    disc = outline_in_middle(drawn(ellipse(7.5, 7.5)))
    rod = outline_in_middle(drawn(ellipse(11.0, 5.0)))
    assert disc is not None and rod is not None
    assert allows("normal", disc) and not allows("elliptocyte", disc)
    assert not allows("sickle_cell", disc) and not allows("ovalocyte", disc)
    assert allows("elliptocyte", rod) and not allows("normal", rod)
    assert not allows("sickle_cell", rod), "its ends are round"
    assert allows("normal", None) and allows("sickle_cell", None), "nothing is known"
    assert allows("schistocyte", disc) and allows("uncategorised", rod)


def test_a_pair_of_cells_has_no_outline_of_one() -> None:
    pair = np.minimum(
        drawn(ellipse(7.5, 7.5), at_px=(44, 44)), drawn(ellipse(7.5, 7.5), at_px=(66, 44))
    )
    assert outline_in_middle(pair) is None
    box = np.array([[29, 29, 59, 59]], np.float32)
    assert outlines_at(pair, box) == [None]


def test_a_cell_that_the_border_cuts_has_no_outline() -> None:
    cut = drawn(ellipse(7.5, 7.5), at_px=(5, 44))
    assert outlines_at(cut, np.array([[0, 29, 20, 59]], np.float32)) == [None]
    assert outline_in_middle(clear()) is None
    assert outlines_at(clear(), np.array([[20, 20, 50, 50]], np.float32)) == [None]
    assert outlines_at(clear(), np.zeros((0, 4), np.float32)) == []


def test_each_box_has_the_outline_of_its_own_cell() -> None:
    field = np.minimum(
        drawn(ellipse(7.5, 7.5), side=160, at_px=(40, 60)),
        drawn(ellipse(12.0, 5.0), side=160, at_px=(110, 100)),
    )
    boxes = np.array([[25, 45, 55, 75], [86, 90, 134, 110], [60, 10, 80, 30]], np.float32)
    disc, rod, nothing = outlines_at(field, boxes)
    assert disc is not None and disc.elongation < 1.1
    assert rod is not None and rod.elongation > 2.0
    assert nothing is None


def test_every_limit_is_of_a_shape_that_can_be() -> None:
    for limits in LIMITS.values():
        assert 1.0 <= limits.elongation_from < limits.elongation_to
    assert not LIMITS["normal"].allow(Outline(40.0, 2.0, 0.97, (0.65, 0.7), 0.8))
