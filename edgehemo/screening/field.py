"""The one reading of a field: from a frame to what is known of it.

frame > canonical field > cells > quality > types > indices > networks; the first two again where
the cells contradict the scale that was read from them (`scale_check`). Screening, the commands, the
benchmark, calibration and the training sets all read through `FieldReader`; where one of them
leaves a step out, it says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from edgehemo.cells.cell import FieldCells
from edgehemo.cells.inclusions import with_inclusions
from edgehemo.field.canonical import CanonicalField, canonical_field
from edgehemo.field.scale import ScaleEstimate, ScaleSource
from edgehemo.images.frame import Frame
from edgehemo.quality import check_field
from edgehemo.quality.check import QualityReport
from edgehemo.quality.stain import background_tint
from edgehemo.screening.scale_check import as_its_slide, settled

if TYPE_CHECKING:
    from edgehemo.bundle.manifest import ModelTask
    from edgehemo.cells.typing import CellClassifier
    from edgehemo.estimate.network import FieldNetworks
    from edgehemo.estimate.values import Circumstances, FieldIndices
    from edgehemo.field.illumination import Illumination
    from edgehemo.profile.profile import CalibrationProfile

Stage = Literal["canonical field", "cells", "quality", "types", "indices", "networks"]
# A context for each stage, entered as it begins and left as it ends.
StageHook = Callable[[Stage], AbstractContextManager[object]]


class Finder(Protocol):
    """What finds the cells of a canonical field; their boxes are in pixels of the frame."""

    def find(self, field: CanonicalField, /) -> FieldCells: ...


class Typer(Protocol):
    """What names the cells that were found; `edgehemo.cells.typing.CellTyper` is the real one."""

    @property
    def classifiers(self) -> Mapping[ModelTask, CellClassifier]: ...

    def typed(self, field: CanonicalField, cells: FieldCells, /) -> FieldCells: ...


class FieldCheck(Protocol):
    """What judges a field; `edgehemo.quality.check_field` is the real one."""

    def __call__(
        self,
        field: CanonicalField,
        frame: Frame,
        /,
        *,
        cells: FieldCells | None,
        profile: CalibrationProfile | None,
        envelope: Mapping[str, Any] | None,
        sharpest: float | None,
    ) -> QualityReport: ...


@dataclass(frozen=True, slots=True)
class FieldReading:
    """One field and what was read of it; cells and indices are None where quality refused it.

    background_rgb: counts (0 to 255) of the frame's light, None where nobody measured it. place:
    what a screening knows the field's place again by (`repeats.sketch_of`), else empty.
    """

    image: str
    width: int
    height: int
    um_per_px: float
    scale_source: ScaleSource
    quality: QualityReport
    cells: FieldCells | None
    indices: FieldIndices | None
    background_rgb: tuple[float, float, float] | None = None
    place: str = ""

    @property
    def accepted(self) -> bool:
        return self.quality.accepted

    def __repr__(self) -> str:
        verdict = "accepted" if self.accepted else f"refused: {', '.join(self.quality.faults)}"
        found = f", {self.cells!r}" if self.cells is not None else ""
        return (
            f"<FieldReading {self.image} {self.width}x{self.height} px, "
            f"{self.um_per_px:.3g} um/px ({self.scale_source}), {verdict}{found}>"
        )


def _unwatched(_: Stage) -> AbstractContextManager[object]:
    return nullcontext()


@dataclass(frozen=True, slots=True)
class FieldReader:
    """Reads fields, all in the same way.

    finder: None leaves the cells to be estimated from the covered area, as quality and the indices
    can do without a model. check: judges the field. typer: names the cells. networks: read the
    field as a whole. profile: this microscope's. envelope: the bundle's, see
    `edgehemo.quality.envelope`. um_per_px: the scale, where the operator says it.

    measure: False ends after the types, for whoever wants the verdict or the cells alone.
    keep_refused: name and measure a field that quality refused as well; for looking at pictures
    and for calibration where it was asked for, never for a result.
    on_stage: entered at each stage that is reached, so that it can be timed or shown.
    """

    finder: Finder | None
    typer: Typer | None = None
    networks: FieldNetworks | None = None
    profile: CalibrationProfile | None = None
    envelope: Mapping[str, Any] | None = None
    um_per_px: float | None = None
    measure: bool = True
    keep_refused: bool = False
    on_stage: StageHook = _unwatched
    check: FieldCheck = check_field

    def read(
        self, frame: Frame, *, sharpest: float | None = None, slide: ScaleEstimate | None = None
    ) -> FieldReading:
        """Make a frame canonical, find its cells, judge it, and measure it where it was accepted.

        sharpest: the slide's best focus value so far, per pixel of the frame. slide: the scale of
        the slide's other fields, where it is known. Raises FieldError when no canonical field can
        be made of the frame.
        """
        return self.read_canonical(frame, sharpest=sharpest, slide=slide)[0]

    def read_canonical(
        self, frame: Frame, *, sharpest: float | None = None, slide: ScaleEstimate | None = None
    ) -> tuple[FieldReading, CanonicalField]:
        """The same, with the canonical field it was read from, for who measures more of it."""
        canonical, cells = self._found(frame, slide)
        with self.on_stage("quality"):
            quality = self.check(
                canonical,
                frame,
                cells=cells,
                profile=self.profile,
                envelope=self.envelope,
                sharpest=sharpest,
            )
        wanted = quality.accepted or self.keep_refused
        if wanted and cells is not None and self.typer is not None:
            with self.on_stage("types"):
                cells = self.typer.typed(canonical, cells)
        indices = None
        if wanted and self.measure:
            # Whoever wants the verdict or the cells alone does not wait for what measures.
            from edgehemo.estimate.indices import field_indices  # noqa: PLC0415

            with self.on_stage("indices"):
                indices = field_indices(canonical, cells)
            if self.networks is not None:
                with self.on_stage("networks"):
                    indices = replace(indices, model=self.networks.measure(canonical))
            indices = replace(indices, taken=_circumstances(frame, canonical, quality))
        reading = FieldReading(
            image=frame.source,
            width=frame.width,
            height=frame.height,
            um_per_px=canonical.frame_um_per_px,
            scale_source=canonical.scale_source,
            quality=quality,
            cells=cells if wanted else None,
            indices=indices,
            background_rgb=canonical.illumination.background_rgb,
        )
        return reading, canonical

    def _found(
        self, frame: Frame, slide: ScaleEstimate | None
    ) -> tuple[CanonicalField, FieldCells | None]:
        """The canonical field and its cells, at a scale on which both agree where they can."""
        finder = self.finder
        if finder is None:
            return self._canonical(frame), None

        first = self._canonical(frame)

        def seen(canonical: CanonicalField) -> tuple[CanonicalField, FieldCells]:
            with self.on_stage("cells"):
                return canonical, with_inclusions(finder.find(canonical), canonical)

        def remake(at: ScaleEstimate) -> CanonicalField:
            return self._canonical(frame, at, first.illumination)

        def look(at: ScaleEstimate) -> tuple[CanonicalField, FieldCells]:
            return seen(remake(at))

        canonical, cells = settled(*seen(first), look, remake)
        if slide is not None:
            canonical, cells = as_its_slide(canonical, cells, slide, look)
        return canonical, cells

    def _canonical(
        self,
        frame: Frame,
        at: ScaleEstimate | None = None,
        illumination: Illumination | None = None,
    ) -> CanonicalField:
        with self.on_stage("canonical field"):
            return canonical_field(
                frame,
                um_per_px=self.um_per_px,
                profile=self.profile,
                from_cells=at,
                illumination=illumination,
            )


def _circumstances(
    frame: Frame, canonical: CanonicalField, quality: QualityReport
) -> Circumstances:
    """How a field was taken; its sharpness is what quality judged it by."""
    from edgehemo.estimate.values import Circumstances  # noqa: PLC0415  with what measures

    focus = next((check.value for check in quality.checks if check.name == "focus"), None)
    return Circumstances(
        width_px=frame.width,
        height_px=frame.height,
        um_per_px=canonical.frame_um_per_px,
        background_tint=background_tint(canonical.illumination.background_rgb),
        sharpness=focus,
    )
