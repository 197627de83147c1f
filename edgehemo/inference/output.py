"""What `edgehemo verify --json` writes."""

from __future__ import annotations

from typing import Literal

from edgehemo.bundle.bundle import Trust
from edgehemo.bundle.manifest import ArtefactFormat, Precision
from edgehemo.files.strict import Count, Record, Sha256
from edgehemo.inference.verification import Verdict, VerifiedArtefact


class VerifyEntry(Record, frozen=True, kw_only=True):
    """One artefact. parity: figures of the export's gate and, where it ran here, what was seen."""

    model: str
    format: ArtefactFormat
    precision: Precision
    file: str
    bytes: Count
    sha256: Sha256
    parity: dict[str, float]
    gate: Verdict
    runtime: str | None
    problem: str | None

    @classmethod
    def of(cls, row: VerifiedArtefact) -> VerifyEntry:
        return cls(
            model=row.model,
            format=row.artefact.format,
            precision=row.artefact.precision,
            file=row.artefact.file,
            bytes=row.artefact.total_bytes,
            sha256=row.artefact.sha256,
            parity=row.parity,
            gate=row.gate,
            runtime=row.runtime,
            problem=row.problem,
        )


class VerifyOutput(Record, frozen=True, kw_only=True):
    """Whether a bundle is whole, vouched for, and answers here as where it was made.

    sha256: of its manifest. problems: of the bundle as a whole.
    """

    schema: Literal["edgehemo.verify/1"] = "edgehemo.verify/1"
    bundle: str
    name: str
    serial: int
    sha256: Sha256
    trust: Trust
    signed_by: str | None
    problems: list[str]
    artefacts: list[VerifyEntry]
