"""The public functions: from pictures to the parts of a calibration profile.

Each returns one part; put it into a profile with ``profile.model_copy(update={"scale": part})`` and
write that with `edgehemo.profile.save_profile`. A picture is a path. `edgehemo calibrate` does the
same on the command line, with cameras as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from edgehemo.images.frame import Frame
from edgehemo.images.reading import read_fields
from edgehemo.profile.parts import (
    FocusReference,
    IlluminationCalibration,
    ScaleCalibration,
    StainReference,
)
from edgehemo.profile.profile import CalibrationProfile
from edgehemo_calibration.analyser.fit import AnalyserFit, fit_analyser
from edgehemo_calibration.analyser.pairs import read_pairs
from edgehemo_calibration.commands.equipment import measuring_reader
from edgehemo_calibration.flat_field import measure_flat_field
from edgehemo_calibration.measuring import measure_image, measure_stain, samples_of
from edgehemo_calibration.micrometer import combined, read_micrometer
from edgehemo_calibration.sharpness import measure_focus

Named = str | Path


def calibrate_scale(pictures: Sequence[Named], pitch_um: float) -> ScaleCalibration:
    """Um per pixel from pictures of a stage micrometer or a counting chamber's grid.

    pitch_um: from one line to the next. Raises ImageError for what cannot be read,
    CalibrationError where no ruling is found or the pictures do not agree.
    """
    frames = _fields_of(pictures)
    readings = [read_micrometer(frame, pitch_um) for frame in frames]
    reading = combined(readings, [frame.source for frame in frames])
    return reading.calibration(_now())


def calibrate_illumination(
    pictures: Sequence[Named], dark: Sequence[Named] = ()
) -> IlluminationCalibration:
    """The flat field from pictures of an empty bright field; dark: some with the lamp off.

    Raises ImageError for what cannot be read, CalibrationError naming all that is wrong.
    """
    return measure_flat_field(_fields_of(pictures), _fields_of(dark))


def _fields_of(pictures: Sequence[Named]) -> list[Frame]:
    """Every field of the files; a TIFF may hold several."""
    return [frame for picture in pictures for frame in read_fields(Path(picture))]


def calibrate_stain(
    pictures: Sequence[Named],
    *,
    profile: CalibrationProfile | None = None,
    um_per_px: float | None = None,
) -> StainReference:
    """Background colour and red-cell densities of good fields, at least three.

    Raises CalibrationError naming all that is wrong.
    """
    return measure_stain([Path(p) for p in pictures], profile=profile, um_per_px=um_per_px)


def calibrate_focus(
    pictures: Sequence[Named], *, profile: CalibrationProfile, um_per_px: float | None = None
) -> FocusReference:
    """What this microscope shows at its sharpest, from a stack of pictures through focus.

    pictures: in the order of the focus drive. Raises CalibrationError where the scale is not known
    or the stack does not go through focus.
    """
    paths = [Path(picture) for picture in pictures]
    return measure_focus(paths, profile=profile, um_per_px=um_per_px).reference


def calibrate_analyser(
    images: Named,
    pairs: Named,
    *,
    profile: CalibrationProfile,
    bundle: Named | None = None,
) -> AnalyserFit:
    """How indices of this microscope become concentrations, from samples an analyser measured.

    images: the folder of their pictures. pairs: the analyser's table, see
    `edgehemo_calibration.analyser.pairs.read_pairs`. profile: with the scale and the light that
    screenings will have. The part of the profile is ``calibration`` of what is returned. Fields
    that quality refuses are left out, and samples that have no other. Raises CalibrationError.
    """
    named = read_pairs(Path(pairs), Path(images))
    reader, opened = measuring_reader(None if bundle is None else Path(bundle), profile)
    measured = {
        image: measure_image(image, pair.name, reader) for pair in named for image in pair.images
    }
    samples, _ = samples_of(named, measured)
    return fit_analyser(
        samples,
        made_at=_now(),
        um_per_px=profile.scale.um_per_px if profile.scale is not None else None,
        flat_field_sha256=profile.illumination.digest() if profile.illumination else None,
        bundle_sha256=opened.digest if opened is not None else None,
    )


def _now() -> datetime:
    return datetime.now().astimezone()
