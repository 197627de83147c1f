"""Where the training fields lay in light and stain: outside it a model has seen nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from edgehemo.bundle.manifest import TrainingEnvelope
from edgehemo.errors import EdgeHemoError, UsageError
from edgehemo.field.canonical import CanonicalField, canonical_field
from edgehemo.images.reading import read_frame
from edgehemo.quality.envelope import envelope_features, fit_envelope
from edgehemo.quality.regions import field_regions
from edgehemo_export.data.simulated.fields import simulated_field

# How many fields the envelope stands on: of the real training images, and of the simulated ones
# whose lights and stains training ranged over as well.
REAL_FIELDS = 150
SIMULATED_FIELDS = 60
_SIMULATED_SIDE_PX = 256


class Pictured(Protocol):
    """Whatever has a picture in a file."""

    @property
    def path(self) -> Path: ...


def training_envelope(images: Sequence[Pictured], *, seed: int) -> TrainingEnvelope:
    """The envelope of training images, evenly chosen, and of simulated fields.

    Raises UsageError when too few of them show a field that can be measured.
    """
    rows = [
        envelope_features(field_regions(field), field.illumination)
        for field in _fields(images, seed)
    ]
    try:
        made = fit_envelope(np.array(rows))
    except ValueError as error:
        raise UsageError(f"no training envelope: {error}") from error
    return TrainingEnvelope(**made, fields=len(rows))


def _fields(images: Sequence[Pictured], seed: int) -> Iterator[CanonicalField]:
    for image in images[:: max(1, len(images) // REAL_FIELDS)]:
        try:
            yield canonical_field(read_frame(image.path))
        except EdgeHemoError:
            continue  # an image that shows no field says nothing of the envelope
    for index in range(SIMULATED_FIELDS):
        made, um_per_px = simulated_field(index, side_px=_SIMULATED_SIDE_PX, seed=seed)
        yield canonical_field(made.frame, um_per_px=um_per_px)
