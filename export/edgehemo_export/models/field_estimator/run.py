"""One run of `edgehemo train field-estimator` and of `edgehemo evaluate`, data root to file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgehemo.device.equipment import open_finder
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.data.envelope import training_envelope
from edgehemo_export.data.field_tiles import from_simulated, real_fields
from edgehemo_export.data.sets.own import own_licences
from edgehemo_export.data.simulated.tiles import simulated_fields
from edgehemo_export.data.smears import LICENCES
from edgehemo_export.models.field_estimator.card import card
from edgehemo_export.models.field_estimator.checkpoint import TASK
from edgehemo_export.models.field_estimator.data import licence_of, training_images
from edgehemo_export.models.field_estimator.evaluation import evaluate
from edgehemo_export.models.field_estimator.export import export_subject
from edgehemo_export.models.field_estimator.training import (
    EstimatorTask,
    EstimatorTrainingConfig,
    read_config,
)
from edgehemo_export.nets.resnet_fields import FieldEstimatorNet
from edgehemo_export.nets.stored_weights import half_precision
from edgehemo_export.training.loop import train
from edgehemo_export.training.record import run_record
from edgehemo_export.training.task import Run

__all__ = ["card", "evaluate", "export_subject", "read_config", "run_training"]

# Held-out simulated fields come from another seed than those trained on.
HELD_OUT_SEED_OFFSET = 1


def run_training(
    data: Path,
    config: EstimatorTrainingConfig,
    work: Path,
    run: Run,
) -> Checkpoint:
    """Render, read unlabelled real fields, train. No analyser's value is seen; of the pictures that
    bear one only those of own sets, without it.
    """
    cache = work / "cache"
    simulated = simulated_fields(
        config.simulated.fields, seed=config.loop.seed, cache=cache, progress=run.show_progress
    )
    held_out = simulated_fields(
        config.simulated.held_out_fields,
        seed=config.loop.seed + HELD_OUT_SEED_OFFSET,
        cache=cache,
        progress=run.show_progress,
    )
    chosen = training_images(data, config.real.fields_per_source, run.leave_out)
    device, bundle, finder = open_finder(None)
    opened = f"{bundle.digest} {device.inference.runtime} {device.inference.precision}"
    real = real_fields(chosen, finder, cache, finder_digest=opened, accepted_only=True)
    task = EstimatorTask(from_simulated(simulated), real, from_simulated(held_out), config)
    net, state = train(task, FieldEstimatorNet, config, work, run)
    sources = sorted({field.source for field in real})
    licences = {**LICENCES, **own_licences(data)}
    envelope = training_envelope(chosen, seed=config.loop.seed)
    record: dict[str, Any] = {
        **run_record(config, state, run),
        "images": {source: sum(field.source == source for field in real) for source in sources}
        | {"simulated": len(simulated)},
        "training_data": [
            licences[name] for name in ("simulated", *sorted({licence_of(s) for s in sources}))
        ],
        "training_envelope": envelope.model_dump(),
    }
    return Checkpoint(TASK, half_precision(net.state_dict()), record)
