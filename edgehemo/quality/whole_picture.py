"""Whether the frame is whole: a transfer that stopped leaves a flat part, and numbers too small."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgehemo.images.whole import missing_part
from edgehemo.quality.check import Check
from edgehemo.quality.verdicts import judged


def whole_picture_check(pixels: NDArray[np.uint8]) -> Check:
    """Verdict on the share (0-1) of a frame that is one flat colour or one line repeated."""
    missing = missing_part(pixels)
    return judged("whole_picture", missing.share if missing else 0.0, high="PICTURE_INCOMPLETE")
