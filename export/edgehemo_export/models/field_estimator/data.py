"""Which real fields the field estimator learns from, beside the simulated ones."""

from __future__ import annotations

from pathlib import Path

from edgehemo_export.data.smears import FieldImage, smear_images
from edgehemo_export.data.splits import CURRENT
from edgehemo_export.models.tiled_fields import PAIRED_SOURCE


def licence_of(source: str) -> str:
    """The key of LICENCES that a source's data falls under."""
    return "chula_disease" if source.startswith("chula_disease") else source


def training_images(data: Path, per_source: int, leave_out: str | None) -> list[FieldImage]:
    """Real pictures of the training part, evenly chosen by source, none with an analyser result."""
    images = CURRENT.select(smear_images(data), "train")
    out: list[FieldImage] = []
    for source in sorted({image.source for image in images}):
        if source in (PAIRED_SOURCE, leave_out):
            continue
        here = [image for image in images if image.source == source]
        out += here[:: max(1, len(here) // per_source)]
    return out
