"""Which types of red cells an outline allows: what a network says against the outline is not named.

A long cell is neither `normal` nor a spherocyte, whatever its stain reminds a network of. The
limits hold at least 99 % of the labelled, single cells of each type (Chula RBC-12, training part).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgehemo.cells.outline import Outline


@dataclass(frozen=True, slots=True)
class ShapeLimits:
    """Of one type: elongation from and to, and how wide its sharper and blunter tip may be."""

    elongation_from: float = 1.0
    elongation_to: float = 6.0
    sharper_tip_to: float = 1.0
    blunter_tip_to: float = 1.0

    def allow(self, outline: Outline) -> bool:
        sharper, blunter = outline.tips
        return (
            self.elongation_from <= outline.elongation <= self.elongation_to
            and sharper <= self.sharper_tip_to
            and blunter <= self.blunter_tip_to
        )


_ROUND = ShapeLimits(elongation_to=1.5)
# A type that is not named here has any shape.
LIMITS: Mapping[str, ShapeLimits] = {
    "normal": _ROUND,
    "macrocyte": _ROUND,
    "microcyte": _ROUND,
    "spherocyte": _ROUND,
    "target_cell": _ROUND,
    "stomatocyte": _ROUND,
    "hypochromia": ShapeLimits(elongation_to=1.6),
    "burr_cell": ShapeLimits(elongation_to=1.7),
    "ovalocyte": ShapeLimits(elongation_from=1.1, elongation_to=2.6),
    "elliptocyte": ShapeLimits(elongation_from=1.35),
    "teardrop": ShapeLimits(elongation_from=1.05, sharper_tip_to=0.6),
    # Pointed at both ends: of labelled elliptocytes none is, of ovalocytes one in sixty.
    "sickle_cell": ShapeLimits(elongation_from=1.5, sharper_tip_to=0.65, blunter_tip_to=0.8),
}


def allows(type_: str, outline: Outline | None) -> bool:
    """Whether a cell of this outline may be of that type; without an outline nothing is known."""
    limits = LIMITS.get(type_)
    return outline is None or limits is None or limits.allow(outline)
