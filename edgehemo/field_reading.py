"""What was read of one field."""

from __future__ import annotations

from dataclasses import dataclass

from edgehemo.cells.records import FieldCells
from edgehemo.estimate.records import FieldIndices
from edgehemo.quality.check import QualityReport
from edgehemo.scale import ScaleSource


@dataclass(frozen=True, slots=True)
class FieldReading:
    """One field and what was read of it; cells and indices are None where quality refused it."""

    image: str
    width: int
    height: int
    um_per_px: float
    scale_source: ScaleSource
    quality: QualityReport
    cells: FieldCells | None
    indices: FieldIndices | None

    @property
    def accepted(self) -> bool:
        return self.quality.accepted
