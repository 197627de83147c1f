"""What `edgehemo quality`, `cells` and `classify` write as JSON: of images one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import UNSET, UnsetType

from edgehemo.capture.protocol import FailedSource
from edgehemo.cells.cell import Cell
from edgehemo.cells.output import KindCounts, KindIntervals
from edgehemo.field.scale import ScaleSource
from edgehemo.files.strict import Count, NonNegative, Positive, Record, Share
from edgehemo.quality.check import Check
from edgehemo.screening.field import FieldReading

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
