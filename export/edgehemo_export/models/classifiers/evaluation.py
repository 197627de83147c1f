"""How good a cell classifier is: accuracy, F1, calibration, the conformal rule; and pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from edgehemo.bundle.manifest import ConformalRule, Confusion, Metric
from edgehemo.cells.cell import UNCERTAIN
from edgehemo.field.canonical import UINT8_PER_TRANSMITTANCE
from edgehemo.inference import Runner
from edgehemo_export.data.cell_crops import CellCrops
from edgehemo_export.evaluation.statistics import (
    EvaluationFigure,
    bootstrap_by_group,
    metric_of,
    wilson,
)
from edgehemo_export.nets.classifier_nets import ClassifierNet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BOOTSTRAP_ROUNDS = 500
# Equal-width bins of the expected calibration error (Guo et al. 2017).
CALIBRATION_BINS = 15
PREDICTION_BATCH = 64
# Crops on the sheet of predictions: drawn ones, then those most surely wrong.
DRAWN, WORST = 20, 20


def predict(runner: Runner, codes: NDArray[np.uint8], *, batch: int = 1) -> NDArray[np.float32]:
    """Probabilities of crops uint8 (n, s, s, 3) through any runner, float32 (n, classes)."""
    parts = [
        runner.run(np.ascontiguousarray(codes[i : i + batch])) for i in range(0, len(codes), batch)
    ]
    return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)


def predict_net(net: ClassifierNet, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities in fp32 by PyTorch, as the graph gives them, float32 (n, classes)."""
    net.eval()
    out: list[NDArray[np.float32]] = []
    with torch.inference_mode():
        for i in range(0, len(codes), PREDICTION_BATCH):
            answer = net(torch.from_numpy(codes[i : i + PREDICTION_BATCH]))
            out.append(np.asarray(answer.numpy(), np.float32))
    return np.concatenate(out)


def fit_temperature(
    net: ClassifierNet, codes: NDArray[np.uint8], labels: NDArray[np.intp]
) -> float:
    """Set the temperature that minimises the log loss of the graph's own answer; returns it.

    Temperature scaling (Guo et al. 2017), through the average over mirror images where the net
    has one. codes: uint8 (n, s, s, 3) of the tune part.
    """
    from scipy.optimize import minimize_scalar

    views = _view_logits(net, codes)
    rows = np.arange(len(labels))

    def cost(log_temperature: float) -> float:
        scaled = views / np.exp(log_temperature)
        scaled -= scaled.max(axis=2, keepdims=True)
        share = np.exp(scaled)
        share /= share.sum(axis=2, keepdims=True)
        return float(-np.log(np.maximum(share.mean(axis=0)[rows, labels], 1e-12)).mean())

    found = minimize_scalar(cost, bounds=(np.log(0.1), np.log(10.0)), method="bounded")
    temperature = float(np.exp(found.x))
    net.temperature.fill_(temperature)
    return temperature


def _view_logits(net: ClassifierNet, codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Logits of each mirror image the graph averages, float64 (views, n, classes)."""
    flips: list[tuple[int, ...]] = [(), (3,), (2,), (2, 3)][: net.config.flip_average]
    net.eval()
    out: list[list[NDArray[np.float64]]] = [[] for _ in flips]
    with torch.inference_mode():
        for i in range(0, len(codes), PREDICTION_BATCH):
            part = torch.from_numpy(codes[i : i + PREDICTION_BATCH]).permute(0, 3, 1, 2)
            light = part.to(torch.float32) / UINT8_PER_TRANSMITTANCE
            for store, flip in zip(out, flips, strict=True):
                answer = net.logits(light.flip(flip) if flip else light)
                store.append(np.asarray(answer.numpy(), np.float64))
    return np.stack([np.concatenate(store) for store in out])


def conformal_rule(
    probabilities: NDArray[np.float32],
    labels: NDArray[np.intp],
    classes: Sequence[str],
    coverage: float,
) -> ConformalRule:
    """Thresholds by split conformal prediction, class by class (Vovk et al. 2005, Mondrian).

    A class's threshold is the k-th smallest probability its own calibration cells gave it,
    k = floor((1 - coverage) (n + 1)): at least ``coverage`` of exchangeable cells of that class
    then reach it. A class of too few cells (k = 0) takes the threshold of all cells together.
    """
    alpha = 1.0 - coverage
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    pooled = _kth(true, alpha)
    thresholds: dict[str, float] = {}
    for index, name in enumerate(classes):
        own = _kth(true[labels == index], alpha)
        chosen = pooled if own is None else own
        thresholds[name] = 0.0 if chosen is None else float(np.clip(chosen, 0.0, 1.0))
    return ConformalRule(coverage=coverage, thresholds=thresholds, cells=len(labels))


def marginal_rule(
    probabilities: NDArray[np.float32],
    labels: NDArray[np.intp],
    classes: Sequence[str],
    coverage: float,
) -> ConformalRule:
    """One threshold for all classes by split conformal prediction (Vovk et al. 2005).

    The k-th smallest probability that a calibration cell gave its true class, k as in
    `conformal_rule`: at least ``coverage`` of exchangeable cells, over all classes, then reach it.
    """
    true = _kth(probabilities[np.arange(len(labels)), labels].astype(np.float64), 1.0 - coverage)
    threshold = 0.0 if true is None else float(np.clip(true, 0.0, 1.0))
    return ConformalRule(
        coverage=coverage, thresholds=dict.fromkeys(classes, threshold), cells=len(labels)
    )


def _kth(values: NDArray[np.float64], alpha: float) -> float | None:
    k = int(np.floor(alpha * (len(values) + 1) + 1e-9))
    return float(np.sort(values)[k - 1]) if k >= 1 else None


def prediction_sets(
    probabilities: NDArray[np.float32], classes: Sequence[str], rule: ConformalRule
) -> NDArray[np.bool_]:
    """Which classes belong to each cell's prediction set, bool (n, classes)."""
    limits = np.array([rule.thresholds[name] for name in classes], np.float64)
    return np.asarray(probabilities >= limits - 1e-7, np.bool_)


def named(
    probabilities: NDArray[np.float32], classes: Sequence[str], rule: ConformalRule
) -> NDArray[np.intp]:
    """The class each cell is named, intp (n,); ``len(classes)`` for `uncertain`."""
    inside = prediction_sets(probabilities, classes, rule)
    one = inside.sum(axis=1) == 1
    return np.where(one, inside.argmax(axis=1), len(classes)).astype(np.intp)


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


@dataclass(frozen=True)
class Predicted:
    """Crops with a classifier's answers: probabilities float32 (n, classes)."""

    crops: CellCrops
    probabilities: NDArray[np.float32]

    @property
    def labels(self) -> NDArray[np.intp]:
        return self.crops.labels

    def where(self, mask: NDArray[np.bool_]) -> Predicted:
        return Predicted(self.crops.where(mask), self.probabilities[mask])


def measure(
    predicted: Predicted,
    rule: ConformalRule | None,
    source: str,
    *,
    rounds: int = BOOTSTRAP_ROUNDS,
    seed: int = 0,
) -> list[Metric]:
    """Every figure of one source's cells, with 95 % intervals.

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
        names = named(p, classes, rule)
        certain = names < len(classes)
        out.append(share_metric("named (not uncertain)", source, certain))
        if certain.any():
            right = names[certain] == labels[certain]
            out.append(share_metric("accuracy of the named", source, right))
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


def stored_confusion(predicted: Predicted, rule: ConformalRule) -> Confusion:
    """The confusion of named cells as the bundle holds it: true classes, named or `uncertain`."""
    classes = predicted.crops.classes
    names = named(predicted.probabilities, classes, rule)
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


def reliability_picture(tables: Mapping[str, Sequence[Mapping[str, float]]]) -> bytes:
    """Reliability diagrams, one line a source, PNG."""
    figure = _figure(5.0, 4.6)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for source, rows in tables.items():
        x, y = [r["confidence"] for r in rows], [r["accuracy"] for r in rows]
        axes.plot(x, y, marker="o", markersize=4, label=source)
        axes.scatter(x, y, [4 + 60 * r["cells"] ** 0.5 / 40 for r in rows], alpha=0.4)
    axes.set(xlabel="highest probability", ylabel="share right", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.legend()
    return _png(figure)


def confusion_picture(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> bytes:
    """The confusion matrix with `uncertain` as its last column, PNG."""
    table = np.array(counts, float)
    side = 0.52 * len(classes) + 2.4
    figure = _figure(side, side)
    axes = figure.add_subplot()
    share = table / np.maximum(1, table.sum(axis=1, keepdims=True))
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(table > 0):
        dark = share[row, column] > 0.5
        axes.text(
            column,
            row,
            f"{int(table[row, column])}",
            ha="center",
            va="center",
            fontsize=7,
            color="white" if dark else "black",
        )
    columns = [*classes, UNCERTAIN][: table.shape[1]]
    axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=8)
    axes.set_yticks(range(len(classes)), classes, fontsize=8)
    axes.set(xlabel="named", ylabel="true")
    return _png(figure)


def predictions_picture(
    predicted: Predicted, side_px: int, *, seed: int = 0, drawn: int = DRAWN, worst: int = WORST
) -> bytes:
    """Drawn predictions, then the most surely wrong ones, each with its true and named class."""
    labels, p = predicted.labels, predicted.probabilities
    order = np.random.default_rng(seed).permutation(len(labels))[:drawn]
    surplus = p.max(axis=1) - p[np.arange(len(labels)), labels]
    wrong = np.argsort(-surplus, kind="stable")[:worst]
    wrong = wrong[surplus[wrong] > 0]
    chosen = np.concatenate([order, wrong])
    crops = predicted.crops.middle(side_px)
    columns = 10
    rows = -(-len(chosen) // columns)
    figure = _figure(columns * 1.35, rows * 1.75)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.ravel():
        axes.axis("off")
    classes = predicted.crops.classes
    for axes, index in zip(grid.ravel(), chosen, strict=False):
        picture = np.minimum(crops[index].astype(np.float32) * (255 / 210), 255).astype(np.uint8)
        axes.imshow(picture)
        best = int(p[index].argmax())
        true = int(labels[index])
        text = f"{classes[best]} {p[index, best]:.2f}"
        if best != true:
            text += f"\ntrue: {classes[true]}"
        axes.set_title(text, fontsize=5.5, color="black" if best == true else "firebrick")
    return _png(figure)


def _figure(width: float, height: float) -> Figure:
    # The Figure class alone: pyplot keeps state and picks a window system.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _png(figure: Figure) -> bytes:
    store = io.BytesIO()
    # No date inside: the same figures give the same file.
    figure.savefig(store, format="png", dpi=130, metadata={"Software": None})
    return store.getvalue()
