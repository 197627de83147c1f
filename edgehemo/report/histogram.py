"""Distribution of cell sizes, counted here and drawn as inline SVG by the template."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edgehemo.screening.field import FieldReading
from edgehemo.words.counted import counted

# Of fewer separate cells neither a spread nor a middle is shown.
MIN_SEPARATE_CELLS = 20
# Diameters shown, um; cells outside are counted into the outermost bar.
LOW_UM = 3.0
HIGH_UM = 12.0
BIN_UM = 0.5
# What Bain (Blood Cells) gives for the normal red cell on a dried smear.
NORMAL_LOW_UM = 6.0
NORMAL_HIGH_UM = 8.5

# The drawing, in the SVG's own units.
WIDTH = 560
HEIGHT = 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 10, 38


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its place in the drawing, and what the tooltip says."""

    x: float
    y: float
    width: float
    height: float
    label: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """Red-cell diameters: the summary in um and the drawing.

    spread: interquartile range over the median. ticks_x, ticks_y: (place, label). normal_x,
    normal_width: the band of normal diameters.
    """

    cells: int
    median_um: float
    low_quartile_um: float
    high_quartile_um: float
    spread: float
    bars: tuple[Bar, ...]
    ticks_x: tuple[tuple[float, str], ...]
    ticks_y: tuple[tuple[float, str], ...]
    normal_x: float
    normal_width: float
    median_x: float
    width: int = WIDTH
    height: int = HEIGHT
    base: int = HEIGHT - _BOTTOM
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP


def red_cell_diameters_um(reading: FieldReading) -> list[float]:
    """Diameters of the separate red cells of an accepted field, um: of circles of their area."""
    if reading.indices is None:
        return []
    return [math.sqrt(4 * area / math.pi) for area in reading.indices.single_cell_areas_um2]


def histogram(readings: Iterable[FieldReading]) -> Histogram | None:
    """The distribution over all accepted fields, None with too few separate red cells for one."""
    diameters = [d for reading in readings for d in red_cell_diameters_um(reading)]
    return drawn_histogram(diameters) if len(diameters) >= MIN_SEPARATE_CELLS else None


def drawn_histogram(diameters: Sequence[float]) -> Histogram:
    """The distribution of at least one diameter, um; what lies outside the axis is at its ends."""
    edges = np.arange(LOW_UM, HIGH_UM + BIN_UM / 2, BIN_UM)
    shown = np.clip(diameters, LOW_UM, HIGH_UM - 1e-6)
    counts, _ = np.histogram(shown, bins=edges)
    low, median, high = (float(v) for v in np.quantile(diameters, [0.25, 0.5, 0.75]))
    step = _round_step(int(counts.max()))
    top_count = step * int(np.ceil(counts.max() / step))
    plot_height = HEIGHT - _TOP - _BOTTOM

    def at_x(um: float) -> float:
        share = (min(max(um, LOW_UM), HIGH_UM) - LOW_UM) / (HIGH_UM - LOW_UM)
        return round(_LEFT + share * (WIDTH - _LEFT - _RIGHT), 2)

    def at_y(count: float) -> float:
        return round(HEIGHT - _BOTTOM - plot_height * count / top_count, 2)

    bars = tuple(
        Bar(
            x=at_x(float(edge)) + 0.75,
            y=at_y(int(count)),
            width=round(at_x(float(edge) + BIN_UM) - at_x(float(edge)) - 1.5, 2),
            height=round(HEIGHT - _BOTTOM - at_y(int(count)), 2),
            label=f"{edge:g} to {edge + BIN_UM:g} µm: {counted(int(count), 'cell')}",
        )
        for edge, count in zip(edges[:-1], counts, strict=True)
        if count
    )
    return Histogram(
        cells=len(diameters),
        median_um=median,
        low_quartile_um=low,
        high_quartile_um=high,
        spread=(high - low) / median if median else 0.0,
        bars=bars,
        ticks_x=tuple(
            (at_x(um), f"{um:g}") for um in np.arange(LOW_UM, HIGH_UM + 0.5, 1.0).tolist()
        ),
        ticks_y=tuple((at_y(c), str(c)) for c in range(0, top_count + 1, step)),
        normal_x=at_x(NORMAL_LOW_UM),
        normal_width=round(at_x(NORMAL_HIGH_UM) - at_x(NORMAL_LOW_UM), 2),
        median_x=at_x(median),
    )


def _round_step(highest: int) -> int:
    """A step of 1, 2 or 5 times a power of ten that gives two to five lines up to ``highest``."""
    power = 1
    while True:
        for factor in (1, 2, 5):
            if highest <= 4 * factor * power:
                return factor * power
        power *= 10
