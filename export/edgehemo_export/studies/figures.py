"""Drawings that several studies need, and how every one is saved: the same bytes from the same
numbers.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.figure import Figure
from numpy.typing import NDArray

DPI = 140
# Okabe and Ito's colours, told apart by people who see fewer of them.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#555555")
# Keys are matplotlib's own, whose stub lists every one of them.
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.prop_cycle": cycler(color=COLOURS),
    "legend.frameon": False,
    # Letters as outlines: the drawing looks the same where the font is not installed.
    "svg.fonttype": "path",
}


def new_figure(width: float = 4.6, height: float = 3.3) -> Figure:
    """An empty drawing of so many inches, laid out by itself."""
    with mpl.rc_context(STYLE):
        return Figure(figsize=(width, height), layout="constrained")


def axes_of(figure: Figure, rows: int = 1, columns: int = 1) -> NDArray[np.object_]:
    """Axes in the studies' style, always as an array (rows, columns)."""
    with mpl.rc_context(STYLE):
        found: NDArray[np.object_] = figure.subplots(rows, columns, squeeze=False)
        return found


def png_and_svg(figure: Figure, name: str) -> tuple[bytes, bytes]:
    """A drawing as both, without a date, and with names inside that depend on ``name`` alone."""
    png, svg = io.BytesIO(), io.BytesIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        # Laid out once: each further time would move things by a hair.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return png.getvalue(), svg.getvalue()


def confusion_figure(
    counts: NDArray[np.int_], classes: Sequence[str], title: str, *, size: float = 3.1
) -> Figure:
    """Truth in rows, answers in columns; a cell's tint is its share of the row.

    counts: int (classes, classes); of several seeds together, their sum.
    """
    figure = new_figure(size, size)
    axes = axes_of(figure)[0, 0]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*counts.shape):
        dark = shares[row, column] > 0.55
        axes.text(
            column,
            row,
            str(int(counts[row, column])),
            ha="center",
            va="center",
            color="white" if dark else "black",
        )
    axes.set_xticks(range(len(classes)), classes, rotation=30, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="called", ylabel="is")
    axes.set_title(title, fontsize=8, wrap=True)
    return figure


def curves_figure(
    curves: Mapping[str, Sequence[float]],
    title: str,
    *,
    x_label: str,
    y_label: str,
    x: Mapping[str, Sequence[float]] | None = None,
    log_y: bool = False,
) -> Figure:
    """Lines by name over their own places ``x``, or over 1, 2, 3, ..."""
    figure = new_figure()
    axes = axes_of(figure)[0, 0]
    for name, values in curves.items():
        places = range(1, len(values) + 1) if x is None else x[name]
        axes.plot(places, values, label=name, linewidth=1.3)
    axes.set(xlabel=x_label, ylabel=y_label, title=title)
    if log_y:
        axes.set_yscale("log")
    if len(curves) > 1:
        axes.legend(fontsize=7.5)
    return figure


def intervals_figure(
    rows: Sequence[tuple[str, float, float | None, float | None]],
    title: str,
    *,
    x_label: str,
    x_range: tuple[float, float] | None = None,
    references: Mapping[str, float] | None = None,
    beside: Mapping[str, float] | None = None,
) -> Figure:
    """Figures with their bounds under one another, the first at the top.

    references: upright lines by name (chance). beside: a second mark in the row of a name: the
    paper's figure.
    """
    figure = new_figure(5.6, 1.1 + 0.27 * len(rows))
    axes = axes_of(figure)[0, 0]
    places = np.arange(len(rows))[::-1]
    for place, (name, value, low, high) in zip(places, rows, strict=True):
        if low is not None and high is not None:
            axes.plot([low, high], [place, place], color=COLOURS[0], linewidth=1.6)
        axes.plot([value], [place], "o", color=COLOURS[0], markersize=4.5)
        if beside is not None and name in beside:
            axes.plot(
                [beside[name]], [place], "D", color=COLOURS[1], markersize=4.5, fillstyle="none"
            )
    for index, (name, value) in enumerate((references or {}).items()):
        axes.axvline(value, color="0.6", linestyle=(0, (4, 3 + index)), linewidth=1, label=name)
    if beside:
        axes.plot([], [], "D", color=COLOURS[1], fillstyle="none", markersize=4.5, label="paper")
    if references or beside:
        axes.legend(fontsize=7.5, loc="best")
    axes.set_yticks(places, [row[0] for row in rows])
    axes.set(xlabel=x_label, title=title)
    if x_range is not None:
        axes.set_xlim(*x_range)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    return figure
