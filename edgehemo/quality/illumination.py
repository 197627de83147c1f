"""Is the light right: bright enough, not clipped, even, with background to measure it by?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgehemo.field.illumination import Illumination
from edgehemo.images.frame import Frame
from edgehemo.quality.check import Check
from edgehemo.quality.verdicts import judged

# uint8 counts from which a pixel is taken for clipped. JPEG and the camera's own curve leave
# clipped areas a count or two short of the ends.
CLIPPED_HIGH = 254
CLIPPED_LOW = 3
# Clipping is a matter of shares: this many pixels a side, picked singly (an average would hide
# it), give them to a fraction of a percent.
_SAMPLE_SIDE = 160


def illumination_checks(frame: Frame, illumination: Illumination) -> Sequence[Check]:
    """Exposure, clipping, evenness, field stop and share of background."""
    highlights, shadows = clipped_shares(frame.pixels, illumination)
    return (
        judged("exposure", exposure(illumination), low="LIGHT_TOO_DARK"),
        judged("highlights", highlights, high="LIGHT_TOO_BRIGHT"),
        judged("shadows", shadows, high="SHADOWS_CLIPPED"),
        judged("evenness", illumination.unevenness, high="LIGHT_UNEVEN"),
        judged("field_stop", float(illumination.valid.mean()), low="FIELD_STOP"),
        judged("background", illumination.background_share, low="BACKGROUND_MISSING"),
    )


def exposure(illumination: Illumination) -> float:
    """Level of the clear background, counts (0-255): the brightest channel's, whatever the tint."""
    return max(illumination.background_rgb)


def clipped_shares(pixels: NDArray[np.uint8], illumination: Illumination) -> tuple[float, float]:
    """Shares (0-1) of the valid pixels clipped high in green and clipped low in every channel.

    Green is what haemoglobin is measured in. Red alone at full scale (a warm lamp) costs less and
    is left to the colour checks.
    """
    height, width = pixels.shape[:2]
    sample = pixels[:: max(1, height // _SAMPLE_SIDE), :: max(1, width // _SAMPLE_SIDE)]
    rows, columns = sample.shape[:2]
    inside = illumination.valid_at(columns, rows)
    total = max(1, int(np.count_nonzero(inside)))
    high = (sample[..., 1] >= CLIPPED_HIGH) & inside
    low = inside & (sample[..., 1] <= CLIPPED_LOW)
    low &= (sample[..., 0] <= CLIPPED_LOW) & (sample[..., 2] <= CLIPPED_LOW)
    return np.count_nonzero(high) / total, np.count_nonzero(low) / total
