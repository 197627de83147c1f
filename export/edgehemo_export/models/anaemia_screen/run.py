"""One run of `edgehemo train anaemia-screen` and of `edgehemo evaluate`, data root to file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from edgehemo.errors import UsageError
from edgehemo_export.checkpoints import Checkpoint, Trunk, as_trunk
from edgehemo_export.data.envelope import training_envelope
from edgehemo_export.data.sets.own import own_licences, own_sets
from edgehemo_export.data.simulated.tiles import simulated_fields
from edgehemo_export.data.smears import LICENCES
from edgehemo_export.models.anaemia_screen.card import card
from edgehemo_export.models.anaemia_screen.checkpoint import TASK
from edgehemo_export.models.anaemia_screen.data import (
    SIMULATED,
    SOURCES,
    part_images,
    screen_fields,
    screen_images,
    simulated_screen_fields,
)
from edgehemo_export.models.anaemia_screen.evaluation import (
    evaluate,
    held_out_simulated,
    judged,
    operating_point,
)
from edgehemo_export.models.anaemia_screen.export import export_subject
from edgehemo_export.models.anaemia_screen.training import (
    ScreenTask,
    ScreenTrainingConfig,
    read_config,
    shares_with_own,
)
from edgehemo_export.models.field_estimator import checkpoint as estimator
from edgehemo_export.nets.resnet_fields import AnaemiaScreenNet
from edgehemo_export.nets.stored_weights import half_precision
from edgehemo_export.training.loop import train
from edgehemo_export.training.record import run_record
from edgehemo_export.training.task import Run

__all__ = ["card", "evaluate", "export_subject", "read_config", "run_training"]


def run_training(
    data: Path,
    config: ScreenTrainingConfig,
    work: Path,
    run: Run,
) -> Checkpoint:
    """Read, learn the head on the estimator's features that the run begins with, calibrate the
    probability of a sample on the tune part.
    """
    trunk, weights = _trunk_of(run)
    own = [item.told.name for item in own_sets(data)]
    if run.leave_out is not None and run.leave_out not in (*SOURCES, *own):
        raise UsageError(
            f"--leave-out {run.leave_out}: no such source; known are {', '.join((*SOURCES, *own))}"
        )
    cache = work / "cache"
    images = screen_images(data)
    config = shares_with_own(config, own, {image.source for image in images})
    training = part_images(images, "train", run.leave_out)
    fields = screen_fields(training, cache)
    tune = screen_fields(part_images(images, "tune", run.leave_out, run.split), cache)
    if run.leave_out != SIMULATED:
        drawn = simulated_fields(
            config.simulated.fields, seed=config.loop.seed, cache=cache, progress=run.show_progress
        )
        fields += simulated_screen_fields(drawn, "train")
        tune += held_out_simulated("tune", config, cache)
    task = ScreenTask(fields, tune, config)
    net, state = train(task, AnaemiaScreenNet, config, work, run, weights=weights)
    # What is kept is what is measured: the weights as they are stored.
    net.load_state_dict(half_precision(net.state_dict()))
    point = operating_point(judged(net, tune, config))
    sources = sorted({field.source for field in fields})
    licences = {**LICENCES, **own_licences(data)}
    record: dict[str, Any] = {
        **run_record(config, state, run),
        "images": {source: sum(field.source == source for field in fields) for source in sources},
        "training_data": [licences.get(source, source) for source in sources],
        "training_envelope": training_envelope(training, seed=config.loop.seed).model_dump(),
        "operating_point": point.model_dump(),
    }
    return Checkpoint(TASK, half_precision(net.state_dict()), record, trunk)


def _trunk_of(run: Run) -> tuple[Trunk, dict[str, Tensor]]:
    """The field estimator that a run's head is to stand on, and the weights the run begins with."""
    initial = run.initial
    if initial is not None and initial.task == estimator.TASK:
        return as_trunk(initial)
    if initial is not None and initial.trunk is not None:
        return initial.trunk, initial.weights
    raise UsageError(
        "the anaemia screen is read from a field estimator's features: give the estimator with "
        "--init field_estimator.safetensors, or an earlier screen of it with --init shipped"
    )
