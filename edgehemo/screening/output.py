"""What `edgehemo quality`, `cells`, `classify` and `estimate` write as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import UNSET, UnsetType

from edgehemo.capture.protocol import FailedSource
from edgehemo.cells.cell import Cell
from edgehemo.cells.output import KindCounts, KindIntervals
from edgehemo.estimate.output import (
    Concentrations,
    IndicesEntry,
    SampleIndicesEntry,
    concentrations,
    withheld_concentrations,
)
from edgehemo.field.scale import ScaleSource
from edgehemo.files.strict import Count, NonNegative, Positive, Record, Share
from edgehemo.guidance.withheld import Withheld
from edgehemo.quality.check import Check
from edgehemo.screening.field import FieldReading
from edgehemo.screening.sample import SampleReading

# The models that `edgehemo classify` asks.
CellModel = Literal["nucleated", "morphology"]


class QualityEntry(Record, frozen=True, kw_only=True):
    """The verdict on one image; accepted where no check failed."""

    image: str
    accepted: bool
    um_per_px: Positive
    scale_source: ScaleSource
    checks: tuple[Check, ...]

    @classmethod
    def of(cls, reading: FieldReading) -> QualityEntry:
        quality = reading.quality
        return cls(
            image=reading.image,
            accepted=quality.accepted,
            um_per_px=reading.um_per_px,
            scale_source=reading.scale_source,
            checks=quality.checks,
        )


class QualityOutput(Record, frozen=True, kw_only=True):
    """One entry an image, in the order given."""

    schema: Literal["edgehemo.quality/1"] = "edgehemo.quality/1"
    images: list[QualityEntry | FailedSource]


class CellsEntry(Record, frozen=True, kw_only=True):
    """The cells of one image. failed: codes of the checks that refused it, if any.
    interior_counts: of cells away from the border, on interior_area_mm2.
    """

    image: str
    width: Count
    height: Count
    um_per_px: Positive
    scale_source: ScaleSource
    accepted: bool
    failed: tuple[str, ...]
    counts: KindCounts
    interior_counts: KindIntervals
    interior_area_mm2: NonNegative
    cells: tuple[Cell, ...]

    @classmethod
    def of(cls, reading: FieldReading) -> CellsEntry:
        """Of a reading that kept its cells whatever the verdict."""
        assert reading.cells is not None, "refused fields are kept"
        return cls(
            image=reading.image,
            width=reading.width,
            height=reading.height,
            um_per_px=reading.um_per_px,
            scale_source=reading.scale_source,
            accepted=reading.accepted,
            failed=reading.quality.faults,
            counts=KindCounts.of(reading.cells.counts),
            interior_counts=KindIntervals.of(reading.cells.interior_counts),
            interior_area_mm2=reading.cells.interior_area_mm2,
            cells=tuple(cell.rounded() for cell in reading.cells.cells),
        )


class CellsOutput(Record, frozen=True, kw_only=True):
    """One entry an image, in the order given. Boxes are in pixels of the image."""

    schema: Literal["edgehemo.cells/1"] = "edgehemo.cells/1"
    images: list[CellsEntry | FailedSource]


class ClassifyEntry(Record, frozen=True, kw_only=True):
    """What the one cell of an image is. certain: exactly one class reached its threshold, the cell
    looks like those the model learnt from, and its outline allows the type; candidates: all classes
    that reached theirs. familiarity: how like those cells, from 0 to 1; unlike: too little for a
    name. outline_allows: false where a red cell's shape is not that of the type. The probability
    that it is none of the classes stands apart, where the model knows such.
    """

    image: str
    width: Count
    height: Count
    um_per_px: Positive
    scale_source: ScaleSource
    type: str
    score: Share
    certain: bool
    candidates: tuple[str, ...]
    unlike: bool
    outline_allows: bool
    familiarity: Share | None
    probabilities: Mapping[str, Share]
    not_nucleated_probability: Share | UnsetType = UNSET
    not_red_cell_probability: Share | UnsetType = UNSET


class ClassifyOutput(Record, frozen=True, kw_only=True):
    """One entry an image, in the order given. coverage: the share of cells whose true class is
    among the candidates, stated for cells like those of the calibration.
    """

    schema: Literal["edgehemo.classify/1"] = "edgehemo.classify/1"
    model: CellModel
    images: list[ClassifyEntry | FailedSource]
    coverage: Share | UnsetType = UNSET


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
