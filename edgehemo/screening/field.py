"""What was read of one field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from edgehemo.cells.cell import FieldCells
from edgehemo.estimate.indices import field_indices
from edgehemo.estimate.values import FieldIndices
from edgehemo.field.canonical import CanonicalField, canonical_field
from edgehemo.field.scale import ScaleSource
from edgehemo.images.frame import Frame
from edgehemo.quality import check_field
from edgehemo.quality.check import QualityReport

if TYPE_CHECKING:
    from edgehemo.cells.typing import CellTyper
    from edgehemo.estimate.network import FieldNetworks
    from edgehemo.profile.profile import CalibrationProfile


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


class Finder(Protocol):
    """What finds the cells of a canonical field; their boxes are in pixels of the frame."""

    def find(self, field: CanonicalField, /) -> FieldCells: ...


def read_field(
    frame: Frame,
    finder: Finder,
    *,
    profile: CalibrationProfile | None = None,
    um_per_px: float | None = None,
    envelope: Mapping[str, Any] | None = None,
    typer: CellTyper | None = None,
    networks: FieldNetworks | None = None,
    sharpest: float | None = None,
) -> FieldReading:
    """Make a frame canonical, find its cells, judge it, and measure it where it was accepted.

    envelope: the bundle's, see `edgehemo.quality.envelope`. typer: names the cells of an accepted
    field. networks: read it as a whole. sharpest: the slide's best focus value so far, per um.

    Raises FieldError when no canonical field can be made of it.
    """
    canonical = canonical_field(frame, um_per_px=um_per_px, profile=profile)
    cells = finder.find(canonical)
    quality = check_field(
        canonical, frame, cells=cells, profile=profile, envelope=envelope, sharpest=sharpest
    )
    accepted = quality.accepted
    if accepted and typer is not None:
        cells = typer.typed(canonical, cells)
    indices = field_indices(canonical, cells) if accepted else None
    if indices is not None and networks is not None:
        indices = replace(indices, model=networks.measure(canonical))
    return FieldReading(
        image=frame.source,
        width=frame.width,
        height=frame.height,
        um_per_px=canonical.frame_um_per_px,
        scale_source=canonical.scale_source,
        quality=quality,
        cells=cells if accepted else None,
        indices=indices,
    )
