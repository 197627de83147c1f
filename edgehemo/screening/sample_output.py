"""What `edgehemo estimate` writes as JSON: of the images of one sample, alone and together.

Apart from what is written of single images, whose commands need nothing of a sample.
"""

from __future__ import annotations

from typing import Any, Literal

from edgehemo.capture.protocol import FailedSource
from edgehemo.estimate.output import (
    Concentrations,
    IndicesEntry,
    SampleIndicesEntry,
    concentrations,
    withheld_concentrations,
)
from edgehemo.field.scale import ScaleSource
from edgehemo.files.strict import Count, Positive, Record
from edgehemo.guidance.withheld import Withheld
from edgehemo.screening.field import FieldReading
from edgehemo.screening.sample import SampleReading


class EstimateEntry(Record, frozen=True, kw_only=True):
    """The indices of one image of the sample, null where quality refused it."""

    image: str
    accepted: bool
    failed: tuple[str, ...]
    hgb_index: float | None
    hct_index: float | None
    rbc_index: float | None
    um_per_px: Positive
    scale_source: ScaleSource
    indices: IndicesEntry | None

    @classmethod
    def of(cls, reading: FieldReading) -> EstimateEntry:
        indices = reading.indices
        return cls(
            image=reading.image,
            accepted=reading.accepted,
            failed=reading.quality.faults,
            hgb_index=indices.hgb_index if indices is not None else None,
            hct_index=indices.hct_index if indices is not None else None,
            rbc_index=indices.rbc_index if indices is not None else None,
            um_per_px=reading.um_per_px,
            scale_source=reading.scale_source,
            indices=IndicesEntry.of(indices) if indices is not None else None,
        )


class EstimateSample(Concentrations, frozen=True, kw_only=True):
    """What the images say together; withheld: why there is nothing, null where there is."""

    accepted: Count
    indices: SampleIndicesEntry | None
    withheld: Withheld | None

    @classmethod
    def of(cls, reading: SampleReading) -> EstimateSample:
        return cls(
            **sample_concentrations(reading),
            accepted=len(reading.accepted),
            indices=sample_indices(reading),
            withheld=reading.withheld,
        )


class EstimateOutput(Record, frozen=True, kw_only=True):
    """The images of one sample, in the order given, and what they say together."""

    schema: Literal["edgehemo.estimate/1"] = "edgehemo.estimate/1"
    images: list[EstimateEntry | FailedSource]
    sample: EstimateSample


def sample_concentrations(reading: SampleReading) -> dict[str, Any]:
    """The fields of `Concentrations`: values, or null for each with the reason."""
    if reading.estimate is not None:
        return concentrations(reading.estimate)
    why = reading.withheld
    if why is None:
        return withheld_concentrations("withheld", "SAMPLE_WITHHELD")
    return withheld_concentrations(why.reason, why.code)


def sample_indices(reading: SampleReading) -> SampleIndicesEntry | None:
    """A sample's pooled indices as files have them."""
    return None if reading.indices is None else SampleIndicesEntry.of_sample(reading.indices)
