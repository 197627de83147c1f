"""The study's drawings: the paper's own (panels, curves, confusion, bars), and what it lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

from edgehemo_export.evaluation.explanations import OVERLAY_SHARE
from edgehemo_export.studies.figures import COLOURS, axes_of, new_figure
from edgehemo_export.studies.remya.cohorts import CLASSES
from edgehemo_export.studies.remya.measures import THRESHOLD, roc_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from edgehemo_export.studies.remya.protocol import Epoch
    from edgehemo_export.studies.remya.results import Answers

# Colours of the classes, everywhere.
CLASS_COLOURS = (COLOURS[0], COLOURS[1])
# Side of a picture in a panel, inches, and px it is drawn from: no panel needs all of them.
CELL_IN, CELL_PX = 0.98, 112


def counts_figure(rows: Sequence[tuple[str, tuple[int, int]]], title: str) -> Figure:
    """Pictures of either class by step (found, screened, training, ...)."""
    figure = new_figure(6.0, 2.8)
    axes = axes_of(figure)[0, 0]
    places = np.arange(len(rows))
    for label, name in enumerate(CLASSES):
        values = [counts[label] for _, counts in rows]
        bars = axes.bar(places + (label - 0.5) * 0.4, values, 0.4, color=CLASS_COLOURS[label])
        axes.bar_label(bars, fontsize=7)
        bars.set_label(name)
    axes.set_xticks(places, [name for name, _ in rows])
    axes.set(ylabel="pictures", title=title)
    axes.legend(fontsize=7.5)
    return figure


def samples_figure(
    rows: Sequence[tuple[str, NDArray[np.uint8]]], columns: int, title: str
) -> Figure:
    """A row of pictures uint8 (n, h, w, 3) a name, at most so many."""
    figure = new_figure(1.2 + CELL_IN * columns, 0.4 + 1.02 * len(rows))
    places = axes_of(figure, len(rows), columns)
    for row, (name, pictures) in enumerate(rows):
        for column in range(columns):
            axes = places[row, column]
            _bare(axes)
            if column < len(pictures):
                axes.imshow(_small(pictures[column]))
        places[row, 0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=7.5)
    figure.suptitle(title, fontsize=9.5, fontweight="bold")
    return figure


def learning_figure(curves: Mapping[str, Sequence[Epoch]], best: Mapping[str, int]) -> Figure:
    """Loss and accuracy of training and validation by epoch; a ring where a run was kept."""
    figure = new_figure(7.0, 3.0)
    loss, accuracy = axes_of(figure, 1, 2)[0]
    for index, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[index % len(COLOURS)]
        x = np.arange(1, len(curve) + 1)
        for axes, train, validate in (
            (loss, [e.train_loss for e in curve], [e.validate_loss for e in curve]),
            (accuracy, [e.train_accuracy for e in curve], [e.validate_accuracy for e in curve]),
        ):
            axes.plot(x, train, color=colour, linewidth=1, linestyle=(0, (3, 2)))
            axes.plot(x, validate, color=colour, linewidth=1.5, label=name)
            kept = best[name]
            axes.plot([kept], [validate[kept - 1]], "o", color=colour, fillstyle="none")
    loss.set(xlabel="epoch", ylabel="loss", title="Loss")
    accuracy.set(xlabel="epoch", ylabel="accuracy", title="Accuracy", ylim=(0, 1.03))
    accuracy.plot([], [], color="0.4", linestyle=(0, (3, 2)), label="training (augmented)")
    accuracy.legend(fontsize=7, loc="lower right")
    return figure


def roc_figure(answers: Mapping[str, Answers], title: str) -> Figure:
    """Receiver operating characteristics by name; those with one class are left out."""
    figure = new_figure(3.8, 3.6)
    axes = axes_of(figure)[0, 0]
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, linestyle=(0, (4, 3)))
    for name, own in answers.items():
        if own.both:
            axes.plot(*roc_points(own.truth, own.scores), label=name, linewidth=1.4)
    axes.set(
        xlabel="1 - specificity",
        ylabel="sensitivity",
        title=title,
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
    )
    axes.legend(fontsize=7, loc="lower right")
    return figure


def bars_figure(
    values: Mapping[str, tuple[float, float | None, float | None]], title: str
) -> Figure:
    """The paper's bar chart of measures, with the intervals that it lacks."""
    figure = new_figure(6.2, 3.0)
    axes = axes_of(figure)[0, 0]
    places = np.arange(len(values))
    heights = [value for value, _, _ in values.values()]
    axes.bar(places, heights, 0.6, color=COLOURS[5])
    for place, (value, low, high) in zip(places, values.values(), strict=True):
        if low is not None and high is not None:
            axes.plot([place, place], [low, high], color="0.2", linewidth=1.4)
        axes.text(place, 0.03, f"{value:.2f}", ha="center", fontsize=7.5)
    axes.axhline(0, color="0.6", linewidth=0.8)
    axes.set_xticks(places, list(values), rotation=25, ha="right")
    axes.set(title=title, ylim=(min(0.0, *(h for h in heights if h == h)) - 0.05, 1.05))
    return figure


def answered_figure(
    pictures: NDArray[np.uint8], answers: Answers, title: str, columns: int = 6
) -> Figure:
    """Pictures with what they are and what they were called; a red frame where that is wrong."""
    rows = -(-len(pictures) // columns)
    figure = new_figure(0.2 + 1.18 * columns, 0.4 + 1.42 * rows)
    places = axes_of(figure, rows, columns).ravel()
    for place, axes in enumerate(places):
        _bare(axes)
        if place >= len(pictures):
            axes.set_visible(False)
            continue
        truth, score = int(answers.truth[place]), float(answers.scores[place])
        called = int(score >= THRESHOLD)
        axes.imshow(_small(pictures[place]))
        axes.set_title(
            f"GT {_short(truth)}\nPred. {_short(called)} {score:.2f}",
            fontsize=6.5,
            fontweight="normal",
            color="black" if called == truth else "#b00020",
        )
        if called != truth:
            for spine in axes.spines.values():
                spine.set(visible=True, edgecolor="#b00020", linewidth=2)
    figure.suptitle(title, fontsize=9.5, fontweight="bold")
    return figure


def heat_figure(
    pictures: NDArray[np.uint8], maps: Sequence[NDArray[np.float32]], names: Sequence[str]
) -> Figure:
    """Pictures above, below them what speaks for anaemia-like (Grad-CAM)."""
    columns = len(pictures)
    figure = new_figure(0.2 + 1.2 * columns, 2.9)
    places = axes_of(figure, 2, columns)
    colours = colormaps["inferno"]
    for column, (picture, heat, name) in enumerate(zip(pictures, maps, names, strict=True)):
        small = _small(picture)
        grown = cv2.resize(heat, small.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        laid = (1 - OVERLAY_SHARE) * small / 255 + OVERLAY_SHARE * colours(grown)[..., :3]
        for axes in places[:, column]:
            _bare(axes)
        places[0, column].imshow(small)
        places[0, column].set_title(name, fontsize=6.5, fontweight="normal")
        places[1, column].imshow(np.clip(laid, 0, 1))
    return figure


def plane_figure(
    plane: NDArray[np.float64], labels: NDArray[np.intp], parts: Mapping[str, NDArray[np.intp]]
) -> Figure:
    """Pictures in the plane of their features; held-out ones filled."""
    figure = new_figure(4.6, 3.4)
    axes = axes_of(figure)[0, 0]
    for label, name in enumerate(CLASSES):
        for part, marker, filled in (
            ("train", "o", False),
            ("validate", "s", False),
            ("test", "o", True),
        ):
            own = [place for place in parts[part] if labels[place] == label]
            axes.plot(
                plane[own, 0],
                plane[own, 1],
                marker,
                color=CLASS_COLOURS[label],
                markersize=4.5 if filled else 3.5,
                fillstyle="full" if filled else "none",
                label=f"{name}, {'held out' if part == 'test' else part}",
            )
    axes.set(
        xlabel="first component",
        ylabel="second component",
        title="What the last layer is handed",
    )
    axes.legend(fontsize=6.5)
    return figure


def grouped_bars_figure(
    groups: Mapping[str, Mapping[str, float]], title: str, *, y_label: str, chance: float
) -> Figure:
    """Bars by name in groups; a line at chance."""
    figure = new_figure(6.6, 3.1)
    axes = axes_of(figure)[0, 0]
    names = list(dict.fromkeys(name for own in groups.values() for name in own))
    width = 0.8 / max(1, len(names))
    for index, name in enumerate(names):
        places = [i + (index - (len(names) - 1) / 2) * width for i in range(len(groups))]
        values = [own.get(name, np.nan) for own in groups.values()]
        bars = axes.bar(places, values, width * 0.92, label=name, color=COLOURS[index])
        axes.bar_label(
            bars, [f"{v:.2f}" if np.isfinite(v) else "" for v in values], fontsize=6, padding=1
        )
    axes.axhline(chance, color="0.5", linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xticks(range(len(groups)), list(groups))
    axes.set(ylabel=y_label, title=title, ylim=(0, 1.12))
    axes.legend(fontsize=6.5, ncols=len(names), loc="lower center", framealpha=0.9, frameon=True)
    return figure


def _small(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if picture.shape[0] <= CELL_PX:
        return picture
    small = cv2.resize(picture, (CELL_PX, CELL_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _short(label: int) -> str:
    return CLASSES[label].removesuffix("-like")


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
