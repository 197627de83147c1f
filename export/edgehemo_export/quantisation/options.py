"""What an export is asked for, and what it says of each artefact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgehemo.bundle.manifest import Artefact, ArtefactFormat, Precision
from edgehemo.errors import UsageError
from edgehemo_export.quantisation.formats import ExportFormat, calibrated_among

# Told while it goes on, a line each.
Say = Callable[[str], None]


@dataclass(frozen=True)
class ExportRow:
    """One artefact's result, for the command's table and JSON.

    artefact: None where it failed its gate. seconds: of making and verifying, 0 where it was taken
    over. problem: which gate it failed, and by how much, with each recipe that was tried.
    """

    model: str
    format: ArtefactFormat
    precision: Precision
    artefact: Artefact | None
    seconds: float
    problem: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def gate(self) -> str:
        return "pass" if self.artefact is not None else "fail"


@dataclass(frozen=True)
class ExportOptions:
    """What the command line asks for.

    evaluation: a data root with labels for the parity gates (the tune part of its split); by
    default the calibration's. accuracy_control: where a gate fails, go on to the other recipes, at
    last to those that leave more in float; else the first decides. fresh: take nothing over from an
    earlier bundle. keep_others: the earlier bundle's models of which no checkpoint is given stay as
    they are.
    """

    formats: Sequence[ExportFormat]
    precisions: Sequence[Precision]
    calibration: Path | None
    evaluation: Path | None
    name: str = "edgehemo"
    accuracy_control: bool = True
    fresh: bool = False
    keep_others: bool = False
    threads: int = 1

    def refuse_uncalibrated(self) -> None:
        """UsageError where a precision needs pictures to be calibrated on, and there are none."""
        needing = calibrated_among(self.precisions)
        if needing and self.calibration is None:
            raise UsageError(
                f"{needing[0]} needs --calibration DIR: real fields to measure activations on"
            )

    @property
    def evaluation_root(self) -> Path:
        root = self.evaluation or self.calibration
        if root is None:
            raise UsageError("give --evaluation DIR: a data root with labels, to check parity on")
        return root
