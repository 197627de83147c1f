"""What the pictures and samples of a calibration were like, for the profile. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgehemo.estimate.pooling import pool
from edgehemo.estimate.validity import ENVELOPE, EnvelopeFeature, circumstances, scale_in_use
from edgehemo.estimate.values import SampleIndices
from edgehemo.profile.analyser import CalibrationPictures, EnvelopeRange

# The share of samples like the calibration's that one feature's range holds. Of all features
# together it then holds at least 98 %.
HELD_SHARE = 0.997
# Fewer samples than this give no range.
MIN_SAMPLES = 3
# Points that Student's distribution is integrated on.
_GRID = 20_001


def calibration_pictures(
    samples: Sequence[SampleIndices], *, camera: str = ""
) -> CalibrationPictures | None:
    """Sizes, scales and envelope of the samples; None where it is not known how any was taken."""
    taken = [item for sample in samples for item in circumstances(sample)]
    scales = [scale for sample in samples if (scale := scale_in_use(sample)) is not None]
    if not taken or not scales:
        return None
    ranges = []
    for name, feature in ENVELOPE.items():
        values = [value for sample in samples if (value := feature.of(sample)) is not None]
        if feature.ratio:
            values = [math.log(value) for value in values if value > 0]
        if len(values) >= MIN_SAMPLES:
            between = _between_fields(samples, feature)
            low, high = held_range(values, feature.least_sd, between)
            if feature.ratio:
                low, high = math.exp(low), math.exp(high)
            ranges.append(EnvelopeRange(feature=name, low=low, high=high))
    return CalibrationPictures(
        sizes_px=tuple(sorted({(item.width_px, item.height_px) for item in taken})),
        um_per_px_low=min(scales),
        um_per_px_high=max(scales),
        camera=camera,
        envelope=tuple(ranges),
    )


def _between_fields(samples: Sequence[SampleIndices], feature: EnvelopeFeature) -> float:
    """Standard deviation between fields of one sample, pooled; 0 where no sample had two fields.

    A sample of fewer fields than the calibration's scatters by it beyond the samples' own spread.
    """
    squares, freedom = 0.0, 0
    for sample in samples:
        values = [feature.of(pool([field])) for field in sample.fields]
        known = [
            value for value in values if value is not None and (value > 0 or not feature.ratio)
        ]
        if len(known) > 1:
            array = np.log(known) if feature.ratio else np.array(known)
            squares += float(((array - array.mean()) ** 2).sum())
            freedom += len(known) - 1
    return math.sqrt(squares / freedom) if freedom else 0.0


def held_range(
    values: Sequence[float], least_sd: float, between_fields: float = 0.0
) -> tuple[float, float]:
    """The prediction interval of one more value: mean +- t s sqrt(1 + 1/n).

    s: of the samples, at least least_sd, and of one field in quadrature.
    """
    n = len(values)
    sd = math.hypot(max(float(np.std(values, ddof=1)), least_sd), between_fields)
    reach = student_quantile(HELD_SHARE, n - 1) * sd * float(np.sqrt(1.0 + 1.0 / n))
    centre = float(np.mean(values))
    return centre - reach, centre + reach


def student_quantile(share: float, degrees_of_freedom: int) -> float:
    """What the absolute value of Student's t stays below in ``share`` of all cases.

    With t = sqrt(n) tan(a) the density is proportional to cos(a)^(n - 1), which is integrated.
    """
    angle = np.linspace(0.0, np.pi / 2, _GRID)
    density = np.cos(angle) ** (degrees_of_freedom - 1)
    below = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    at = float(np.interp(share, below / below[-1], angle))
    return float(np.sqrt(degrees_of_freedom) * np.tan(at))
