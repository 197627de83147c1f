"""Does a calibration hold for this sample? Only for pictures and samples like its own.

Between microscopes, cameras and stains the line from indices to a concentration is another one.
What a sample's pictures were like is compared with what the profile says of the calibration's.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgehemo.estimate.values import Circumstances, SampleIndices
from edgehemo.guidance.withheld import NotGiven, not_given

if TYPE_CHECKING:
    from edgehemo.profile.analyser import AnalyserCalibration
    from edgehemo.profile.profile import CalibrationProfile

# How far the scale in use may lie from the calibration's: where both were measured or typed in,
# what typing it in is taken to be wrong by; where the cells' own size made one of them, what such
# scales of one microscope differ by (fields of few cells, microcytosis of the whole sample).
MEASURED_SCALE_TOLERANCE = 0.02
OWN_SCALE_TOLERANCE = 0.15
_MEASURED = ("profile", "given")


@dataclass(frozen=True, slots=True)
class EnvelopeFeature:
    """One thing that a sample is compared by.

    label: what people call it. of: reads it, None where it was not measured. least_sd: the spread
    between samples that is always allowed for, whatever a few alike samples say, in its unit; as a
    share of the value where the feature spreads in ``ratio``, as sharpness does. low_only: more of
    it is no fault, as of sharpness.
    """

    label: str
    of: Callable[[SampleIndices], float | None]
    least_sd: float
    ratio: bool = False
    low_only: bool = False

    def holds(self, value: float, low: float, high: float) -> bool:
        """Whether a sample's value lies within the range of the calibration's."""
        return low <= value and (value <= high or self.low_only)


def _median_of(name: str) -> Callable[[SampleIndices], float | None]:
    """The median over the fields of one of their circumstances."""

    def read(sample: SampleIndices) -> float | None:
        values = [getattr(taken, name) for taken in circumstances(sample)]
        known = [value for value in values if value is not None]
        return statistics.median(known) if known else None

    return read


# Stain, background, sharpness, density; the indices are pooled over the fields.
ENVELOPE: Mapping[str, EnvelopeFeature] = MappingProxyType(
    {
        "cell_od_red": EnvelopeFeature(
            "red-cell density in red light", lambda s: s.mean.cell_od_red, 0.01
        ),
        "cell_od_green": EnvelopeFeature(
            "red-cell density in green light", lambda s: s.mean.cell_od_green, 0.015
        ),
        "cell_od_blue": EnvelopeFeature(
            "red-cell density in blue light", lambda s: s.mean.cell_od_blue, 0.01
        ),
        "background_tint": EnvelopeFeature(
            "colour of the background", _median_of("background_tint"), 0.03
        ),
        "sharpness": EnvelopeFeature(
            "sharpness per um", _median_of("sharpness"), 0.1, ratio=True, low_only=True
        ),
        "cell_cover": EnvelopeFeature("share covered by cells", lambda s: s.mean.cell_cover, 0.05),
    }
)


def circumstances(sample: SampleIndices) -> list[Circumstances]:
    """How the sample's fields were taken, where it is known."""
    return [field.taken for field in sample.fields if field.taken is not None]


def scale_in_use(sample: SampleIndices) -> float | None:
    """The median scale of the fields' frames, um/px; None where it is not known."""
    scales = [taken.um_per_px for taken in circumstances(sample)]
    return statistics.median(scales) if scales else None


def why_not_valid(sample: SampleIndices, profile: CalibrationProfile) -> NotGiven | None:
    """Why the profile's analyser calibration does not hold for this sample, None where it does.

    In the order of what tells the cause best: the camera, the pictures' size, the scale in use,
    then the look of the sample. What is not known of either side is not compared.
    """
    analyser = profile.analyser
    if analyser is None:
        return None
    return (
        _other_camera(profile, analyser)
        or _other_size(sample, analyser)
        or _other_scale(sample, analyser)
        or _unlike(sample, analyser)
    )


def _other_camera(profile: CalibrationProfile, analyser: AnalyserCalibration) -> NotGiven | None:
    calibrated = analyser.pictures.camera if analyser.pictures is not None else ""
    if calibrated and profile.camera and calibrated != profile.camera:
        return not_given("CAMERA_OTHER", camera=profile.camera, calibrated=calibrated)
    return None


def _other_size(sample: SampleIndices, analyser: AnalyserCalibration) -> NotGiven | None:
    if analyser.pictures is None:
        return None
    known = {tuple(sorted(size)) for size in analyser.pictures.sizes_px}
    for taken in circumstances(sample):
        # A picture that was turned by a quarter is of the same mode.
        if tuple(sorted((taken.width_px, taken.height_px))) not in known:
            sizes = " or ".join(f"{width}x{height}" for width, height in analyser.pictures.sizes_px)
            return not_given(
                "PICTURE_SIZE_OTHER", size=f"{taken.width_px}x{taken.height_px}", calibrated=sizes
            )
    return None


def _other_scale(sample: SampleIndices, analyser: AnalyserCalibration) -> NotGiven | None:
    scale = scale_in_use(sample)
    pictures = analyser.pictures
    if pictures is not None:
        low, high = pictures.um_per_px_low, pictures.um_per_px_high
    elif analyser.um_per_px is not None:
        low = high = analyser.um_per_px
    else:
        return None
    if scale is None:
        return None
    measured = analyser.scale_source in _MEASURED and sample.mean.scale_source in _MEASURED
    tolerance = MEASURED_SCALE_TOLERANCE if measured else OWN_SCALE_TOLERANCE
    if low / (1 + tolerance) <= scale <= high * (1 + tolerance):
        return None
    return not_given(
        "SCALE_OTHER",
        scale=f"{scale:.3g}",
        calibrated=f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}",
    )


def _unlike(sample: SampleIndices, analyser: AnalyserCalibration) -> NotGiven | None:
    for item in analyser.pictures.envelope if analyser.pictures is not None else ():
        feature = ENVELOPE.get(item.feature)
        value = feature.of(sample) if feature is not None else None
        if feature is None or value is None:
            continue
        if not feature.holds(value, item.low, item.high):
            return not_given(
                "SAMPLE_UNLIKE_CALIBRATION",
                what=feature.label,
                value=f"{value:.3g}",
                low=f"{item.low:.3g}",
                high=f"{item.high:.3g}",
            )
    return None
