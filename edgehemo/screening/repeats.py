"""Whether a field was already counted: the same picture again, or the same place of the slide.

A picture given twice, or a place photographed twice, holds the same cells: counted twice they make
the sample look larger than it is and its interval narrower than it may be.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgehemo.capture.overlap import (
    SAME_PLACE_CORRELATION,
    Place,
    compared_picture,
    correlation,
    place_in,
    structure_of,
)
from edgehemo.errors import UsageError
from edgehemo.guidance.catalogue import guidance
from edgehemo.images.frame import Frame
from edgehemo.quality.check import Check

# A moved field is looked for among so many fields before it; the same picture among all. Whoever
# moves a slide too little does so from one field to the next.
NEIGHBOURS = 16
# Pictures alike without being moved: as two of one place are, relit and compressed again.
_ALIKE = 0.95


@dataclass(frozen=True, slots=True)
class SeenPlace:
    """What is kept of an accepted field to know it again. image: its name."""

    image: str
    place: Place
    structure: NDArray[np.float32]


def sketch_of(frame: Frame) -> str:
    """A frame's place as text that a file can hold; `seen_place` reads it."""
    picture = compared_picture(frame.pixels)
    rows, columns = picture.shape
    return f"{columns}x{rows}:{base64.b64encode(picture.tobytes()).decode('ascii')}"


def seen_place(image: str, sketch: str) -> SeenPlace:
    """The place of a `sketch_of`; UsageError for what is none."""
    try:
        size, _, coded = sketch.partition(":")
        columns, rows = (int(side) for side in size.split("x"))
        values = np.frombuffer(base64.b64decode(coded, validate=True), np.uint8)
        picture = values.reshape(rows, columns)
    except (ValueError, binascii.Error):
        raise UsageError(f"{image}: what was kept of its place cannot be read") from None
    structure = structure_of(picture)
    norm = float(np.linalg.norm(structure))
    return SeenPlace(image, place_in(picture), structure / max(norm, 1e-6))


def repeat_check(new: SeenPlace, seen: Sequence[SeenPlace]) -> Check | None:
    """The check that refuses a field counted before, with the other's name; None for a new one."""
    for number, other in enumerate(reversed(seen)):
        likeness = _likeness(new, other)
        if likeness < _ALIKE and number < NEIGHBOURS:
            likeness = correlation(new.place, other.place)
            again = likeness >= SAME_PLACE_CORRELATION
        else:
            again = likeness >= _ALIKE
        if again:
            action = guidance("SAME_PLACE", other=other.image).action
            return Check(
                "new_place", likeness, SAME_PLACE_CORRELATION, "fail", "SAME_PLACE", action
            )
    return None


def _likeness(one: SeenPlace, other: SeenPlace) -> float:
    """Correlation of two pictures as they lie, 0 where their shapes differ."""
    if one.structure.shape != other.structure.shape:
        return 0.0
    return float(np.vdot(one.structure, other.structure))
