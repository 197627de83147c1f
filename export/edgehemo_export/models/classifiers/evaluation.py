"""How good a cell classifier is: accuracy, F1, calibration, the conformal rule; and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import ConformalRule, Confusion, FamiliarityRule, Metric
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.data.cell_crops import CellCrops
from edgehemo_export.data.splits import Part
from edgehemo_export.evaluation.evaluation import Evaluation
from edgehemo_export.evaluation.statistics import (
    EvaluationFigure,
    bootstrap_by_group,
    metric_of,
    wilson,
)
from edgehemo_export.models.classifiers.checkpoint import (
    as_learnt,
    kept_out,
    stored_config,
    stored_familiarity,
    stored_rule,
)
from edgehemo_export.models.classifiers.conformal import named, prediction_sets
from edgehemo_export.models.classifiers.pictures import (
    confusion_picture,
    predictions_picture,
    reliability_picture,
)
from edgehemo_export.models.classifiers.predictions import Predicted, predicted_by
from edgehemo_export.models.classifiers.specification import ClassifierSpec, FalseAlarms
from edgehemo_export.nets.classifier_nets import ClassifierNet

BOOTSTRAP_ROUNDS = 500
# Equal-width bins of the expected calibration error (Guo et al. 2017).
CALIBRATION_BINS = 15


def confusion(labels: NDArray[np.intp], names: NDArray[np.intp], classes: int) -> list[list[int]]:
    """counts[true][named], with `uncertain` as the last column."""
    table = np.zeros((classes, classes + 1), np.int64)
    np.add.at(table, (labels, names), 1)
    return [[int(v) for v in row] for row in table]


def expected_calibration_error(
    probabilities: NDArray[np.float32], labels: NDArray[np.intp]
) -> float:
    """Mean gap between the highest probability and how often it is right, over equal-width bins."""
    rows = reliability_table(probabilities, labels)
    gaps = [abs(row["accuracy"] - row["confidence"]) * row["cells"] for row in rows]
    return float(sum(gaps) / max(1, len(labels)))


def measure(
    predicted: Predicted,
    rule: ConformalRule | None,
    source: str,
    *,
    familiarity: FamiliarityRule | None = None,
    alarms: FalseAlarms | None = None,
    rounds: int = BOOTSTRAP_ROUNDS,
    seed: int = 0,
) -> list[Metric]:
    """Every figure of one source's cells, with 95 % intervals.

    familiarity: what it does not know is not named. alarms: what a healthy cell must not be named.

    Shares (accuracy, coverage, ...) with Wilson's interval; macro F1 and the classes' F1 with a
    bootstrap over groups (slides or blocks), so that cells of one smear count as one draw.
    """
    labels, p = predicted.labels, predicted.probabilities
    classes = predicted.crops.classes
    n = len(labels)
    top = p.argmax(axis=1)
    out = [share_metric("accuracy", source, top == labels)]
    present = sorted(set(labels.tolist()))

    def scores(chosen: NDArray[np.intp]) -> dict[str, float]:
        values = _f1_scores(labels[chosen], top[chosen], present)
        found = {f"F1 {classes[k]}": float(v) for k, v in zip(present, values, strict=True)}
        return {"macro F1": float(values.mean()), **found}

    sizes = {f"F1 {classes[k]}": int((labels == k).sum()) for k in present}
    if rounds:
        intervals = bootstrap_by_group(
            predicted.crops.groups.tolist(), scores, rounds=rounds, seed=seed
        )
    else:
        whole = scores(np.arange(n, dtype=np.intp))
        intervals = {
            name: EvaluationFigure(value, None, None, "none") for name, value in whole.items()
        }
    for name, interval in intervals.items():
        out.append(metric_of(interval, name, source, sizes.get(name, n)))
    out.append(
        Metric(
            name="expected calibration error",
            source=source,
            value=expected_calibration_error(p, labels),
            images=n,
        )
    )
    if rule is not None:
        inside = prediction_sets(p, classes, rule)
        out.append(share_metric("true class in the set", source, inside[np.arange(n), labels]))
        known = predicted.known(familiarity)
        if known is not None:
            out.append(share_metric("like what was learnt from", source, known))
        names = named(p, classes, rule, predicted.familiarity, familiarity)
        certain = names < len(classes)
        out.append(share_metric("named (not uncertain)", source, certain))
        if certain.any():
            right = names[certain] == labels[certain]
            out.append(share_metric("accuracy of the named", source, right))
        if alarms is not None:
            healthy = np.isin(labels, [classes.index(name) for name in alarms.healthy])
            alarming = np.isin(names[healthy], [classes.index(name) for name in alarms.named])
            if healthy.any():
                out.append(share_metric(alarms.says, source, alarming))
    return out


def share_metric(name: str, source: str, hits: NDArray[np.bool_]) -> Metric:
    """A share with Wilson's 95 % interval."""
    n, k = len(hits), int(np.count_nonzero(hits))
    if n == 0:
        return Metric(name=name, source=source, value=0.0, images=0)
    found = wilson(k, n)
    return Metric(
        name=name, source=source, value=found.value, low=found.low, high=found.high, images=n
    )


def _f1_scores(
    labels: NDArray[np.intp], names: NDArray[np.intp], present: Sequence[int]
) -> NDArray[np.float64]:
    """F1 of each class in ``present``, float64; 0 where a class was neither true nor named."""
    out = np.zeros(len(present))
    for column, index in enumerate(present):
        right = np.count_nonzero((labels == index) & (names == index))
        either = np.count_nonzero(labels == index) + np.count_nonzero(names == index)
        out[column] = 2 * right / either if either else 0.0
    return out


def stored_confusion(
    predicted: Predicted, rule: ConformalRule, familiarity: FamiliarityRule | None = None
) -> Confusion:
    """The confusion of named cells as the bundle holds it: true classes, named or `uncertain`."""
    classes = predicted.crops.classes
    names = named(predicted.probabilities, classes, rule, predicted.familiarity, familiarity)
    return Confusion(counts=confusion(predicted.labels, names, len(classes)))


def reliability_table(
    probabilities: NDArray[np.float32], labels: NDArray[np.intp]
) -> list[dict[str, float]]:
    """Per bin of the highest probability: its mean, how often it was right, how many cells."""
    top = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bins = np.minimum((top * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    return [
        {
            "confidence": float(top[bins == b].mean()),
            "accuracy": float(right[bins == b].mean()),
            "cells": float((bins == b).sum()),
        }
        for b in range(CALIBRATION_BINS)
        if (bins == b).any()
    ]


def evaluated(
    spec: ClassifierSpec, checkpoint: Checkpoint, net: ClassifierNet, crops: CellCrops, part: Part
) -> tuple[Predicted, Evaluation]:
    """A part's crops as a classifier names them, and what every classifier tells of them: metrics
    by source and over all, confusion matrices, reliability, drawn predictions.

    crops: of every part. Of a run that left a source out, that source alone is measured.
    """
    spec = as_learnt(spec, checkpoint)
    classes = spec.classes
    crops = crops.among(classes)
    rule, familiarity = stored_rule(checkpoint), stored_familiarity(checkpoint)
    side = stored_config(checkpoint).crop.side_px
    chosen = kept_out(checkpoint, crops, part)
    predicted = predicted_by(net, chosen, side)
    metrics: list[Metric] = []
    tables: dict[str, Any] = {"classes": list(classes), "confusion": {}, "reliability": {}}
    reliability: dict[str, list[dict[str, float]]] = {}
    sources = sorted(set(predicted.crops.sources.tolist()))
    for source in [*sources, *(["all"] if len(sources) > 1 else [])]:
        here = predicted if source == "all" else predicted.where(predicted.crops.sources == source)
        metrics += measure(here, rule, source, familiarity=familiarity, alarms=spec.false_alarms)
        tables["confusion"][source] = stored_confusion(here, rule, familiarity).counts
        reliability[source] = reliability_table(here.probabilities, here.labels)
    tables["reliability"] = reliability
    whole = "all" if len(sources) > 1 else sources[0]
    pictures = {
        "reliability": reliability_picture({whole: reliability[whole]}),
        "confusion": confusion_picture(tables["confusion"][whole], classes),
    }
    sheets = {"predictions": predictions_picture(predicted, side)}
    return predicted, Evaluation(metrics, tables, pictures, sheets)
