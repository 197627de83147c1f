"""What the exporter asks of a model: its graph, its data, and how good it must stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgehemo.bundle.manifest import Artefact, ModelEntry, ModelTask, Precision
from edgehemo.inference import Runner
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.quantisation.calibration_set import CalibrationSet
from edgehemo_export.quantisation.formats import ALL_PRECISIONS
from edgehemo_export.quantisation.gates import Figures, Gate


class HeldOut(Protocol):
    """Labelled kept-out samples of one model."""

    @property
    def files(self) -> Sequence[Path]:
        """The files behind the samples, to refuse a calibration set that shares one."""
        ...

    @property
    def inputs(self) -> Sequence[NDArray[np.uint8]]:
        """Model inputs uint8 (1, h, w, 3), for the numerical comparison with PyTorch."""
        ...

    def measure(self, runner: Runner) -> Figures:
        """The task's own metric over the samples, through any runner."""
        ...


@dataclass(frozen=True)
class ExportSubject:
    """A trained model as the exporter sees it.

    net: uint8 (n, h, w, 3) canonical codes RGB to float32, all pre- and postprocessing inside.
    example: uint8 (1, h, w, 3), a typical input. free_size_multiple: where height and width are
    free, the step they come in, else None. float_layers: names of modules that int8 recipes keep
    in float from the first try on (heads that would clip). calibration: samples from a data root
    or a folder. held_out: samples for the parity from a data root. gates: what an artefact is held
    to, its task's of `TASK_GATES`. entry: the manifest's entry around the artefacts, given the
    checkpoint's SHA-256. estimates: of a regression, how many of its first outputs are estimates,
    which must follow PyTorch beyond what was calibrated on; 0 for others. precisions: those in
    which the network is of use; why_not: why no others.
    """

    name: str
    task: ModelTask
    net: nn.Module
    example: NDArray[np.uint8]
    free_size_multiple: int | None
    float_layers: tuple[str, ...]
    calibration: Callable[[Path], CalibrationSet]
    held_out: Callable[[Path], HeldOut]
    gates: tuple[Gate, ...]
    entry: Callable[[list[Artefact], str], ModelEntry]
    estimates: int = 0
    precisions: tuple[Precision, ...] = ALL_PRECISIONS
    why_not: str = ""


@dataclass(frozen=True)
class TrainedModel:
    """What the exporter is handed: a checkpoint's file and content, and the model in it.

    heads: models on its features that its graph answers for as well (``subject`` is of all).
    """

    path: Path
    checkpoint: Checkpoint
    subject: ExportSubject
    heads: tuple[TrainedModel, ...] = ()
