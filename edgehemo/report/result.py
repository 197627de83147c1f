"""The record of a screening: what result.json holds, and what the report is drawn from.

Its JSON Schema is edgehemo/schemas/screen-1.schema.json, made from the records here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from msgspec import Meta

from edgehemo.anaemia.who_grade import AnaemiaGrade
from edgehemo.capture.protocol import FailedSource
from edgehemo.capture.sources import camera_spec
from edgehemo.cells.cell import Cell
from edgehemo.cells.output import KindCounts, KindIntervals
from edgehemo.estimate.output import (
    AnaemiaScreenEntry,
    Concentrations,
    IndicesEntry,
    SampleIndicesEntry,
)
from edgehemo.field.scale import ScaleSource
from edgehemo.files.strict import Count, NonNegative, Positive, Record, Sha256
from edgehemo.guidance.withheld import Doubt, SampleFinding, Withheld
from edgehemo.quality.check import Check
from edgehemo.screening.cell_types import SampleTypes
from edgehemo.screening.field import FieldReading
from edgehemo.screening.labels import SampleLabels
from edgehemo.screening.provenance import Provenance
from edgehemo.screening.recorded import AuditHead, RecordedAs
from edgehemo.screening.sample import SampleReading, UnreadableImage
from edgehemo.screening.sample_output import sample_concentrations, sample_indices
from edgehemo.screening.stopping import StopReason
from edgehemo.version import __version__

SCREEN_SCHEMA: Literal["edgehemo.screen/1"] = "edgehemo.screen/1"
NOTICE = (
    "For research and screening only: this is not a diagnosis. "
    "Confirm every result with a laboratory measurement before anyone is treated on it."
)
SIMULATED_NOTICE = (
    "SIMULATED: these pictures were drawn by the simulated microscope. "
    "No person, no blood and no real instrument stands behind any number here."
)

DEMONSTRATION_NOTICE = (
    "DEMONSTRATION: the calibration stands on too few samples. Its numbers show how the procedure "
    "works; their accuracy is not known."
)


class SoftwareEntry(Record, frozen=True, kw_only=True):
    """What a result was made by."""

    name: Literal["edgehemo"] = "edgehemo"
    version: str


class NamedDigest(Record, frozen=True, kw_only=True):
    """A model bundle or a profile: what it is called and the SHA-256 of its content."""

    name: str
    sha256: Sha256


class ProvenanceEntry(Record, frozen=True, kw_only=True):
    """What a result was made with; profile: null without one."""

    software: SoftwareEntry
    created_at: Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
    bundle: NamedDigest
    profile: NamedDigest | None
    um_per_px_given: Positive | None

    @classmethod
    def of(cls, provenance: Provenance) -> ProvenanceEntry:
        profile = provenance.profile_digest
        return cls(
            software=SoftwareEntry(version=__version__),
            created_at=provenance.created_at.isoformat(timespec="seconds"),
            bundle=NamedDigest(name=provenance.bundle_name, sha256=provenance.bundle_digest),
            profile=None
            if profile is None
            else NamedDigest(name=provenance.profile_name or "", sha256=profile),
            um_per_px_given=provenance.um_per_px_given,
        )


class FieldEntry(Record, frozen=True, kw_only=True):
    """One image; a refused field has checks and no number. image: the file's name without its
    folders, or the camera's frame. width, height: px. picture: the drawn field, relative to
    result.json.
    """

    image: str
    accepted: bool
    width: Annotated[int, Meta(ge=1)]
    height: Annotated[int, Meta(ge=1)]
    um_per_px: Positive
    scale_source: ScaleSource
    picture: str | None
    checks: tuple[Check, ...]
    counts: KindCounts | None
    interior_counts: KindIntervals | None
    interior_area_mm2: float | None
    indices: IndicesEntry | None
    cells: tuple[Cell, ...] | None


class SampleEntry(Concentrations, frozen=True, kw_only=True):
    """How much of the sample was read, and what it says together.

    doubts: why the images may not be of one sample, empty for most. findings: what a person must
    look at, empty for most. counts: interior counts over the accepted fields. counting_error:
    relative half width of the red count's 95 % Poisson interval. types: of the cells of accepted
    fields that the border does not cut; null where withheld or where the bundle names no cells.
    The others are those of `Concentrations`.
    """

    images: Count
    accepted: Count
    refused: Count
    unreadable: Count
    stopped_by: StopReason
    doubts: tuple[Doubt, ...]
    findings: tuple[SampleFinding, ...]
    counts: KindIntervals
    counting_error: NonNegative | None
    indices: SampleIndicesEntry | None
    types: SampleTypes | None

    @classmethod
    def of(cls, reading: SampleReading) -> SampleEntry:
        return cls(
            images=len(reading.images),
            accepted=len(reading.accepted),
            refused=len(reading.refused),
            unreadable=len(reading.unreadable),
            stopped_by=reading.stopped_by,
            doubts=reading.doubts,
            findings=reading.findings,
            counts=KindIntervals.of(reading.counts),
            counting_error=reading.counting_error,
            indices=sample_indices(reading),
            types=None if reading.types is None else reading.types.rounded(),
            **sample_concentrations(reading),
        )


class ScreeningRecord(Record, frozen=True, kw_only=True):
    """The result of screening one sample. For research and screening only, never a diagnosis. A
    field or sample that was refused carries reasons and actions and no number.

    labels: what the operator calls the sample. simulated: a simulated microscope was a source; no
    real blood stands behind it. images: one entry an input, in the order given. anaemia: the WHO
    grade of the estimated haemoglobin, all that is kept of the person; anaemia_reason: why it is
    null, else empty. anaemia_screen: how the fields look to a network, where it was asked for;
    anaemia_screen_reason: why it is null, else empty. result_id: what it is called in the records,
    null where it was not stored; audit: the head of their chain once it was.
    """

    schema: str
    notice: str
    labels: SampleLabels
    simulated: bool
    outcome: Literal["reported", "withheld"]
    withheld: Withheld | None
    images: list[FieldEntry | FailedSource]
    sample: SampleEntry
    anaemia: AnaemiaGrade | None
    anaemia_reason: str
    anaemia_screen: AnaemiaScreenEntry | None
    anaemia_screen_reason: str
    provenance: ProvenanceEntry
    result_id: str | None = None
    audit: AuditHead | None = None


# What they are the record above says, in their schemas too.
class ScreenOutput(ScreeningRecord, frozen=True, kw_only=True):  # noqa: D101
    schema: Literal["edgehemo.screen/1"] = SCREEN_SCHEMA


class DemoOutput(ScreeningRecord, frozen=True, kw_only=True):  # noqa: D101
    schema: Literal["edgehemo.demo/1"] = "edgehemo.demo/1"


Output = TypeVar("Output", bound=ScreeningRecord)


def _recorded(
    kind: Callable[..., Output],
    reading: SampleReading,
    provenance: Provenance,
    drawn: Mapping[int, str],
    labels: SampleLabels,
    recorded: RecordedAs | None,
) -> Output:
    screened = reading.anaemia_screen
    return kind(
        notice=NOTICE,
        labels=labels,
        simulated=provenance.simulated,
        outcome="withheld" if reading.withheld is not None else "reported",
        withheld=reading.withheld,
        images=[
            _image_entry(image, drawn.get(index)) for index, image in enumerate(reading.images)
        ],
        sample=SampleEntry.of(reading),
        anaemia=reading.anaemia.rounded() if reading.anaemia is not None else None,
        anaemia_reason=reading.anaemia_reason,
        anaemia_screen=None if screened is None else AnaemiaScreenEntry.of(screened),
        anaemia_screen_reason=reading.anaemia_screen_reason,
        provenance=ProvenanceEntry.of(provenance),
        result_id=None if recorded is None else recorded.result_id,
        audit=None if recorded is None else recorded.audit,
    )


def name_of(source: str) -> str:
    """What a result calls a source: a file's name without its folders, a camera as it is."""
    return source if camera_spec(source) is not None else Path(source).name


def _image_entry(
    image: FieldReading | UnreadableImage, picture: str | None
) -> FieldEntry | FailedSource:
    """One entry of ``images``; a refused field has checks and no number."""
    name = name_of(image.image)
    if isinstance(image, UnreadableImage):
        return FailedSource(name, image.error.replace(image.image, name))
    cells = image.cells
    return FieldEntry(
        image=name,
        accepted=image.accepted,
        width=image.width,
        height=image.height,
        um_per_px=image.um_per_px,
        scale_source=image.scale_source,
        picture=picture,
        checks=image.quality.checks,
        counts=KindCounts.of(cells.counts) if cells is not None else None,
        interior_counts=KindIntervals.of(cells.interior_counts) if cells is not None else None,
        interior_area_mm2=cells.interior_area_mm2 if cells is not None else None,
        indices=IndicesEntry.of(image.indices) if image.indices is not None else None,
        cells=tuple(cell.rounded() for cell in cells.cells) if cells is not None else None,
    )


@dataclass(frozen=True)
class ScreeningResult:
    """What a screening came to: the reading, what it was made with, and where the report lies.

    pictures: index of an image -> its drawn field, relative to the report. report: the page's
    path, None when nothing was written. recorded: under what it is stored, None where it is not.
    """

    reading: SampleReading
    provenance: Provenance
    pictures: Mapping[int, str] = field(default_factory=dict)
    report: Path | None = None
    labels: SampleLabels = field(default_factory=SampleLabels)
    recorded: RecordedAs | None = None

    def __repr__(self) -> str:
        report = f", {self.report}" if self.report is not None else ""
        return f"<ScreeningResult {self.reading!r}{report}>"

    @cached_property
    def output(self) -> ScreenOutput:
        """What result.json holds."""
        return self.written_as(ScreenOutput)

    @cached_property
    def record(self) -> dict[str, Any]:
        """The JSON values of result.json."""
        return self.output.model_dump()

    def written_as(self, kind: Callable[..., Output]) -> Output:
        """The same as the record of another command."""
        return _recorded(
            kind, self.reading, self.provenance, self.pictures, self.labels, self.recorded
        )
