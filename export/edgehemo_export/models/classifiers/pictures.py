"""Pictures of how a classifier answers: reliability, confusion, drawn predictions."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from edgehemo.cells.cell import UNCERTAIN
from edgehemo_export.models.classifiers.predictions import Predicted

# Crops on the sheet of predictions: drawn ones, then those most surely wrong.
DRAWN, WORST = 20, 20


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
    return Figure(figsize=(width, height), layout="constrained")


def _png(figure: Figure) -> bytes:
    store = io.BytesIO()
    # No date inside: the same figures give the same file.
    figure.savefig(store, format="png", dpi=130, metadata={"Software": None})
    return store.getvalue()
