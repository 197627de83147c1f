"""What sharp is on this microscope: the peak of a focus stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgehemo.capture.overlap import Place, correlation, place_of
from edgehemo.errors import CalibrationError, FieldError, ImageError
from edgehemo.field.canonical import canonical_field
from edgehemo.images.reading import read_frame
from edgehemo.profile.parts import FocusReference
from edgehemo.profile.profile import CalibrationProfile
from edgehemo.quality.focus import FOCUS_MEASURE, edge_sharpness
from edgehemo.quality.regions import field_regions
from edgehemo_calibration.pictures_given import same_files

# A stack that shows its peak: some pictures on either side of it.
MIN_STACK = 5
# A stack whose sharpest picture is not this many times as sharp as its least sharp one did not go
# through focus.
MIN_RISE = 1.3
# Neighbours in a stack correlate at 0.86 and more (simulated, 2.4 um out of focus; real fields at
# 0.89 and more, blurred by 8 px), different fields at 0.67 at most.
MIN_CORRELATION = 0.75


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack measured: the reference, the sharpest picture, each one's value (None: no cells)."""

    reference: FocusReference
    sharpest: Path
    values: tuple[float | None, ...]


def measure_focus(
    images: Sequence[Path],
    *,
    profile: CalibrationProfile,
    um_per_px: float | None,
    on_image: Callable[[], None] = lambda: None,
) -> Stack:
    """Measure a focus stack, pictures in the order of the drive, and take its peak.

    Raises CalibrationError where the scale is not known (blur is measured in um, and blurred cells
    have no size), a picture cannot be read, or the stack does not go through focus.
    """
    if um_per_px is None and profile.scale is None:
        raise CalibrationError(
            "the focus needs the scale: run `edgehemo calibrate scale` first or give --um-per-px"
        )
    if len(images) < MIN_STACK:
        raise CalibrationError(
            f"{len(images)} pictures are not a focus stack: "
            f"take at least {MIN_STACK}, through focus"
        )
    if problems := same_files(images):
        raise CalibrationError("; ".join(problems))
    values: list[float | None] = []
    places: list[Place] = []
    problems = []
    for image in images:
        try:
            frame = read_frame(image)
            field = canonical_field(frame, um_per_px=um_per_px, profile=profile)
        except (ImageError, FieldError) as error:
            problems.append(str(error))
        else:
            values.append(edge_sharpness(field, field_regions(field)))
            places.append(place_of(frame.pixels))
        on_image()
    if problems:
        raise CalibrationError("; ".join(problems))
    apart = _of_other_places(images, values, places)
    if apart:
        raise CalibrationError(
            f"not a stack of one field: {', '.join(apart)} show another place than the pictures "
            "before and after. Leave the stage where it is and turn the focus only"
        )
    return peak_of(images, values)


def _of_other_places(
    images: Sequence[Path], values: Sequence[float | None], places: Sequence[Place]
) -> list[str]:
    """Pictures with cells that look like neither neighbour in the stack, by name."""
    found = []
    for i, image in enumerate(images):
        near = [places[j] for j in (i - 1, i + 1) if 0 <= j < len(places)]
        best = max(correlation(places[i], other) for other in near)
        if values[i] is not None and best < MIN_CORRELATION:
            found.append(image.name)
    return found


def peak_of(images: Sequence[Path], values: Sequence[float | None]) -> Stack:
    """The peak of measured values; CalibrationError where they have none inside the stack."""
    known = [value for value in values if value is not None]
    if not known:
        raise CalibrationError("no red cells to judge the focus by: choose another field")
    best = max(known)
    at = list(values).index(best)
    # A picture in which no cell could be made out is as far from sharp as can be.
    if len(known) == len(values) and best < MIN_RISE * min(known):
        raise CalibrationError(
            f"the sharpest picture is only {best / max(min(known), 1e-9):.2f} times as sharp as "
            "the least sharp one: take the stack further through focus"
        )
    if at in (0, len(values) - 1):
        raise CalibrationError(
            f"the sharpest picture, {images[at].name}, is at the end of the stack: "
            "take the stack further that way"
        )
    return Stack(
        FocusReference(sharp_reference=round(best, 5), measure=FOCUS_MEASURE, frames=len(values)),
        images[at],
        tuple(values),
    )
