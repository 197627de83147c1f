"""How well red cells are named: by type, at a scale misread, and in fields of known diagnosis."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from edgehemo.bundle.bundle import load_bundle
from edgehemo.bundle.manifest import Confusion, Metric
from edgehemo.cells.crops import crops_at
from edgehemo.cells.finder import open_cell_finder
from edgehemo.cells.shares import type_shares
from edgehemo.errors import UsageError
from edgehemo.field.canonical import CANONICAL_UM_PER_PX, CLEAR_FIELD_CODE, canonical_field
from edgehemo.images.reading import read_frame
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.data.cell_crops import CellCrops
from edgehemo_export.data.sets import chula_disease, read_set
from edgehemo_export.data.sets.own import own_alone
from edgehemo_export.data.sets.picture import SetPicture
from edgehemo_export.data.splits import Part, model_split
from edgehemo_export.evaluation.evaluation import Evaluation
from edgehemo_export.models.classifiers.checkpoint import (
    as_learnt,
    classes_of,
    classifier_net,
    stored_config,
    stored_familiarity,
    stored_rule,
)
from edgehemo_export.models.classifiers.conformal import named
from edgehemo_export.models.classifiers.evaluation import (
    evaluated,
    measure,
    stored_confusion,
)
from edgehemo_export.models.classifiers.morphology.by_outline import outline_metrics
from edgehemo_export.models.classifiers.morphology.data import (
    SOURCE,
    cells_of_field,
    read_labelled_fields,
)
from edgehemo_export.models.classifiers.morphology.drawn_cells import drawn_cells
from edgehemo_export.models.classifiers.morphology.isolated_cells import (
    IsolatedCells,
    isolated_cells,
)
from edgehemo_export.models.classifiers.morphology.specification import SPEC
from edgehemo_export.models.classifiers.predictions import Predicted, answers_of_net, predicted_by
from edgehemo_export.models.classifiers.run import with_drawn_alone
from edgehemo_export.models.classifiers.training import macro_f1
from edgehemo_export.nets.classifier_nets import ClassifierNet

# Macro F1 is also given over the types with at least this many kept-out cells.
ENOUGH_CELLS = 50
# Errors of the scale at which the kept-out cells are read again.
SCALE_ERRORS = (-0.08, -0.05, 0.05, 0.08)


def evaluate(checkpoint: Checkpoint, data: Path, part: Part) -> Evaluation:
    """Metrics at the microscope's own scale, with errors of the scale, and with the scale
    estimated field by field; what cells of sources without types are called, by their outline; and
    what is seen in fields of known diagnosis.

    Of a run that left such a source out its isolated cells alone are measured, those of all parts.
    """
    net = classifier_net(SPEC, checkpoint)
    config = stored_config(checkpoint)
    side = config.crop.side_px
    left_out = checkpoint.record.get("left_out")
    if left_out not in (None, SOURCE):
        left = isolated_cells(data, config.crop, None, lambda picture: picture.source == left_out)
        if not len(left):
            raise UsageError(f"the data root holds no isolated red cell of {left_out}")
        return Evaluation(_by_outline(net, checkpoint, left))
    every = as_learnt(SPEC, checkpoint).build(data, config, None)
    predicted, found = evaluated(SPEC, checkpoint, net, every, part)
    if own_alone(data):
        return found
    known = predicted.where(predicted.crops.sources == SOURCE)
    crops = known.crops
    metrics = [*found.metrics, *macro_metrics(known, SOURCE)]
    split = model_split(checkpoint.task, checkpoint.record)
    isolated = isolated_cells(
        data, config.crop, None, lambda p: split.part_of(p.group, p.key) == part
    )
    metrics += _by_outline(net, checkpoint, isolated)
    for error in SCALE_ERRORS:
        codes = misread_scale(crops.codes, 1.0 + error, side)
        wrong = predicted_by(net, dataclasses.replace(crops, codes=codes), side)
        metrics += _briefly(wrong, checkpoint, f"{SOURCE}, scale {error:+.0%}")
    estimated = _estimated_scale(net, checkpoint, data, part, crops)
    metrics += _briefly(estimated, checkpoint, f"{SOURCE}, scale from the red cells")
    tables = {**found.tables, "blocks": accuracy_by_block(predicted)}
    drawn_alone = checkpoint.record.get("drawn_alone", [])
    if drawn_alone:
        drawn = drawn_cells(isolated, every.part(part, split), None)
        standing = with_drawn_alone(_none_of(drawn), drawn, drawn_alone)
        if len(standing):
            tables["drawn_confusion"] = stored_confusion(
                predicted_by(net, standing, side),
                stored_rule(checkpoint),
                stored_familiarity(checkpoint),
            ).counts
    diagnosed = read_set(data, chula_disease.SOURCE)
    if diagnosed:
        tables["diagnoses"] = diagnosis_shares(net, checkpoint, diagnosed)
    return dataclasses.replace(found, metrics=metrics, tables=tables)


def _none_of(crops: CellCrops) -> CellCrops:
    return crops.where(np.zeros(len(crops), np.bool_))


def _by_outline(net: ClassifierNet, checkpoint: Checkpoint, cells: IsolatedCells) -> list[Metric]:
    """What isolated cells of sources without types are called, source by source."""
    side = stored_config(checkpoint).crop.side_px
    rule, familiarity = stored_rule(checkpoint), stored_familiarity(checkpoint)
    out: list[Metric] = []
    for source in sorted(set(cells.crops.sources.tolist())):
        own = cells.only(source)
        crops = own.crops.as_unlabelled(classes_of(SPEC, checkpoint))
        predicted = predicted_by(net, crops, side)
        out += outline_metrics(own, predicted, rule, familiarity, f"{source}, isolated cells")
    return out


def macro_metrics(predicted: Predicted, source: str) -> list[Metric]:
    """Macro F1 over the types with `ENOUGH_CELLS` kept-out cells; every cell takes part."""
    labels, names = predicted.labels, predicted.probabilities.argmax(axis=1)
    counts = np.bincount(labels, minlength=len(predicted.crops.classes))
    enough = counts >= ENOUGH_CELLS
    if not enough.any():
        return []

    value = f1_score(
        labels, names, labels=np.flatnonzero(enough), average="macro", zero_division=0.0
    )
    name = f"macro F1 of the {enough.sum()} types with {ENOUGH_CELLS} cells or more"
    return [Metric(name=name, source=source, value=float(value), images=int(counts[enough].sum()))]


def misread_scale(codes: NDArray[np.uint8], factor: float, side: int) -> NDArray[np.uint8]:
    """Crops as they would look had the scale been read ``factor`` too large.

    codes: uint8 (n, s, s, 3). Returns uint8 (n, side, side, 3): cells ``factor`` times as wide.
    """
    stored = codes.shape[1]
    middle, own = (stored - 1) / 2, (side - 1) / 2
    matrix = np.array(
        [[1 / factor, 0, middle - own / factor], [0, 1 / factor, middle - own / factor]]
    )
    out = [
        cv2.warpAffine(
            crop,
            matrix,
            (side, side),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(CLEAR_FIELD_CODE,) * 3,
        )
        for crop in codes
    ]
    return np.asarray(out, np.uint8).reshape(-1, side, side, 3)


def accuracy_by_block(predicted: Predicted) -> list[dict[str, Any]]:
    """How good each kept-out block of fields is read, none of which was trained on."""
    right = predicted.probabilities.argmax(axis=1) == predicted.labels
    rows: list[dict[str, Any]] = []
    for group in sorted(set(predicted.crops.groups.tolist())):
        here = predicted.crops.groups == group
        common = np.bincount(
            predicted.labels[here], minlength=len(predicted.crops.classes)
        ).argmax()
        rows.append(
            {
                "block": group,
                "cells": int(here.sum()),
                "commonest": predicted.crops.classes[int(common)],
                "accuracy": float(right[here].mean()),
                "macro_F1": macro_f1(
                    predicted.labels[here],
                    predicted.probabilities[here].argmax(axis=1).astype(np.intp),
                    len(predicted.crops.classes),
                ),
            }
        )
    return rows


def diagnosis_shares(
    net: ClassifierNet, checkpoint: Checkpoint, pictures: Sequence[SetPicture]
) -> list[dict[str, Any]]:
    """Corrected shares of the types in fields of each diagnosis, cells found by the shipped finder.

    The cells bear no labels: this shows only whether the types that make a diagnosis stand out.
    """
    config, rule = stored_config(checkpoint).crop, stored_rule(checkpoint)
    classes, familiarity = classes_of(SPEC, checkpoint), stored_familiarity(checkpoint)
    finder = open_cell_finder(load_bundle(), threads=1)
    confusion = Confusion.model_validate(checkpoint.record["tune_confusion"])
    rows: list[dict[str, Any]] = []
    for diagnosis in sorted({picture.labels.class_name or "" for picture in pictures}):
        names = np.zeros(len(classes) + 1, np.int64)
        likeliest = np.zeros(len(classes), np.int64)
        paths = [p.path for p in pictures if p.labels.class_name == diagnosis]
        for path in paths:
            frame = read_frame(path)
            field = canonical_field(frame, um_per_px=chula_disease.WIDTH_UM / frame.width)
            across, down = field.frame_px_per_canonical_px
            centres = np.array(
                [c.centre for c in finder.find(field).of_kind("rbc")], np.float32
            ).reshape(-1, 2) / np.array([across, down], np.float32)
            if not len(centres):
                continue
            crops = crops_at(
                field.to_uint8(),
                centres.astype(np.float32),
                config.side_px,
                field_px_per_crop_px=config.um_per_px / CANONICAL_UM_PER_PX,
            )
            answers = answers_of_net(net, crops)
            p = answers[:, : len(classes)]
            own = None if familiarity is None else answers[:, -1]
            np.add.at(names, named(p, classes, rule, own, familiarity), 1)
            np.add.at(likeliest, p.argmax(axis=1), 1)
        shares = type_shares(names, classes, confusion)
        rows.append(
            {
                "diagnosis": diagnosis,
                "fields": len(paths),
                "cells": int(names.sum()),
                "likeliest": likeliest.tolist(),
                "shares": None
                if shares is None
                else [dataclasses.asdict(share.rounded()) for share in shares],
            }
        )
    return rows


def _briefly(predicted: Predicted, checkpoint: Checkpoint, source: str) -> list[Metric]:
    wanted = ("accuracy", "macro F1", "named (not uncertain)", "accuracy of the named")
    rule, familiarity = stored_rule(checkpoint), stored_familiarity(checkpoint)
    every = measure(predicted, rule, source, familiarity=familiarity, rounds=0)
    return [metric for metric in every if metric.name in wanted] + macro_metrics(predicted, source)


def _estimated_scale(
    net: ClassifierNet, checkpoint: Checkpoint, data: Path, part: Part, crops: CellCrops
) -> Predicted:
    """The kept-out cells with each field's scale from its own red cells, as without a profile."""
    options = stored_config(checkpoint).crop
    split = model_split(checkpoint.task, checkpoint.record)
    fields = split.select(read_labelled_fields(data), part)
    codes = np.concatenate(
        [cells_of_field(f.path, f.centres, options, um_per_px=None) for f in fields]
    )
    again = dataclasses.replace(crops, codes=codes)
    return predicted_by(net, again, options.side_px)
