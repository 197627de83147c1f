"""Is this a blood smear at all?"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import cv2
import numpy as np

from edgehemo.guidance.codes import QualityCode
from edgehemo.quality.check import Check
from edgehemo.quality.colour import is_colourless
from edgehemo.quality.limits import limit
from edgehemo.quality.regions import ANALYSIS_UM_PER_PX, MIN_REGION_PX, FieldRegions, artefact_share
from edgehemo.quality.verdicts import flagged, judged
from edgehemo.statistics.medians import quantiles_of

# Half-widths that red cells, single or overlapping, have on a thin smear, um. Thin: elliptocytes
# and fragments; wide: two cells side by side or a white cell.
THIN_HALF_WIDTH_UM = 1.5
WIDE_HALF_WIDTH_UM = 6.0


@dataclass(frozen=True, slots=True)
class SpecimenFeatures:
    """What tells a smear from other pictures; all dimensionless.

    cell_sized: share of the cells' area in parts about as wide as red cells.
    density: median optical density of the bodies in green.
    hue_variation: interquartile range of their density ratio of red to green.
    body_variation: interquartile range of green density over its median in the bodies.
    background_variation: interquartile range of green transmittance in the background.
    background: share of the field far from anything that stands out.
    artefacts: share of the field that nothing of blood looks like.
    """

    cell_sized: float
    density: float
    hue_variation: float
    body_variation: float
    background_variation: float
    background: float
    artefacts: float


# The stain's own colour is no question of whether it is a smear: `stain_colour` judges that.
# Feature -> (never in a smear, ordinary in one), the ends of a ramp from 0 to 1. A drawn or printed
# picture is flatter in colour than any stained cell or lit glass, a photograph more varied: both
# sides count. Set on the first half of the real sets and on drawn and photographed non-smears.
RAMPS: tuple[tuple[str, float, float], ...] = (
    ("cell_sized", 0.25, 0.60),
    ("density", 0.60, 0.38),
    ("hue_variation", 0.0005, 0.003),
    ("hue_variation", 0.80, 0.45),
    ("body_variation", 0.05, 0.12),
    ("body_variation", 4.0, 2.0),
    ("background_variation", 0.0, 0.0003),
    ("background_variation", 0.13, 0.06),
    ("background", 0.08, 0.20),
    ("artefacts", 0.28, 0.10),
)


def specimen_check(regions: FieldRegions) -> Check:
    """Verdict on how much the field is like a blood smear (0-1)."""
    features = specimen_features(regions)
    if features is None:
        code: QualityCode = "NOT_A_SMEAR" if artefact_share(regions) > 0.5 else "NO_CELLS"
        return flagged("specimen", 0.0, limit("specimen.fail_below"), code, "fail")
    unasked = {"hue_variation"} if is_colourless(regions) else set()
    likeness = smear_likeness(features, unasked)
    # A smear in all but its depth is one that was stained too long: that is what a person can mend.
    but_for_depth = smear_likeness(features, unasked | {"density"})
    too_dark = but_for_depth >= limit("specimen.fail_below")
    return judged("specimen", likeness, low="STAIN_DARK" if too_dark else "NOT_A_SMEAR")


def smear_likeness(features: SpecimenFeatures, unasked: Collection[str] = ()) -> float:
    """Product of the ramps of all features: 1 ordinary in everything, 0 impossible in one.

    unasked: features that are left out, such as the hue of a picture without colour, which `colour`
    has judged.
    """
    likeness = 1.0
    for name, never, ordinary in RAMPS:
        if name in unasked:
            continue
        share = (getattr(features, name) - never) / (ordinary - never)
        likeness *= float(np.clip(share, 0.0, 1.0))
    return likeness


def specimen_features(regions: FieldRegions) -> SpecimenFeatures | None:
    """Measure; None where there are no cells or no background to measure."""
    bodies, ground = regions.body_sample, regions.ground_sample[:, 1]
    if len(bodies) < MIN_REGION_PX or len(ground) < MIN_REGION_PX:
        return None
    density = -np.log10(np.maximum(bodies, 0.02))
    green = np.maximum(density[:, 1], 0.01)
    low, middle, high = quantiles_of(green, (0.25, 0.5, 0.75))
    hue_low, hue_high = quantiles_of(density[:, 0] / green, (0.25, 0.75))
    ground_low, ground_high = quantiles_of(ground, (0.25, 0.75))
    return SpecimenFeatures(
        cell_sized=cell_sized_share(regions),
        density=middle,
        hue_variation=hue_high - hue_low,
        body_variation=(high - low) / middle,
        background_variation=ground_high - ground_low,
        background=float(regions.background.mean()),
        artefacts=artefact_share(regions),
    )


def cell_sized_share(regions: FieldRegions) -> float:
    """Share (0-1) of the cells' area left by opening at the thin and removed at the wide width."""
    mask = regions.cells.astype(np.uint8)
    total = int(np.count_nonzero(mask))
    if total == 0:
        return 0.0
    distance = cv2.distanceTransform(
        cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_REPLICATE), cv2.DIST_L2, 3
    )
    inside = distance[1:-1, 1:-1]

    def opened(half_width_um: float) -> int:
        radius = half_width_um / ANALYSIS_UM_PER_PX
        core = (inside >= radius).astype(np.uint8)
        if not core.any():
            return 0
        away = cv2.distanceTransform(1 - core, cv2.DIST_L2, 3)
        return int(np.count_nonzero((away < radius) & (mask > 0)))

    return (opened(THIN_HALF_WIDTH_UM) - opened(WIDE_HALF_WIDTH_UM)) / total
