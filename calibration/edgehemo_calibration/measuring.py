"""From pictures to what a calibration fits on, through the very steps a screening takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgehemo.errors import CalibrationError, FieldError, ImageError
from edgehemo.estimate.pooling import pool
from edgehemo.estimate.values import FieldIndices
from edgehemo.field.canonical import canonical_field
from edgehemo.images.reading import read_fields, read_frame
from edgehemo.profile.parts import StainReference
from edgehemo.profile.profile import CalibrationProfile
from edgehemo.quality.regions import field_regions
from edgehemo.screening.field import FieldReader
from edgehemo_calibration.analyser.fit import AnalyserSample
from edgehemo_calibration.analyser.pairs import Pair

# Fewer reference fields than this give no spread to compare a new field with.
MIN_STAIN_FIELDS = 3


@dataclass(frozen=True, slots=True)
class MeasuredImage:
    """One picture of a sample: its indices, None where it gives none; ``failed`` names the checks
    it failed, ``error`` says why it could not be read.
    """

    image: Path
    sample: str
    indices: FieldIndices | None
    failed: tuple[str, ...] = ()
    error: str = ""


def measure_image(image: Path, sample: str, reader: FieldReader) -> MeasuredImage:
    """Read one picture as a screening does; a fault is in the result, not raised."""
    try:
        reading = reader.read(read_frame(image))
    except (ImageError, FieldError) as error:
        return MeasuredImage(image, sample, None, error=str(error))
    failed = tuple(check.code or check.name for check in reading.quality.failed)
    return MeasuredImage(image, sample, reading.indices, failed=failed)


def samples_of(
    pairs: Sequence[Pair], measured: Mapping[Path, MeasuredImage]
) -> tuple[tuple[AnalyserSample, ...], tuple[str, ...]]:
    """The samples that have a measured field, and the names of those that have none."""
    samples, without = [], []
    for pair in pairs:
        known = [measured[image].indices for image in pair.images]
        accepted = [indices for indices in known if indices is not None]
        if accepted:
            samples.append(AnalyserSample(pair.name, pool(accepted), pair.reference))
        else:
            without.append(pair.name)
    return tuple(samples), tuple(without)


def measure_stain(
    images: Sequence[Path],
    *,
    profile: CalibrationProfile | None,
    um_per_px: float | None,
    on_image: Callable[[], None] = lambda: None,
) -> StainReference:
    """Background colour and red-cell densities of reference fields, as quality measures them.

    Every field of a file counts. Raises CalibrationError, all problems in one line, and with fewer
    than three fields.
    """
    backgrounds, densities, problems = [], [], []
    for image in images:
        try:
            for frame in read_fields(image):
                field = canonical_field(frame, um_per_px=um_per_px, profile=profile)
                density = field_regions(field).body_density()
                if density is None:
                    problems.append(
                        f"{frame.source}: no red cells to measure; choose another field"
                    )
                else:
                    backgrounds.append(field.illumination.background_rgb)
                    densities.append(density)
        except (ImageError, FieldError) as error:
            problems.append(str(error))
        on_image()
    given = len(densities) + len(problems)
    if given < MIN_STAIN_FIELDS:
        problems.append(
            f"{given} reference fields are too few: take at least {MIN_STAIN_FIELDS}, better ten, "
            "of several good smears"
        )
    if problems:
        raise CalibrationError("; ".join(problems))
    colour, depth = np.array(backgrounds), np.array(densities)
    return StainReference(
        background_rgb=_triple(colour.mean(axis=0)),
        background_rgb_sd=_triple(colour.std(axis=0, ddof=1)),
        cell_od=_triple(depth.mean(axis=0)),
        cell_od_sd=_triple(depth.std(axis=0, ddof=1)),
        fields=len(densities),
    )


def _triple(values: np.ndarray[Any, Any]) -> tuple[float, float, float]:
    red, green, blue = (round(float(value), 5) for value in values)
    return red, green, blue
