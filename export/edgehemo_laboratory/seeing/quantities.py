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
