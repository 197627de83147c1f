"""How good a cell finder is: matching, average precision, gates, other lamps."""

from __future__ import annotations

import numpy as np
import pytest

from edgehemo.images.frame import Frame

pytestmark = pytest.mark.host
pytest.importorskip("torch", reason='needs pip install "edgehemo[host]"')

from edgehemo_export.models.finder.lights import LIGHTS
from edgehemo_export.models.finder.matching import average_precision, match
from edgehemo_export.quantisation.gates import TASK_GATES, problems


def test_matching_is_one_to_one_and_by_kind() -> None:
    labels = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], np.float32)
    candidates = np.array(
        [
            [0, 0, 10, 10, 0.9, 0],
            [1, 0, 11, 10, 0.8, 0],  # the same label again
            [20, 0, 30, 10, 0.7, 1],  # the right place, another kind
        ],
        np.float32,
    )
    assert match(candidates, labels, np.array([0, 0])).tolist() == [True, False, False]


def test_export_gates_catch_lost_cells_and_precision() -> None:
    good = {"mAP50": 0.95, "interior_red_cells": 1000.0}
    gates = TASK_GATES["cell_finder"]
    assert problems(gates, good, good, "int8") == []
    assert problems(gates, good, {**good, "mAP50": 0.93}, "int8") == [
        "int8: mAP50 falls by 0.0200, the gate is 0.01"
    ]
    fewer = problems(gates, good, {**good, "interior_red_cells": 900.0}, "fp16")
    assert fewer == ["fp16: red cells move by -10.00%, the gate is 1%"]


@pytest.mark.parametrize("name", sorted(LIGHTS))
def test_lights_only_darken_and_keep_the_frame(name: str) -> None:
    frame = Frame(np.full((40, 60, 3), 200, np.uint8), "clear")
    changed = LIGHTS[name](frame)
    assert changed.pixels.shape == frame.pixels.shape
    assert changed.pixels.max() <= 200 and changed.pixels.mean() < 195


def test_average_precision_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    perfect = np.array([True, True, True, True])
    assert average_precision(scores, perfect, 4) == pytest.approx(1.0)
    # Two of four found, both first: precision 1 up to recall 0.5, then nothing (51 of 101 levels).
    half = np.array([True, True, False, False])
    assert average_precision(scores, half, 4) == pytest.approx(51 / 101)
    assert average_precision(scores, ~perfect, 4) == 0
