"""What is watched: one table. Each quantity is a number a result; a point is the mean of a day's.

``change`` is what matters, whatever the charts can tell apart: a device that measures steadily sees
a change of 1 %, and nobody need come for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgehemo.guidance.codes import DriftCode


@dataclass(frozen=True, slots=True)
class Quantity:
    """One thing that is watched.

    of: SQL of one result's value, NULL where it has none (the tables are those of
    `edgehemo.monitor.series.TABLES`). change: the smallest that is a finding; relative: as a
    share of the baseline's mean, else in the unit. least_sd: the same of the standard deviation
    between days, so that a few lucky days of a baseline do not make a hair-trigger. up, down: the
    code of a finding that way, None where it is no trouble. why: where ``change`` is from. share:
    shown as percent. yes_or_no: of a result 0 or 1.
    """

    name: str
    label: str
    unit: str
    decimals: int
    of: str
    change: float
    relative: bool
    least_sd: float
    up: DriftCode | None
    down: DriftCode | None
    why: str
    share: bool = False
    yes_or_no: bool = False

    def written(self, value: float) -> str:
        """A value with its unit; a share as percent."""
        if self.share:
            return f"{100 * value:.{self.decimals}f} %"
        return f"{value:.{self.decimals}f}{f' {self.unit}' if self.unit else ''}"

    def interval(self, value: float, low: float, high: float) -> str:
        """A value with its interval, the unit once; a share as percent, between none and all."""
        if self.share:
            value, low, high = (100 * min(1.0, max(0.0, part)) for part in (value, low, high))
        numbers = [f"{part:.{self.decimals}f}" for part in (value, low, high)]
        unit = "%" if self.share else self.unit
        return f"{numbers[0]} ({numbers[1]} to {numbers[2]}){f' {unit}' if unit else ''}"

    def size(self, change: float) -> str:
        """How large a change is, without its sign: relative ones and shares as percent."""
        if self.relative:
            return f"{100 * abs(change):.0f} %"
        if self.share:
            return f"{100 * abs(change):.0f} points"
        return f"{abs(change):.{self.decimals}f}{f' {self.unit}' if self.unit else ''}"


_NOT_WITHDRAWN = "CASE WHEN l.state != 'withdrawn' THEN {value} END"

QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        "brightness", "light of the background", "counts", 1, "m.background_green",
        0.05, True, 0.003, "LIGHT_BRIGHTER", "LIGHT_FADED",
        "a few times what the lamp of a warm microscope moves in a day",
    ),
    Quantity(
        "red_of_light", "red of the light", "of green", 3,
        "m.background_red / nullif(m.background_green, 0)",
        0.04, True, 0.003, "LIGHT_COLOUR_CHANGED", "LIGHT_COLOUR_CHANGED",
        "cells look differently stained from about there on",
    ),
    Quantity(
        "blue_of_light", "blue of the light", "of green", 3,
        "m.background_blue / nullif(m.background_green, 0)",
        0.04, True, 0.003, "LIGHT_COLOUR_CHANGED", "LIGHT_COLOUR_CHANGED",
        "cells look differently stained from about there on",
    ),
    Quantity(
        "stain", "strength of the stain", "optical density", 3, "m.cell_od_green",
        0.08, True, 0.01, "STAIN_CHANGED", "STAIN_CHANGED",
        "haemoglobin stands on this density: 8 % of 120 g/L are 10 g/L",
    ),
    Quantity(
        "hue_of_stain", "colour of the stain", "blue of green density", 3,
        "m.cell_od_blue / nullif(m.cell_od_green, 0)",
        0.10, True, 0.01, "STAIN_HUE_CHANGED", "STAIN_HUE_CHANGED",
        "beyond it stains of two makers differ less",
    ),
    Quantity(
        "focus", "sharpness", "per um", 3, "m.focus",
        0.10, True, 0.01, None, "FOCUS_WORN",
        "a blur of a tenth more is where the cells' outlines begin to be refused",
    ),
    Quantity(
        "cells_a_field", "red cells a field", "cells", 0, "m.red_cells_a_field",
        0.25, True, 0.03, "SMEARS_THICKER", "SMEARS_THINNER",
        "smears of one hand differ by less from week to week",
    ),
    Quantity(
        "refused", "fields refused", "", 0,
        "(m.readable - r.accepted) * 1.0 / nullif(m.readable, 0)",
        0.10, False, 0.02, "REFUSALS_MORE", None,
        "one field in ten more costs a minute a sample", share=True,
    ),
    Quantity(
        "withheld", "samples without a result", "", 0, "r.outcome = 'withheld'",
        0.10, False, 0.02, "WITHHELD_MORE", None,
        "one sample in ten more must be taken again", share=True, yes_or_no=True,
    ),
    Quantity(
        "hgb", "haemoglobin of the results", "g/L", 0,
        _NOT_WITHDRAWN.format(value="r.hgb_g_per_l"),
        8.0, False, 1.0, "RESULTS_SHIFTED", "RESULTS_SHIFTED",
        "twice the 4 % that a laboratory's haemoglobin may be wrong (CLIA 2025)",
    ),
    Quantity(
        "unsure_red", "red cells without a sure type", "", 0,
        "m.red_cells_uncertain * 1.0 / nullif(m.red_cells_named + m.red_cells_uncertain, 0)",
        0.10, False, 0.02, "NAMES_UNSURE_MORE", None,
        "one cell in ten more for a person to look at", share=True,
    ),
    Quantity(
        "unsure_white", "white cells without a sure type", "", 0,
        "m.white_cells_uncertain * 1.0 / nullif(m.white_cells_named + m.white_cells_uncertain, 0)",
        0.15, False, 0.03, "NAMES_UNSURE_MORE", None,
        "a sample has few white cells: less is chance", share=True,
    ),
    Quantity(
        "unlikeness", "distance from the fields the models learnt from", "", 2, "m.unlikeness",
        0.25, True, 0.02, "FIELDS_UNFAMILIAR", None,
        "the limit of refusal lies one and a half times as far as that of warning",
    ),
    Quantity(
        "overridden", "grades that a person changed", "", 0,
        _NOT_WITHDRAWN.format(value="(v.amendments ->> '$.override') IS NOT NULL"),
        0.05, False, 0.02, "OVERRIDES_MORE", None,
        "one grade in twenty more", share=True, yes_or_no=True,
    ),
    Quantity(
        "against_analyser", "haemoglobin less the analyser's", "g/L", 1,
        _NOT_WITHDRAWN.format(value="r.hgb_g_per_l - p.value"),
        5.0, False, 1.0, "ANALYSER_DISAGREES", "ANALYSER_DISAGREES",
        "what a laboratory's haemoglobin below 100 g/L may be wrong (RCPA)",
    ),
)  # fmt: skip
QUANTITY: Mapping[str, Quantity] = {item.name: item for item in QUANTITIES}
