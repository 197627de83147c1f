"""What an export says before and while it works: twins, teachers, what is done and left."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgehemo.errors import UsageError

pytestmark = pytest.mark.host
pytest.importorskip("torch", reason='needs pip install "edgehemo[host]"')

from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.quantisation.bundling import refuse_twins
from edgehemo_export.quantisation.progress import ExportProgress
from edgehemo_export.training.record import taught_by

TEACHER = Checkpoint("morphology", {}, {"steps": 3600, "configuration": {"seed": 1}})
PUPIL = Checkpoint("morphology", {}, {"steps": 3200, "taught_by": taught_by(TEACHER)})
OTHER = Checkpoint("morphology", {}, {"steps": 100})
NUCLEATED = Checkpoint("nucleated", {}, {})


@pytest.mark.parametrize("order", [1, -1])
def test_a_teacher_beside_its_pupil_is_named(order: int) -> None:
    given = [(Path("a/m.safetensors"), PUPIL), (Path("a/teachers/m.safetensors"), TEACHER)]
    with pytest.raises(UsageError) as caught:
        refuse_twins([(Path("n.safetensors"), NUCLEATED), *given[::order]])
    said = str(caught.value)
    assert "are both morphology" in said
    assert "(a/teachers/m.safetensors is the teacher of a/m.safetensors: leave it out)" in said


def test_two_of_a_task_that_do_not_know_each_other_are_refused_without_a_guess() -> None:
    with pytest.raises(UsageError, match=r"a bundle holds one model a task$"):
        refuse_twins([(Path("a"), PUPIL), (Path("b"), OTHER)])
    with pytest.raises(UsageError, match="a and a are both"):
        refuse_twins([(Path("a"), OTHER), (Path("a"), OTHER)])
    refuse_twins([(Path("a"), PUPIL), (Path("b"), NUCLEATED)])


def test_progress_says_what_is_done_how_long_it_took_and_what_is_left() -> None:
    now_s = 1000.0
    lines: list[str] = []
    progress = ExportProgress(4, lines.append, clock=lambda: now_s)
    progress.say("x onnx int8: minmax calibration")
    now_s += 1
    progress.finished("x onnx int8: up to date", taken_over=True)
    now_s += 99
    progress.finished("x openvino int8: passes its gate")
    now_s += 200
    progress.finished("x tflite int8: fails its gate")
    progress.finished("y onnx int8: passes its gate")
    assert lines == [
        "0 of 4 done, 0 s: x onnx int8: minmax calibration",
        "1 of 4 done, 1 s: x onnx int8: up to date",
        "2 of 4 done, 100 s, about 3 min left: x openvino int8: passes its gate",
        "3 of 4 done, 5 min, about 2 min left: x tflite int8: fails its gate",
        "4 of 4 done, 5 min: y onnx int8: passes its gate",
    ]
