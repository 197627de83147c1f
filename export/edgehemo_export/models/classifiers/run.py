"""One run of any cell classifier, from data root to checkpoint, and its evaluation.

A classifier is told apart by its `ClassifierSpec`; everything else is shared.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgehemo.errors import UsageError
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.data.cell_crops import CellCrops
from edgehemo_export.models.classifiers.checkpoint import (
    classifier_net,
    stored_config,
)
from edgehemo_export.models.classifiers.evaluation import measure, stored_confusion
from edgehemo_export.models.classifiers.out_of_fold import second_opinions
from edgehemo_export.models.classifiers.predictions import Predicted, fit_temperature, predict_net
from edgehemo_export.models.classifiers.specification import ClassifierSpec
from edgehemo_export.models.classifiers.training import (
    ClassifierConfig,
    ClassifierTask,
    UnnamedCrops,
)
from edgehemo_export.nets.architecture_table import BY_NAME
from edgehemo_export.nets.classifier_nets import INPUT_MEAN, INPUT_SD, ClassifierNet
from edgehemo_export.nets.imagenet_weights import imagenet_weights
from edgehemo_export.nets.scattering_svm import ScatteringSvm, features_of
from edgehemo_export.nets.stored_weights import half_precision
from edgehemo_export.training.loop import train
from edgehemo_export.training.record import run_record
from edgehemo_export.training.task import Run, TrainingState


def train_classifier(
    spec: ClassifierSpec,
    data: Path,
    config: ClassifierConfig,
    work: Path,
    run: Run,
) -> Checkpoint:
    """Train on the training part; temperature and conformal rule on the tune part.

    The test part is not looked at.
    """
    architecture = BY_NAME[config.model.architecture]
    if architecture.side_px is not None and architecture.side_px != config.crop.side_px:
        raise UsageError(
            f"{architecture.name} takes crops of {architecture.side_px} px: set side_px under "
            f"[crop] to that (it is {config.crop.side_px}), and um_per_px so that a cell fits"
        )
    cache = work / "cache"
    crops = spec.build(data, config, cache)
    if run.leave_out is not None and not (crops.sources == run.leave_out).any():
        have = ", ".join(sorted(set(crops.sources.tolist())))
        raise UsageError(f"--leave-out {run.leave_out}: the data root holds {have}")
    crops = crops.without(run.leave_out)
    training, tune = crops.part("train"), crops.part("tune", run.split)
    if not len(training) or not len(tune):
        raise UsageError("the split leaves no crop to train on or to tune with")
    opinion_record: dict[str, Any] = {}
    unnamed = unnamed_crops(spec, data, config, cache, run.leave_out)
    teacher = teacher_net(spec, config, run.teacher)
    if not architecture.sgd:
        if teacher is not None:
            raise UsageError(f"{architecture.name} is fitted at once: no teacher can be asked")
        net, state = _fitted(training, config)
    else:
        opinions = None
        if config.out_of_fold.share > 0:
            opinions = second_opinions(
                training,
                lambda some, changed: _learning_task(spec, some, _none_of(some), changed, cache),
                config,
                work,
                run,
            )
            agreement = float((opinions.argmax(axis=1) == training.labels).mean())
            opinion_record = {"second_opinion": {"agreement": agreement}}
        net, state = train(
            _learning_task(spec, training, tune, config, cache, opinions, teacher, unnamed),
            lambda: ClassifierNet(config.model, len(training.classes)),
            config,
            work,
            run,
            weights=_weights_to_start_from(config, run.initial),
        )
    side = config.crop.side_px
    fit_temperature(net, tune.middle(side), tune.labels)
    if architecture.sgd:
        # What is kept is what is measured: the weights, and the temperature, as they are stored.
        net.load_state_dict(half_precision(net.state_dict()))
    probabilities = predict_net(net, tune.middle(side))
    rule = spec.rule(probabilities, tune.labels, spec.classes, config.coverage)
    tuned = Predicted(tune, probabilities)
    record: dict[str, Any] = {
        **run_record(config, state, run),
        **opinion_record,
        "classes": list(spec.classes),
        "images": _totals(training) | _totals_unnamed(unnamed),
        "crops": {"train": training.counts(), "tune": tune.counts()},
        "training_data": [spec.licences.get(name, name) for name in _sources(training, unnamed)],
        "temperature": float(net.temperature),
        "conformal": rule.model_dump(),
        "tune_confusion": stored_confusion(tuned, rule).model_dump(),
        "tune": [m.model_dump() for m in measure(tuned, rule, "tune", rounds=0)],
        "best": {"step": state.best_step, "score": state.best_score},
    }
    weights = net.state_dict()
    return Checkpoint(spec.task, half_precision(weights) if architecture.sgd else weights, record)


def _learning_task(
    spec: ClassifierSpec,
    training: CellCrops,
    tune: CellCrops,
    config: ClassifierConfig,
    cache: Path,
    opinions: NDArray[np.float32] | None = None,
    teacher: ClassifierNet | None = None,
    unnamed: UnnamedCrops | None = None,
) -> ClassifierTask:
    """The task with masks and stain gains where the configuration exchanges by them."""
    masks = None
    if config.augment.exchange_share > 0 and spec.masks is not None:
        masks = spec.masks(training, cache)
    stain_gains = None
    if config.augment.stain_share > 0 and spec.stain_gains is not None and masks is not None:
        stain_gains = spec.stain_gains(training, masks)
    return ClassifierTask(training, tune, config, masks, stain_gains, opinions, teacher, unnamed)


def unnamed_crops(
    spec: ClassifierSpec,
    data: Path,
    config: ClassifierConfig,
    cache: Path | None,
    left_out: str | None,
) -> UnnamedCrops | None:
    """The training part's crops without a name, None where the configuration asks for none."""
    if config.unnamed_share == 0:
        return None
    if spec.unnamed is None:
        raise UsageError(f"unnamed_share: {spec.command} knows no cells without a name")
    crops = spec.unnamed(data, config, cache).without(left_out).part("train")
    return UnnamedCrops(crops, np.isin(spec.classes, spec.unnamed_classes))


def teacher_net(
    spec: ClassifierSpec, config: ClassifierConfig, checkpoint: Checkpoint | None
) -> ClassifierNet | None:
    """The network whose answers are learned from, None where no share of them is asked.

    Raises UsageError where a share is asked without a teacher, a teacher is given without a share,
    or it reads other crops.
    """
    if checkpoint is None and config.teacher_share == 0:
        return None
    if checkpoint is None:
        raise UsageError("teacher_share: whose answers? give the teacher's checkpoint, --teacher")
    if config.teacher_share == 0:
        raise UsageError("--teacher: the configuration asks no share of its answers, teacher_share")
    read, wanted = stored_config(checkpoint).crop, config.crop
    if (read.side_px, read.um_per_px) != (wanted.side_px, wanted.um_per_px):
        raise UsageError(
            f"--teacher: it reads crops of {read.side_px} px at {read.um_per_px:g} um/px, the "
            f"configuration has {wanted.side_px} px at {wanted.um_per_px:g} um/px"
        )
    return classifier_net(spec, checkpoint)


def _none_of(crops: CellCrops) -> CellCrops:
    return crops.where(np.zeros(len(crops), np.bool_))


def _fitted(training: CellCrops, config: ClassifierConfig) -> tuple[ClassifierNet, TrainingState]:
    """A classifier that is fitted on features at once; nothing is drawn or varied."""
    net = ClassifierNet(config.model, len(training.classes))
    machine = net.net
    if not isinstance(machine, ScatteringSvm):
        raise UsageError(f"{config.model.architecture} cannot be fitted")
    started = time.monotonic()
    codes = training.middle(config.crop.side_px)
    machine.fit(features_of(machine, codes, INPUT_MEAN, INPUT_SD), training.labels)
    return net.eval(), TrainingState(seconds=time.monotonic() - started)


def _weights_to_start_from(
    config: ClassifierConfig, initial: Checkpoint | None
) -> Mapping[str, torch.Tensor] | None:
    if initial is not None:
        return initial.weights
    if config.init == "scratch":
        return None
    found = imagenet_weights(config.model.architecture)
    return {f"net.{name}": value for name, value in found.items()}


def _totals_unnamed(unnamed: UnnamedCrops | None) -> dict[str, int]:
    if unnamed is None:
        return {}
    sources = unnamed.crops.sources.tolist()
    return {f"{source}, types unknown": sources.count(source) for source in sorted(set(sources))}


def _sources(training: CellCrops, unnamed: UnnamedCrops | None) -> list[str]:
    also = set() if unnamed is None else set(unnamed.crops.sources.tolist())
    return sorted(set(training.sources.tolist()) | also)


def _totals(crops: CellCrops) -> dict[str, int]:
    return {source: sum(by.values()) for source, by in crops.counts().items()}
