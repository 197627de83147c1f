"""Exposure and colour gains that bring an empty field to a target level.

The camera's own response need not be linear: it is learnt from what each step of the exposure did.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from edgehemo.capture import FRAME_DEADLINE_S
from edgehemo.capture.protocol import SETTING_RANGES, Camera, CameraSettings
from edgehemo.errors import CalibrationError
from edgehemo.images.frame import Frame

# 70 % of full scale, as OpenFlexure sets its exposure: room above for noise, below for stain.
TARGET_LEVEL = 178.0
TARGET_RANGE = (90.0, 230.0)
TOLERANCE = 0.015
MAX_STEPS = 16
# A longer exposure than this blurs when somebody walks by, and makes a live view crawl.
MAX_EXPOSURE_US = 100_000.0
# From here a channel is taken for clipped, and says only that it is too bright.
CLIPPED_LEVEL = 248.0
START_EXPOSURE_US = 10_000.0
# One step changes the exposure by at most this factor, one way or the other.
MAX_FACTOR = 4.0
_BRIGHT_QUANTILE = 0.98
_WORK_SIDE_PX = 96
_RESPONSE_RANGE = (0.4, 3.0)


@dataclass(frozen=True, slots=True)
class Exposed:
    """What the camera was set to, and the levels (RGB counts) its bright part then has.

    balanced: whether the colour gains could be set, so that the three levels agree.
    """

    settings: CameraSettings
    levels: tuple[float, float, float]
    balanced: bool
    steps: int


def bright_levels(frame: Frame) -> tuple[float, float, float]:
    """Counts of each channel's bright part (98th percentile of the reduced picture), RGB."""
    factor = min(1.0, _WORK_SIDE_PX / max(frame.width, frame.height))
    size = (max(1, round(frame.width * factor)), max(1, round(frame.height * factor)))
    small = cv2.resize(frame.pixels, size, interpolation=cv2.INTER_AREA)
    red, green, blue = np.quantile(small.reshape(-1, 3), _BRIGHT_QUANTILE, axis=0)
    return float(red), float(green), float(blue)


def expose(camera: Camera, target_level: float = TARGET_LEVEL) -> Exposed:
    """Set an open camera so that its bright part reaches ``target_level`` counts.

    Green by the exposure; red and blue, where the camera has gains, follow it. Raises
    CalibrationError, saying what to do, where the light is too strong or too weak for the camera's
    range, and CaptureError what the camera raises.
    """
    low, high = TARGET_RANGE
    if not low <= target_level <= high:
        raise CalibrationError(f"the target level must lie in {low:g} to {high:g} counts")
    settings = camera.apply(CameraSettings())
    if settings.exposure_us is None:
        settings = camera.apply(CameraSettings(exposure_us=START_EXPOSURE_US))
    before: tuple[float, float] | None = None
    response = 1.0
    for step in range(1, MAX_STEPS + 1):
        levels = bright_levels(camera.frame(FRAME_DEADLINE_S))
        if _reached(levels, settings, target_level):
            return Exposed(settings, levels, settings.red_gain is not None, step)
        exposure = settings.exposure_us or START_EXPOSURE_US
        green = levels[1]
        if before is not None and green < CLIPPED_LEVEL and before[1] < CLIPPED_LEVEL:
            response = _response(before, (exposure, green), response)
        before = (exposure, green)
        settings = camera.apply(_next(settings, exposure, levels, target_level, response))
    raise CalibrationError(
        f"after {MAX_STEPS} steps the field has {levels[1]:.0f} counts in green, not "
        f"{target_level:.0f}: keep the lamp steady and the field empty, then try again"
    )


def _reached(
    levels: tuple[float, float, float], settings: CameraSettings, target_level: float
) -> bool:
    wanted = levels if settings.red_gain is not None else levels[1:2]
    return all(abs(level / target_level - 1.0) <= TOLERANCE for level in wanted) and (
        max(levels) < CLIPPED_LEVEL
    )


def _response(old: tuple[float, float], new: tuple[float, float], known: float) -> float:
    """D ln exposure / d ln level, the encoding's exponent; as known where the step was small."""
    change = math.log(max(new[1], 1.0) / max(old[1], 1.0))
    if abs(change) < 0.03 or new[0] == old[0]:
        return known
    measured = math.log(new[0] / old[0]) / change
    return min(_RESPONSE_RANGE[1], max(_RESPONSE_RANGE[0], measured)) if measured > 0 else known


def _next(
    settings: CameraSettings,
    exposure: float,
    levels: tuple[float, float, float],
    target_level: float,
    response: float,
) -> CameraSettings:
    red, green, blue = (max(level, 1.0) for level in levels)
    # Without gains the brightest channel sets the limit: none may clip.
    clipped = green >= CLIPPED_LEVEL or (settings.red_gain is None and max(levels) >= CLIPPED_LEVEL)
    factor = 0.5 if clipped else (target_level / green) ** response
    wanted = exposure * min(MAX_FACTOR, max(1.0 / MAX_FACTOR, factor))
    lowest = SETTING_RANGES["exposure_us"][0]
    if wanted < lowest and exposure <= lowest:
        raise CalibrationError(
            "the light is too strong even at the shortest exposure: turn the lamp down"
        )
    if wanted > MAX_EXPOSURE_US and exposure >= MAX_EXPOSURE_US:
        raise CalibrationError(
            f"the light is too weak even at {MAX_EXPOSURE_US / 1000:g} ms: turn the lamp up, open "
            "the diaphragm, or raise the camera's gain in the device configuration"
        )
    wanted = min(MAX_EXPOSURE_US, max(lowest, wanted))
    # A step that the camera's own steps would swallow still has to be a step.
    if round(wanted) == round(exposure) and factor != 1.0:
        wanted = exposure + (1.0 if factor > 1.0 else -1.0)
    following = CameraSettings(exposure_us=wanted)
    if settings.red_gain is None or settings.blue_gain is None or green >= CLIPPED_LEVEL:
        return following
    return replace(
        following,
        red_gain=_gain(settings.red_gain, red, green, response, "red_gain"),
        blue_gain=_gain(settings.blue_gain, blue, green, response, "blue_gain"),
    )


def _gain(gain: float, level: float, green: float, response: float, name: str) -> float:
    low, high = SETTING_RANGES[name]
    factor = 0.6 if level >= CLIPPED_LEVEL else (green / level) ** response
    return min(high, max(low, gain * min(MAX_FACTOR, max(1.0 / MAX_FACTOR, factor))))
