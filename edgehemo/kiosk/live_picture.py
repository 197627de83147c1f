"""A picture as the page shows it: small, cheap to make, and not more often than an eye follows.

A smear under the lens is followed by eye at ten pictures a second; more cost the small processor
what the reading of the fields needs.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

# The live picture as the page shows it, and a field among those taken; about the longest side, px.
# The page's frame for it is 500 px wide on the smallest screen.
LIVE_SIDE_PX, SMALL_SIDE_PX = 560, 160
LIVE_QUALITY, SMALL_QUALITY = 75, 70
# So many a second are looked at and shown, at most.
PICTURES_PER_S = 15.0


def jpeg(pixels: NDArray[np.uint8], side_px: int, quality: int) -> bytes:
    """A picture (uint8 RGB) as a JPEG file, its longest side about ``side_px`` or less.

    It is made smaller by a whole number: that costs a quarter of what another factor does.
    """
    height, width = pixels.shape[:2]
    factor = max(1, round(max(height, width) / side_px))
    size = (max(1, width // factor), max(1, height // factor))
    # What a whole number of pixels does not reach is left out, so that the factor is whole.
    whole = pixels[: size[1] * factor, : size[0] * factor]
    small = whole if factor == 1 else cv2.resize(whole, size, interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    assert done, "a uint8 picture of three channels is always encoded"
    return bytes(data)


class Pace:
    """Keeps a loop to so many turns a second. wait: sleeps for so long, or less."""

    def __init__(
        self,
        per_s: float,
        wait: Callable[[float], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._period_s, self._wait, self._clock = 1.0 / per_s, wait, clock
        self._next_at = clock()

    def keep(self) -> None:
        """Wait until the next turn may come; one that came late does not hurry the next."""
        if (left_s := self._next_at - self._clock()) > 0:
            self._wait(left_s)
        self._next_at = max(self._next_at, self._clock()) + self._period_s
