"""Models that stand on another one's features: one graph for both, the trunk run once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import Artefact, ModelEntry
from edgehemo.inference import Runner
from edgehemo_export.checkpoints import Checkpoint, weights_digest
from edgehemo_export.models.registry import subject_of
from edgehemo_export.nets.resnet_fields import AnaemiaScreenNet, FieldEstimatorNet, FieldTrunkNet
from edgehemo_export.quantisation.gates import Figures
from edgehemo_export.quantisation.subject import ExportSubject, HeldOut, TrainedModel


def trained_models(loaded: Sequence[tuple[Path, Checkpoint]]) -> list[TrainedModel]:
    """The models in checkpoints as the exporter takes them: a head joins the graph of its trunk
    where that is among them, and brings a graph with a trunk of its own where it is not.

    Raises as `subject_of`.
    """
    alone = [
        TrainedModel(path, checkpoint, subject_of(path, checkpoint)) for path, checkpoint in loaded
    ]
    models = []
    for model in alone:
        heads = tuple(head for head in alone if _stands_on(head, model))
        if heads:
            (head,) = heads  # checkpoints are of different tasks, and one task is a head
            subject = joined_subject(model.subject, head.subject)
            models.append(replace(model, subject=subject, heads=heads))
        elif not any(_stands_on(model, other) for other in alone):
            models.append(model)
    return models


def _stands_on(head: TrainedModel, other: TrainedModel) -> bool:
    trunk = head.checkpoint.trunk
    return trunk is not None and weights_digest(other.checkpoint.weights) == trunk.sha256


def joined_subject(trunk: ExportSubject, head: ExportSubject) -> ExportSubject:
    """A field estimator and the screen on its features as one graph, held to the gates of both."""
    assert isinstance(trunk.net, FieldEstimatorNet) and isinstance(head.net, AnaemiaScreenNet)
    split = trunk.entry([], "").output_values

    def held_out(root: Path) -> JoinedHeldOut:
        return JoinedHeldOut(trunk.held_out(root), head.held_out(root), split)

    def entry(artefacts: list[Artefact], checkpoint_sha256: str) -> ModelEntry:
        own = trunk.entry(artefacts, checkpoint_sha256)
        return own.model_copy(update={"heads": [head.task]})

    return replace(
        trunk,
        net=FieldTrunkNet(trunk.net, head.net).eval(),
        held_out=held_out,
        gates=(*trunk.gates, *head.gates),
        entry=entry,
    )


@dataclass(frozen=True)
class JoinedHeldOut:
    """Kept-out samples of a trunk and of its head, whose values begin at ``split``."""

    trunk: HeldOut
    head: HeldOut
    split: int

    @property
    def files(self) -> Sequence[Path]:
        return [*self.trunk.files, *self.head.files]

    @property
    def inputs(self) -> Sequence[NDArray[np.uint8]]:
        return self.trunk.inputs

    def measure(self, runner: Runner) -> Figures:
        """The figures of both, each over its own samples."""
        return self.trunk.measure(runner) | self.head.measure(_Behind(runner, self.split))


class _Behind:
    """A runner's answers from a place on."""

    def __init__(self, runner: Runner, first: int) -> None:
        self._runner, self._first = runner, first
        self.name, self.version = runner.name, runner.version

    def run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._runner.run(codes)[..., self._first :]
