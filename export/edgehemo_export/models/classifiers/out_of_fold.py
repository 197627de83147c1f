"""A second opinion on every training crop, by networks that have not seen its block of fields.

Where people disagree about a cell, one label is a coin that fell; a network fits it all the same,
and the longer it trains the more such coins it knows by heart. What networks trained on the other
blocks say of the cell is a second opinion, and a target between both is nearer to what can be
known (self-distillation across folds: Hinton et al. 2015; Reed et al. 2015 for labels in doubt).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from edgehemo.errors import UsageError
from edgehemo_export.data.cell_crops import CellCrops
from edgehemo_export.models.classifiers.training import ClassifierConfig, ClassifierTask, logits_of
from edgehemo_export.nets.classifier_nets import ClassifierNet, ClassifierNetConfig
from edgehemo_export.training.loop import train
from edgehemo_export.training.task import Run


def second_opinions(
    training: CellCrops,
    learning_task: Callable[[CellCrops, ClassifierConfig], ClassifierTask],
    config: ClassifierConfig,
    work: Path,
    run: Run,
) -> NDArray[np.float32]:
    """Logits of each training crop, float32 (n, classes), by a network of the other folds.

    learning_task: makes the task of some of the crops under a configuration. Groups (blocks,
    slides, patients) stay whole; each fold's run is kept in ``work`` and resumed like any other.
    Raises UsageError where there are fewer groups than folds.
    """
    options = config.out_of_fold
    folds = fold_of(training, options.folds, config.loop.seed)
    logits = np.empty((len(training), len(training.classes)), np.float32)
    model = config.model
    if options.architecture is not None:
        model = ClassifierNetConfig(architecture=options.architecture)
    of_fold = config.model_copy(
        update={
            "model": model,
            "teacher_share": 0.0,
            "unnamed_share": 0.0,
            "out_of_fold": options.model_copy(update={"share": 0.0}),
            "loop": config.loop.model_copy(update={"steps": options.steps, "validate_every": 0}),
        }
    )
    for fold in range(options.folds):
        others, own = folds != fold, folds == fold
        net, _ = train(
            learning_task(training.where(others), of_fold),
            lambda: ClassifierNet(model, len(training.classes)),
            of_fold,
            work / f"fold-{fold}",
            dataclasses.replace(run, initial=None, teacher=None, stop_after=None),
        )
        logits[own] = logits_over_views(net, training.middle(config.crop.side_px)[own])
    return logits


def fold_of(training: CellCrops, folds: int, seed: int) -> NDArray[np.intp]:
    """The fold of each crop, intp (n,): groups whole, classes as even as groups allow."""
    groups = len(set(training.groups.tolist()))
    if groups < folds:
        raise UsageError(f"out_of_fold: {folds} folds need as many groups, there are {groups}")
    found = np.full(len(training), -1, np.intp)
    split = StratifiedGroupKFold(folds, shuffle=True, random_state=seed % 2**32)
    for fold, (_, own) in enumerate(split.split(training.labels, training.labels, training.groups)):
        found[own] = fold
    return found


def logits_over_views(net: ClassifierNet, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean logits of crops uint8 (n, s, s, 3) over their eight turned and mirrored views."""
    place = next(net.parameters()).device
    total = np.zeros((len(codes), 0), np.float32)
    for turns in range(4):
        turned = np.rot90(codes, turns, (1, 2))
        for view in (turned, turned[:, :, ::-1]):
            seen = logits_of(net, np.ascontiguousarray(view), place)
            total = seen if total.shape[1] == 0 else total + seen
    return np.asarray(total / 8, np.float32)
