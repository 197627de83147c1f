"""What kiosks are compared by: one table. Limits are the smallest changes that matter, as the
device's own table of what is watched has them (`edgehemo.monitor.quantities`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["low", "high"]


@dataclass(frozen=True, slots=True)
class Compared:
    """One quantity of a kiosk. name: of `result_day`'s checks, or ``hgb``. change: the smallest
    that matters; relative: as a share of the fleet's value, else in the unit. low, high: what it
    means that a kiosk's is lower or higher, and what to do, None where that is no trouble.
    """

    name: str
    label: str
    unit: str
    decimals: int
    change: float
    relative: bool
    low: tuple[str, str] | None
    high: tuple[str, str] | None

    def written(self, value: float) -> str:
        return f"{value:.{self.decimals}f}{f' {self.unit}' if self.unit else ''}"

    def decimals_of(self, value: float) -> str:
        """A value without its unit."""
        return f"{value:.{self.decimals}f}"

    def told(self, direction: Direction) -> tuple[str, str] | None:
        return self.low if direction == "low" else self.high


COMPARED: tuple[Compared, ...] = (
    Compared(
        "exposure", "light", "counts", 0, 0.05, True,
        ("its lamp fails, or is set too low",
         "clean lamp and condenser, set the light as the kiosk's start page says, change the lamp"),
        ("its lamp is set too bright", "set the light as the kiosk's start page says"),
    ),
    Compared(
        "evenness", "unevenness of the light", "", 3, 0.10, False,
        None,
        ("the light falls in from one side", "centre condenser and field stop; clean the lamp"),
    ),
    Compared(
        "focus", "sharpness", "per um", 2, 0.10, True,
        ("its pictures are less sharp",
         "clean objective and camera, look at oil and slide; show the operator how to focus"),
        None,
    ),
    Compared(
        "stain_density", "strength of the stain", "optical density", 3, 0.08, True,
        ("its smears are stained weakly: haemoglobin reads low",
         "look at stain, buffer and times there; check the control slide"),
        ("its smears are stained strongly: haemoglobin reads high",
         "look at stain, buffer and times there; check the control slide"),
    ),
    Compared(
        "stain_colour", "colour of the stain", "ratio", 2, 0.10, True,
        ("its stain has another colour", "look at the stain's maker, age and buffer there"),
        ("its stain has another colour", "look at the stain's maker, age and buffer there"),
    ),
    Compared(
        "crowding", "cells' cover of a field", "", 2, 0.25, True,
        ("its smears are thin", "show the operator how to spread a drop"),
        ("its smears are thick", "show the operator how to spread a drop"),
    ),
    Compared(
        "envelope", "distance from the fields the models learnt from", "", 2, 0.25, True,
        None,
        ("its fields are unlike those that the models learnt from",
         "look at some of its pictures; ask whoever made the bundle"),
    ),
    Compared(
        "hgb", "haemoglobin of the results", "g/L", 0, 8.0, False,
        ("its people's haemoglobin is lower, or it reads too low",
         "compare some samples with an analyser; look at its control slide and stain"),
        ("its people's haemoglobin is higher, or it reads too high",
         "compare some samples with an analyser; look at its control slide and stain"),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ComparedShare:
    """A share. fewest: that must be counted of a kiosk. change: the smallest that matters. meaning,
    action: of a kiosk whose share is higher; site_meaning: of a site.
    """

    name: str
    label: str
    fewest: int
    change: float
    meaning: str
    site_meaning: str
    action: str


SHARES: tuple[ComparedShare, ...] = (
    ComparedShare(
        "withheld", "samples without a result", 30, 0.10,
        "more of its samples must be taken again",
        "more samples of this site must be taken again",
        "look at why they are withheld in the list of its results; visit it",
    ),
    ComparedShare(
        "refused", "fields refused", 200, 0.10,
        "more of its fields cannot be used: each sample takes longer",
        "more fields of this site cannot be used: its smears, stain or training differ",
        "look at the codes of its results; show how to spread, stain and focus",
    ),
)  # fmt: skip

# Red cells of a kiosk that must be seen, by how much a type's share must be off, and what it means.
FEWEST_CELLS = 2000
TYPE_CHANGE = 0.10
TYPE_TOLD = (
    "its people differ, or the model sees its pictures differently",
    "review cells of some of its results; compare stain and sharpness with other kiosks'",
)
