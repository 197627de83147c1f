"""Is there colour at all? A monochrome camera, or a picture saved as shades of grey, has none.

Everything that is told by colour (nuclei against red cells, the stain, the kinds of cells) is then
not there to be told, and what says so must be this, not a check that stumbles over it.
"""

from __future__ import annotations

import numpy as np

from edgehemo.quality.check import Check
from edgehemo.quality.limits import limit
from edgehemo.quality.regions import MIN_REGION_PX, FieldRegions
from edgehemo.quality.verdicts import judged
from edgehemo.statistics.medians import quantiles_of


def colour_check(regions: FieldRegions) -> Check:
    """Verdict on `colour_spread`; a field without cells is left to the other checks."""
    spread = colour_spread(regions)
    if spread is None:
        return Check("colour", None, limit("colour.fail_below"), "pass")
    return judged("colour", spread, low="COLOUR_MISSING")


def colour_spread(regions: FieldRegions) -> float | None:
    """How far the channels' transmittances lie apart in cells' bodies: a nine-tenths quantile.

    The light is out of it, so a tinted lamp or a toned picture has no more than a grey one. None
    without cells.
    """
    bodies = regions.body_sample
    if len(bodies) < MIN_REGION_PX:
        return None
    apart = np.maximum(np.abs(bodies[:, 0] - bodies[:, 1]), np.abs(bodies[:, 2] - bodies[:, 1]))
    return float(quantiles_of(apart, (0.9,))[0])


def is_colourless(regions: FieldRegions) -> bool:
    """Whether the check fails."""
    spread = colour_spread(regions)
    return spread is not None and spread < limit("colour.fail_below")
