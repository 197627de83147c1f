"""How well nucleated cells are named: by source, on other surroundings, on unseen microscopes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from edgehemo.bundle.manifest import Metric
from edgehemo.cells.crops import canonical_crop
from edgehemo.images.reading import read_frame
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.data.cell_crops import CellCrops
from edgehemo_export.data.sets.own import own_alone
from edgehemo_export.data.splits import Part, model_split
from edgehemo_export.evaluation.evaluation import Evaluation
from edgehemo_export.models.classifiers.checkpoint import (
    as_learnt,
    classifier_net,
    stored_config,
    stored_rule,
)
from edgehemo_export.models.classifiers.evaluation import evaluated, measure, share_metric
from edgehemo_export.models.classifiers.nucleated.data import (
    NUCLEATED_CLASSES,
    OTHER,
    WHITE_CELL_TYPES,
    unnamed_white_cells,
    unseen_white_cells,
)
from edgehemo_export.models.classifiers.nucleated.exchanged_backgrounds import (
    SCANNERS,
    SHARED_CLASS,
    exchange_metrics,
    gains_between_scanners,
    masks_of,
)
from edgehemo_export.models.classifiers.nucleated.specification import SPEC
from edgehemo_export.models.classifiers.predictions import Predicted, predict_net
from edgehemo_export.models.classifiers.variation import with_stain
from edgehemo_export.nets.classifier_nets import ClassifierNet

CONFOUNDED = "myeloblast"


def evaluate(checkpoint: Checkpoint, data: Path, part: Part) -> Evaluation:
    """Metrics by source; with surroundings exchanged; with the scale estimated; and on Raabin's
    white cells, a microscope never trained on.
    """
    net = classifier_net(SPEC, checkpoint)
    config = stored_config(checkpoint)
    side = config.crop.side_px
    every = as_learnt(SPEC, checkpoint).build(data, config, None)
    predicted, found = evaluated(SPEC, checkpoint, net, every, part)
    crops = predicted.crops
    metrics = list(found.metrics)
    if checkpoint.record.get("left_out") is not None or own_alone(data):
        return dataclasses.replace(found, metrics=metrics)
    single = np.isin(crops.sources, SCANNERS)
    if {str(s) for s in crops.sources[single]} == set(SCANNERS):
        metrics += _exchanged(net, every, crops.where(single), side)
    if (crops.sources == "pbc").any():
        metrics += _estimated_scale(net, checkpoint, crops.only("pbc"))
    crop = config.crop
    raabin = unseen_white_cells(data, crop, None)
    if len(raabin):
        metrics += _seen_as_white(net, raabin, side, "raabin (never trained on)")
    split = model_split(checkpoint.task, checkpoint.record)
    unnamed = unnamed_white_cells(data, crop, None).part(part, split)
    if len(unnamed):
        metrics += _seen_as_white(net, unnamed, side, "bccd, white cells without types")
    return dataclasses.replace(found, metrics=metrics)


def _exchanged(net: ClassifierNet, every: CellCrops, crops: CellCrops, side: int) -> list[Metric]:
    """The stain's gains come from the training part, the figures from the kept-out cells."""
    known = every.part("train")
    shared = known.where(known.labels == NUCLEATED_CLASSES.index(SHARED_CLASS))
    shared_masks = masks_of(shared, None)
    gains = gains_between_scanners(shared, shared_masks)
    return exchange_metrics(
        crops,
        masks_of(crops, None),
        SCANNERS,
        lambda codes, own: with_stain(codes, gains[own]),
        lambda codes: predict_net(net, codes),
        side,
        target=CONFOUNDED,
        other=OTHER,
    )


def _estimated_scale(net: ClassifierNet, checkpoint: Checkpoint, crops: CellCrops) -> list[Metric]:
    """PBC's kept-out cells with the scale estimated, as `edgehemo classify` does without one."""
    crop = stored_config(checkpoint).crop
    codes = np.stack(
        [
            canonical_crop(
                read_frame(path).pixels, None, crop.side_px, crop_um_per_px=crop.um_per_px
            )
            for path in crops.files
        ]
    )
    again = dataclasses.replace(crops, codes=codes)
    predicted = Predicted(again, predict_net(net, codes))
    wanted = ("accuracy", "macro F1", "named (not uncertain)", "accuracy of the named")
    every = measure(predicted, stored_rule(checkpoint), "pbc, scale estimated")
    return [metric for metric in every if metric.name in wanted]


def _seen_as_white(net: ClassifierNet, cells: CellCrops, side: int, source: str) -> list[Metric]:
    """White cells whose types are not published: how many are seen to be white cells."""
    names = predict_net(net, cells.middle(side)).argmax(axis=1)
    white = np.isin(NUCLEATED_CLASSES, WHITE_CELL_TYPES)
    return [
        share_metric(
            "white cells not taken for other", source, names != NUCLEATED_CLASSES.index(OTHER)
        ),
        share_metric("white cells named a white cell", source, white[names]),
    ]
