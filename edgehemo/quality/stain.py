"""Does the blood have the colour and depth that a good stain gives it?

All colours are optical densities of the canonical field (background 0), so the lamp and the white
balance are out of them; the tint of the background itself is judged on its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgehemo.field.illumination import Illumination
from edgehemo.quality.check import Check
from edgehemo.quality.colour import is_colourless
from edgehemo.quality.regions import FieldRegions
from edgehemo.quality.verdicts import judged

if TYPE_CHECKING:
    from edgehemo.profile.parts import StainReference

# Fields of one slide differ by at least this much (optical density; log counts): a reference made
# from few, alike fields must not call every other field drifted.
_MIN_DENSITY_SD = 0.01
_MIN_BACKGROUND_SD = 0.02


def stain_checks(
    regions: FieldRegions, illumination: Illumination, reference: StainReference | None = None
) -> Sequence[Check]:
    """Density and colour of the red cells, tint of the background, drift against a reference."""
    density = regions.body_density()
    checks = [
        judged(
            "stain_density",
            None if density is None else density[1],
            low="STAIN_FAINT",
            high="STAIN_DARK",
        ),
        _colour_check(regions, density),
        judged(
            "background_colour",
            background_tint(illumination.background_rgb),
            high="BACKGROUND_COLOUR",
        ),
    ]
    if reference is not None:
        if density is not None:
            checks.append(
                judged("stain_drift", stain_drift(density, reference), high="STAIN_DRIFT")
            )
            checks.append(
                judged("stain_strength", stain_strength(density, reference), low="STAIN_DRIFT")
            )
        checks.append(
            judged(
                "light_drift",
                light_drift(illumination.background_rgb, reference),
                high="LIGHT_DRIFT",
            )
        )
    return checks


def _colour_check(regions: FieldRegions, density: tuple[float, float, float] | None) -> Check:
    """The red cells' colour; not asked of a picture that has none."""
    if is_colourless(regions):
        return Check("stain_colour", None, None, "pass")
    ratio = None if density is None else red_to_green(density)
    return judged("stain_colour", ratio, low="STAIN_COLOUR", high="STAIN_COLOUR")


def red_to_green(density: tuple[float, float, float]) -> float:
    """Optical density in red over that in green: haemoglobin and eosin absorb green, little red.

    About 0.2 to 0.8 in stained red cells; 1 is grey, above it blue-green.
    """
    return density[0] / max(density[1], 0.005)


def background_tint(background_rgb: tuple[float, float, float]) -> float:
    """Natural logarithm of the strongest over the weakest background channel; 0 is grey."""
    return math.log(max(max(background_rgb), 1.0) / max(min(background_rgb), 1.0))


def stain_drift(density: tuple[float, float, float], reference: StainReference) -> float:
    """Largest distance of a channel's density from the reference's, in its standard deviations.

    Wide on purpose: pale red cells are what anaemia looks like, and must not be refused for it.
    """
    return max(
        abs(value - mean) / max(sd, _MIN_DENSITY_SD)
        for value, mean, sd in zip(density, reference.cell_od, reference.cell_od_sd, strict=True)
    )


def stain_strength(density: tuple[float, float, float], reference: StainReference) -> float:
    """Density of the red cells in green, where haemoglobin absorbs, over the reference's.

    Anaemia alone does not fade cells to less than half: of severe iron deficiency they hold about
    15 pg of haemoglobin instead of 29 (MCH), and over a smaller area. What is paler has lost stain.
    """
    return density[1] / max(reference.cell_od[1], _MIN_DENSITY_SD)


def light_drift(background_rgb: tuple[float, float, float], reference: StainReference) -> float:
    """Largest distance of a background channel from the reference's, in its standard deviations.

    On log counts, so that the same relative change counts the same in a dark channel.
    """
    distances = []
    for value, mean, sd in zip(
        background_rgb, reference.background_rgb, reference.background_rgb_sd, strict=True
    ):
        relative_sd = max(sd / max(mean, 1.0), _MIN_BACKGROUND_SD)
        distances.append(abs(math.log(max(value, 1.0) / max(mean, 1.0))) / relative_sd)
    return max(distances)
