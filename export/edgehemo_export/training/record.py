"""What a checkpoint tells of the run that made it."""

from __future__ import annotations

import platform
from typing import Any

import torch

from edgehemo.version import __version__
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.data.splits import SPLIT_NAME
from edgehemo_export.training.task import Run, TaskConfiguration, TrainingState

# Rows of the curve that a checkpoint keeps.
CURVE_ROWS = 40


def run_record(config: TaskConfiguration, state: TrainingState, run: Run) -> dict[str, Any]:
    """What every checkpoint tells of its run: settings, origin, split, course, software."""
    return {
        "configuration": config.model_dump(),
        "initialised_from": None if run.initial is None else origin(run.initial),
        "taught_by": None if run.teacher is None else taught_by(run.teacher),
        "left_out": run.leave_out,
        "split": SPLIT_NAME,
        "steps": state.step,
        "seconds": round(state.seconds, 1),
        "curve": state.curve[:: max(1, len(state.curve) // CURVE_ROWS)],
        "run": {
            "software_version": __version__,
            "torch": torch.__version__,
            "machine": platform.machine(),
        },
    }


def origin(initial: Checkpoint) -> dict[str, Any]:
    """What a run's first weights, or its teacher's, were trained for and on."""
    known = ("images", "left_out", "split", "steps", "run", "initialised_from", "taught_by")
    return {"task": initial.task, **{key: initial.record.get(key) for key in known}}


def taught_by(teacher: Checkpoint) -> dict[str, Any]:
    """A teacher's origin, and how it was trained: its network is not the pupil's."""
    return {**origin(teacher), "configuration": teacher.record.get("configuration")}


def taught(pupil: Checkpoint, *, teacher: Checkpoint) -> bool:
    """Whether one checkpoint was trained on the other's answers, as its record tells."""
    return pupil.record.get("taught_by") == taught_by(teacher)
