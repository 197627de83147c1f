"""One run of `edgehemo train field-estimator` and of `edgehemo evaluate`, data root to file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from edgehemo.device.equipment import open_finder
from edgehemo.errors import UsageError
from edgehemo.estimate.network import FieldNetwork, FieldNetworks
from edgehemo.field.tiles import TILE_PX
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.data.envelope import training_envelope
from edgehemo_export.data.field_tiles import FieldImage, from_simulated, real_fields
from edgehemo_export.data.simulated_tiles import BLOCK_PX, simulated_fields, simulated_one
from edgehemo_export.data.smear_sets import LICENCES, of_part, smear_images
from edgehemo_export.data.splits import Part
from edgehemo_export.evaluation.evaluation import Evaluation
from edgehemo_export.evaluation.explanations import explanation_picture
from edgehemo_export.models.field_estimator.card import estimator_card
from edgehemo_export.models.field_estimator.evaluation import (
    other_microscope_metrics,
    pair_metrics,
    physics_metrics,
    scatter_picture,
    simulated_metrics,
)
from edgehemo_export.models.field_estimator.export import PAIRED_SOURCE, estimator_subject
from edgehemo_export.models.field_estimator.training import (
    EstimatorTask,
    EstimatorTrainingConfig,
    read_config,
)
from edgehemo_export.nets.resnet_fields import FieldEstimatorNet
from edgehemo_export.nets.stored_weights import half_precision
from edgehemo_export.nets.torch_runner import TorchRunner
from edgehemo_export.quantisation.subject import ExportSubject
from edgehemo_export.training.loop import Run, run_record, train

__all__ = ["card", "evaluate", "export_subject", "read_config", "run_training"]

TASK = "field_estimator"
EXPLAINED_SEED, EXPLAINED_FIELDS = 20_261_203, 4
# Held-out simulated fields come from another seed than those trained on.
HELD_OUT_SEED_OFFSET = 1


def run_training(
    data: Path,
    config: EstimatorTrainingConfig,
    work: Path,
    run: Run,
) -> Checkpoint:
    """Render, read unlabelled real fields, train. No picture with an analyser result is seen."""
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
    _, _, finder = open_finder(None)
    real = real_fields(chosen, finder, cache, accepted_only=True)
    task = EstimatorTask(from_simulated(simulated), real, from_simulated(held_out), config)
    net, state = train(task, FieldEstimatorNet, config, work, run)
    sources = sorted({field.source for field in real})
    envelope = training_envelope(chosen, seed=config.loop.seed)
    record: dict[str, Any] = {
        **run_record(config, state, run),
        "images": {source: sum(field.source == source for field in real) for source in sources}
        | {"simulated": len(simulated)},
        "training_data": [
            LICENCES[name] for name in ("simulated", *sorted({licence_of(s) for s in sources}))
        ],
        "training_envelope": envelope.model_dump(),
    }
    return Checkpoint(TASK, half_precision(net.state_dict()), record)


def licence_of(source: str) -> str:
    """The key of LICENCES that a source's data falls under."""
    return "chula_disease" if source.startswith("chula_disease") else source


def estimator_net(checkpoint: Checkpoint) -> FieldEstimatorNet:
    """The network of a checkpoint, float32, in evaluation mode."""
    if checkpoint.task != TASK:
        raise UsageError(f"a checkpoint of {checkpoint.task}, not of the field estimator")
    net = FieldEstimatorNet()
    net.load_state_dict(checkpoint.weights)
    return net.eval()


def evaluate(checkpoint: Checkpoint, data: Path, part: Part) -> Evaluation:
    """Simulated samples by a line fitted on others, the analyser pairs leave-one-out, and real
    fields of this part (of a source left out of training all, and that alone) against physics."""
    net = estimator_net(checkpoint)
    runner = TorchRunner(net)
    envelope = checkpoint.record["training_envelope"]
    networks = FieldNetworks(estimator=FieldNetwork(runner, envelope))
    _, _, finder = open_finder(None)
    cache = sample_cache()
    left_out = checkpoint.record.get("left_out")
    if left_out is not None:
        images = [image for image in smear_images(data) if image.source == left_out]
        return Evaluation(physics_metrics(images, finder, runner, None))
    metrics, found = simulated_metrics(networks, part, cache)
    metrics += other_microscope_metrics(networks, part, cache)
    metrics += pair_metrics(data, finder, networks)
    images = [i for i in of_part(smear_images(data), part) if i.source != PAIRED_SOURCE]
    metrics += physics_metrics(images, finder, runner, None)
    return Evaluation(
        metrics,
        pictures={"simulated": scatter_picture(found), "gradcam": explained(net)},
    )


def sample_cache() -> Path | None:
    """Where rendered samples are kept between evaluations: EDGEHEMO_SAMPLE_CACHE, if set."""
    named = os.environ.get("EDGEHEMO_SAMPLE_CACHE")
    return Path(named) if named else None


def explained(net: FieldEstimatorNet) -> bytes:
    """Grad-CAM of simulated tiles of different blood, as PNG."""
    tiles, captions = [], []
    for index in range(EXPLAINED_FIELDS):
        made = simulated_one(index, seed=EXPLAINED_SEED, reference=True)
        tiles.append(np.ascontiguousarray(made.codes[0, :TILE_PX, :TILE_PX]))
        blocks = TILE_PX // BLOCK_PX
        held = made.content[0, :blocks, :blocks].mean(axis=(0, 1))
        captions.append(f"simulated, holds HGB {held[0]:.0f} g/L")
    outputs = [(0, "haemoglobin"), (1, "haematocrit"), (2, "red cells")]
    return explanation_picture(net, tiles, captions, outputs)


def card(checkpoint: Checkpoint) -> str:
    """The model card, from the checkpoint's record."""
    return estimator_card(checkpoint)


def export_subject(checkpoint: Checkpoint) -> ExportSubject:
    """What the exporter needs to know of the estimator."""
    return estimator_subject(checkpoint, estimator_net(checkpoint))


def training_images(data: Path, per_source: int, leave_out: str | None) -> list[FieldImage]:
    """Real pictures of the training part, evenly chosen by source, none with an analyser result."""
    images = of_part(smear_images(data), "train")
    out: list[FieldImage] = []
    for source in sorted({image.source for image in images}):
        if source in (PAIRED_SOURCE, leave_out):
            continue
        here = [image for image in images if image.source == source]
        out += here[:: max(1, len(here) // per_source)]
    return out
