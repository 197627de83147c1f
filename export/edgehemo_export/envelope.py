"""Where the training fields lay in light and stain: outside it a model has seen nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgehemo.bundle import EnvelopeRange
from edgehemo.errors import EdgeHemoError
from edgehemo.estimate.indices import field_indices
from edgehemo.field import canonical_field
from edgehemo.images import read_frame
from edgehemo_export.datasets import LabelledImage

# Percentiles taken for the ends of the envelope, and how many fields they stand on.
LOW, HIGH = 0.01, 0.99
FIELDS = 200
PROPERTIES = ("cell_od_red", "cell_od_green", "cell_od_blue", "cell_cover")


def training_envelope(images: Sequence[LabelledImage]) -> dict[str, EnvelopeRange]:
    """Ranges of the physical indices over (up to `FIELDS`) training images, evenly chosen."""
    chosen = images[:: max(1, len(images) // FIELDS)]
    values: dict[str, list[float]] = {name: [] for name in PROPERTIES}
    for image in chosen:
        try:
            indices = field_indices(canonical_field(read_frame(image.path)))
        except EdgeHemoError:
            continue  # an image that shows no field says nothing of the envelope
        for name in PROPERTIES:
            value = float(getattr(indices, name))
            if np.isfinite(value):
                values[name].append(value)
    return {
        name: EnvelopeRange(
            low=float(np.quantile(found, LOW)), high=float(np.quantile(found, HIGH))
        )
        for name, found in values.items()
        if found
    }
