"""What `edgehemo bench --json` writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import UNSET, UnsetType

from edgehemo.bench.artefacts import ArtefactTime, Lacking, Recommendation
from edgehemo.bench.stages import StageTime
from edgehemo.bundle.manifest import ArtefactFormat, Precision
from edgehemo.files.strict import Count, NonNegative, Record, Sha256, Share


class RuntimeEntry(Record, frozen=True, kw_only=True):
    """What the stages ran in."""

    name: str
    version: str
    threads: Count


class TimedImage(Record, frozen=True, kw_only=True):
    """An image it was timed on."""

    image: str


class ArtefactTimeEntry(Record, frozen=True, kw_only=True):
    """One artefact at one number of threads; ms of one sample. problem: why it was not timed;
    then all that would have been measured is left out.
    """

    model: str
    format: ArtefactFormat
    precision: Precision
    threads: Count
    bytes: Count
    problem: str | None
    runtime: str | UnsetType | None = UNSET
    input_shape: tuple[int, ...] | UnsetType = UNSET
    median_ms: NonNegative | UnsetType = UNSET
    p95_ms: NonNegative | UnsetType = UNSET
    cold_start_ms: NonNegative | UnsetType = UNSET
    peak_memory_mb: NonNegative | UnsetType = UNSET
    celsius: float | UnsetType | None = UNSET
    throttled: int | UnsetType | None = UNSET

    @classmethod
    def of(cls, row: ArtefactTime) -> ArtefactTimeEntry:
        entry = cls(
            model=row.model,
            format=row.format,
            precision=row.precision,
            threads=row.threads,
            bytes=row.bytes,
            problem=row.problem,
        )
        if row.problem is not None:
            return entry
        return entry.model_copy(
            update={
                "runtime": row.runtime,
                "input_shape": row.input_shape,
                "median_ms": round(row.median_ms, 3),
                "p95_ms": round(row.p95_ms, 3),
                "cold_start_ms": round(row.cold_start_ms, 1),
                "peak_memory_mb": round(row.peak_memory_mb, 1),
                "celsius": row.celsius,
                "throttled": row.throttled,
            }
        )


class RecommendationEntry(Record, frozen=True, kw_only=True):
    """What to run here; total_ms: of all models together."""

    runtime: ArtefactFormat
    precision: Precision
    threads: Count
    total_ms: NonNegative

    @classmethod
    def of(cls, choice: Recommendation) -> RecommendationEntry:
        return cls(
            runtime=choice.format,
            precision=choice.precision,
            threads=choice.threads,
            total_ms=round(choice.total_ms, 3),
        )


class BenchOutput(Record, frozen=True, kw_only=True):
    """How long a screening takes on this machine, stage by stage, and each artefact.

    open_ms: until the models were open. field_ms: of one field, cells_ms: until its cells are
    found and named; network_share: of the finder's network in the field. on_request: what the
    networks would add that a screening here runs only where they are asked for. lacking: precisions
    that are likely faster on this processor and that the bundle does not hold. recommended: null
    where no choice serves every model that a screening here runs.
    """

    schema: Literal["edgehemo.bench/1"] = "edgehemo.bench/1"
    machine: Mapping[str, str]
    runtime: RuntimeEntry
    bundle_sha256: Sha256
    images: list[TimedImage]
    runs: Count
    open_ms: NonNegative
    peak_memory_mb: NonNegative
    stages: list[StageTime]
    field_ms: NonNegative
    cells_ms: NonNegative
    network_share: Share
    on_request: list[StageTime]
    lacking: list[Lacking]
    artefacts: list[ArtefactTimeEntry]
    recommended: RecommendationEntry | None
