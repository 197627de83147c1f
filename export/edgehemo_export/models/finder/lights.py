"""Other lights over a labelled frame: what a finder's answer should not hang on.

Each change acts on the encoded values, as a camera's picture would be if the lamp or the exposure
were another; none brightens, so nothing clips that did not before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from edgehemo.images.frame import Frame

# Half the value the sensor encodes.
HALF_EXPOSURE = 0.5
# Red, green, blue gains of a bluish lamp and of a yellow one.
BLUE_CAST = (0.70, 0.85, 1.0)
YELLOW_CAST = (1.0, 0.95, 0.65)
# Light lost in the corners, and from one side to the other.
VIGNETTE_LOSS = 0.4
GRADIENT_LOSS = 0.4


def _scaled(frame: Frame, gain: NDArray[np.float32]) -> Frame:
    pixels = np.round(frame.pixels.astype(np.float32) * gain).astype(np.uint8)
    return Frame(pixels, frame.source)


def half_exposure(frame: Frame) -> Frame:
    """Half the light."""
    return _scaled(frame, np.full(1, HALF_EXPOSURE, np.float32))


def blue_cast(frame: Frame) -> Frame:
    """Under a bluish lamp."""
    return _scaled(frame, np.array(BLUE_CAST, np.float32))


def yellow_cast(frame: Frame) -> Frame:
    """Under a yellowish lamp."""
    return _scaled(frame, np.array(YELLOW_CAST, np.float32))


def vignette(frame: Frame) -> Frame:
    """Darker with the square of the distance from the middle."""
    down = np.linspace(-1, 1, frame.height, dtype=np.float32)[:, None]
    across = np.linspace(-1, 1, frame.width, dtype=np.float32)[None, :]
    gain = 1 - VIGNETTE_LOSS * (down**2 + across**2) / 2
    return _scaled(frame, np.asarray(gain[..., None], np.float32))


def gradient(frame: Frame) -> Frame:
    """Darker from left to right."""
    across = np.linspace(0, 1, frame.width, dtype=np.float32)
    return _scaled(frame, np.asarray((1 - GRADIENT_LOSS * across)[None, :, None], np.float32))


LIGHTS: Mapping[str, Callable[[Frame], Frame]] = MappingProxyType(
    {
        "half exposure": half_exposure,
        "blue cast": blue_cast,
        "yellow cast": yellow_cast,
        "vignette": vignette,
        "gradient": gradient,
    }
)
