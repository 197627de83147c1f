"""The study's drawings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from edgehemo_export.studies.figures import COLOURS, axes_of, new_figure
from edgehemo_export.studies.lateef.data import WAYS, CellPicture, StudyData, picture_reader
from edgehemo_export.studies.lateef.findings import Findings, NetworkRun


def training_figure(runs: Sequence[NetworkRun], title: str) -> Figure:
    """Loss and accuracy over the epochs, every seed a line; dots: on the held-out pictures."""
    figure = new_figure(6.4, 2.7)
    left, right = axes_of(figure, 1, 2)[0]
    for index, run in enumerate(runs):
        colour = COLOURS[index % len(COLOURS)]
        epochs = np.arange(1, len(run.arrays["loss"]) + 1)
        left.plot(epochs, np.maximum(run.arrays["loss"], 1e-6), color=colour, linewidth=1.2)
        right.plot(epochs, run.arrays["accuracy"], color=colour, linewidth=1.2)
        seen = run.arrays["held_out"]
        right.plot(
            seen[:, 0],
            seen[:, 1],
            "o",
            color=colour,
            markersize=2.8,
            label=f"seed {run.seed}",
        )
    left.set_yscale("log")
    left.set(xlabel="epoch", ylabel="loss", title=title)
    right.set(xlabel="epoch", ylabel="accuracy", title="line: training, dots: held out")
    right.set_ylim(0.3, 1.02)
    right.legend(fontsize=7.5, loc="lower right")
    return figure


def ways_figure(
    rows: Sequence[tuple[str, Mapping[str, tuple[float, float | None, float | None]]]],
    chance: Mapping[str, float],
) -> Figure:
    """Accuracy of each method (a group) in each way of showing pictures (a bar)."""
    figure = new_figure(8.0, 3.8)
    axes = axes_of(figure)[0, 0]
    wide = 0.8 / len(WAYS)
    for number, way in enumerate(WAYS):
        for group, (_, values) in enumerate(rows):
            if way not in values:
                continue
            value, low, high = values[way]
            place = group + (number - (len(WAYS) - 1) / 2) * wide
            axes.bar(place, value, wide * 0.92, color=COLOURS[number], zorder=2)
            if low is not None and high is not None:
                axes.plot([place, place], [low, high], color="black", linewidth=0.9, zorder=3)
        axes.bar(0, 0, color=COLOURS[number], label=way)
    for index, (name, value) in enumerate(chance.items()):
        axes.axhline(value, color="0.5", linestyle=(0, (4, 2 + 2 * index)), linewidth=1, label=name)
    axes.set_xticks(range(len(rows)), [name for name, _ in rows], rotation=20, ha="right")
    axes.set(ylabel="accuracy", ylim=(0, 1.02), title="What each way of showing the pictures tells")
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def called_figure(
    rows: Sequence[tuple[str, NDArray[np.float64]]], classes: Sequence[str], title: str
) -> Figure:
    """What each further set is called, as shares of its pictures, a bar a set."""
    figure = new_figure(5.6, 1.0 + 0.26 * len(rows))
    axes = axes_of(figure)[0, 0]
    places = np.arange(len(rows))[::-1]
    before = np.zeros(len(rows))
    shares = np.stack([values for _, values in rows])
    for index, name in enumerate(classes):
        colour = COLOURS[index % len(COLOURS)]
        axes.barh(places, shares[:, index], left=before, color=colour, label=name)
        before += shares[:, index]
    axes.set_yticks(places, [name for name, _ in rows])
    axes.set(xlabel="share called", xlim=(0, 1), title=title)
    axes.legend(fontsize=7, ncols=len(classes), loc="upper center", bbox_to_anchor=(0.5, -0.18))
    return figure


def coverage_figure(
    curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> Figure:
    """Accuracy of the named pictures over the share that is named, a line a method."""
    figure = new_figure(4.4, 3.0)
    axes = axes_of(figure)[0, 0]
    for name, (named, right) in curves.items():
        axes.plot(named, right, linewidth=1.3, label=name)
    axes.set(xlabel="share of held-out cells named", ylabel="accuracy of these", xlim=(0.5, 1.0))
    axes.set_title("The surest are named first")
    axes.legend(fontsize=7, loc="lower left")
    return figure


def ways_sheet(found: Findings) -> Figure:
    """One picture of each class, and of some further sets, in the four ways."""
    config, data = found.configuration, found.data
    shown = _examples(data)
    figure = new_figure(0.95 * len(shown) + 1.1, 4.3)
    axes = axes_of(figure, len(WAYS), len(shown))
    for row, way in enumerate(WAYS):
        read = picture_reader(way, config.data.side_px, config.background, config.equal)
        for column, (name, picture) in enumerate(shown):
            place = axes[row, column]
            place.imshow(read(picture)[::3, ::3])
            place.set(xticks=[], yticks=[])
            for side in ("top", "right", "left", "bottom"):
                place.spines[side].set_visible(False)
            if row == 0:
                place.set_title(name.replace(" ", "\n", 1), fontsize=7, fontweight="normal")
            if column == 0:
                place.set_ylabel(way.replace(", ", ",\n"), fontsize=7)
    return figure


def _examples(data: StudyData) -> list[tuple[str, CellPicture]]:
    own = [(name, data.pictures[name][len(data.pictures[name]) // 2]) for name in data.classes]
    further = [
        (other.name, other.pictures[len(other.pictures) // 2])
        for other in data.others
        if other.answer is None
    ]
    return own + further
