"""What a task brings to the training loop, and how a run of it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from edgehemo.errors import UsageError
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.configuration import Configuration
from edgehemo_export.data.splits import ModelSplit, joint_split, model_split
from edgehemo_export.nets.logit_net import LogitNet

BatchT = TypeVar("BatchT")
Progress = Callable[[int, dict[str, float]], None]


class LoopConfig(Configuration):
    """What decides a run beside the task's own settings.

    average_decay: of the running average of weights that is validated and kept. validate_every:
    steps between scores on the tune part, 0 for none. patience: validations without a better
    score after which training stops early, 0 for never.
    """

    seed: int
    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_steps: int
    clip_norm: float
    average_decay: float
    validate_every: int = 0
    patience: int = 0


class TaskConfiguration(Configuration):
    """What every task's configuration holds.

    initial_share: of the weights a run began with in those it ends with.
    """

    loop: LoopConfig
    initial_share: float = Field(default=0.0, ge=0.0, le=1.0)


class LearningTask(Protocol[BatchT]):
    """What the loop asks of a task."""

    def batch(self, size: int, rng: np.random.Generator, generator: torch.Generator) -> BatchT:
        """Draw one batch, on the CPU; all chance comes from the two generators."""
        ...

    def loss(
        self, net: nn.Module, batch: BatchT, place: torch.device
    ) -> tuple[Tensor, dict[str, float]]:
        """The loss and its named parts. ``net`` answers logits (see `LogitsOf`)."""
        ...

    def validate(self, net: LogitNet, place: torch.device) -> dict[str, float]:
        """Scores of the averaged weights on the tune part; ``score`` decides, higher is better.

        ``net`` is the plain network in evaluation mode. Empty where the task has no such score.
        """
        ...


@dataclass
class TrainingState:
    """What a resumed run goes on from; best_* belong to the best validation so far."""

    step: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)
    best_score: float | None = None
    best_step: int = 0
    stale: int = 0
    stopped_early: bool = False


@dataclass(frozen=True)
class Run:
    """How a run goes; what is learned is the configuration's business.

    resume: from the state in the work folder. initial: a checkpoint to start from. teacher: one
    whose answers are learned from, where the task can. measured: one of the same configuration on
    the training part alone, whose thresholds and figures a run on all parts bears. leave_out: a
    source kept out whole, of training and tuning. progress: called with step and figures.
    stop_after: ends at that step, its state stored, so that a long run can be spread over several.
    device: a name of PyTorch's; the GPU where there is one, else the CPU.
    """

    resume: bool = True
    initial: Checkpoint | None = None
    teacher: Checkpoint | None = None
    measured: Checkpoint | None = None
    leave_out: str | None = None
    progress: Progress | None = None
    show_progress: bool = False
    stop_after: int | None = None
    device: str | None = None

    @property
    def split(self) -> ModelSplit:
        """What may set thresholds and calibration: nothing that the first weights, or a teacher,
        were trained on.
        """
        behind = [run for run in (self.initial, self.teacher) if run is not None]
        return joint_split(model_split(run.task, run.record) for run in behind)


def check_initial(config: TaskConfiguration, *, begun: bool) -> None:
    """Raise UsageError where a share of the first weights is wanted and there are none."""
    if config.initial_share > 0 and not begun:
        raise UsageError("initial_share is of the weights a run begins with: give --init EARLIER")
