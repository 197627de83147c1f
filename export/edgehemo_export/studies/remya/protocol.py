"""The paper's protocol: Adam at a constant rate, so many epochs, the best validated state kept."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgehemo_export.studies.remya.augmentation import augmented
from edgehemo_export.studies.remya.balancing import Shown
from edgehemo_export.studies.remya.configuration import (
    AugmentationConfig,
    Step,
    TrainingConfig,
)
from edgehemo_export.studies.remya.splitting import Indices
from edgehemo_export.training.arithmetic import mixed_precision

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Epoch:
    """Means over an epoch; of training pictures as they were shown, augmented, while it ran."""

    train_loss: float
    train_accuracy: float
    validate_loss: float
    validate_accuracy: float


@dataclass(frozen=True)
class Trained:
    """net: in the state kept, evaluation mode. best: its epoch, from 1."""

    net: nn.Module
    curve: Sequence[Epoch]
    best: int


@dataclass(frozen=True)
class Lesson:
    """What a network is taught. pictures: uint8 (n, side, side, 3); labels: (n,). shown: see
    `balancing`; validate: indices. focal_gamma: 0 for plain cross-entropy.
    """

    pictures: NDArray[np.uint8]
    labels: NDArray[np.intp]
    shown: Shown
    validate: Indices
    augmentation: AugmentationConfig
    without: tuple[Step, ...] = ()
    focal_gamma: float = 0.0


def trained(
    net: nn.Module,
    lesson: Lesson,
    config: TrainingConfig,
    seed: int,
    tell: Callable[[str], None] = lambda says: None,
) -> Trained:
    """Train and keep the state of the highest validation accuracy.

    Of several such epochs the one of the lowest validation loss is kept (the paper does not say).
    """
    optimiser = torch.optim.Adam(net.parameters(), lr=config.learning_rate)
    weights = lesson.shown.class_weights
    class_weights = None if weights is None else torch.tensor(weights, dtype=torch.float32)
    curve: list[Epoch] = []
    best, kept = 0, net.state_dict()
    for number in range(1, config.epochs + 1):
        rng = np.random.default_rng([seed, 5, number])
        net.train()
        total = right = seen = 0.0
        for batch in batches(rng.permutation(lesson.shown.indices), config.batch_size):
            x = as_input(
                np.stack(
                    [
                        augmented(lesson.pictures[i], lesson.augmentation, lesson.without, rng)
                        for i in batch
                    ]
                )
            )
            y = torch.from_numpy(lesson.labels[batch])
            with mixed_precision(CPU):
                logits = net(x).float()
            loss = loss_of(logits, y, class_weights, lesson.focal_gamma)
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimiser.step()
            total += float(loss.detach()) * len(batch)
            right += float((logits.argmax(1) == y).sum())
            seen += len(batch)
        logits = answers(net, lesson.pictures[lesson.validate], config.batch_size)
        y = torch.from_numpy(lesson.labels[lesson.validate])
        epoch = Epoch(
            train_loss=total / seen,
            train_accuracy=right / seen,
            validate_loss=float(nn.functional.cross_entropy(logits, y)),
            validate_accuracy=float((logits.argmax(1) == y).float().mean()),
        )
        if not curve or _better(epoch, curve[best - 1]):
            best, kept = number, copy.deepcopy(net.state_dict())
        curve.append(epoch)
        tell(f"epoch {number} of {config.epochs}")
    net.load_state_dict(kept)
    return Trained(net.eval(), curve, best)


def loss_of(
    logits: Tensor, labels: Tensor, class_weights: Tensor | None, focal_gamma: float
) -> Tensor:
    """Cross-entropy (n, 2), weighted by class, or focal (Lin et al. 2017): what is already right
    counts by ``(1 - p) ** gamma``.
    """
    if focal_gamma == 0:
        return nn.functional.cross_entropy(logits, labels, weight=class_weights)
    each = nn.functional.cross_entropy(logits, labels, reduction="none")
    return ((1 - torch.exp(-each)) ** focal_gamma * each).mean()


def answers(net: nn.Module, pictures: NDArray[np.uint8], batch_size: int) -> Tensor:
    """Logits float32 (n, 2) of pictures uint8 (n, side, side, 3), in evaluation mode."""
    net.eval()
    found: list[Tensor] = []
    with torch.inference_mode(), mixed_precision(CPU):
        for start in range(0, len(pictures), batch_size):
            found.append(net(as_input(pictures[start : start + batch_size])).float())
    return torch.cat(found) if found else torch.zeros(0, 2)


def scores(net: nn.Module, pictures: NDArray[np.uint8], batch_size: int) -> NDArray[np.float64]:
    """Probabilities (n,) of anaemia-like."""
    probabilities = torch.softmax(answers(net, pictures, batch_size).double(), dim=1)
    return np.asarray(probabilities[:, 1].numpy(), np.float64)


def as_input(pictures: NDArray[np.uint8]) -> Tensor:
    """uint8 (n, side, side, 3) to float (n, 3, side, side) from 0 to 1: as the paper, no more."""
    x = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2)
    return (x.float() / 255.0).contiguous(memory_format=torch.channels_last)


def batches(order: Indices, size: int) -> Iterator[Indices]:
    """Batches of so many in the given order; a single picture left over joins the one before it,
    for a batch norm has nothing to measure on one.
    """
    starts = list(range(0, len(order), size))
    if len(starts) > 1 and len(order) - starts[-1] == 1:
        starts.pop()
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        yield order[start:end]


def _better(new: Epoch, old: Epoch) -> bool:
    return (new.validate_accuracy, -new.validate_loss) > (old.validate_accuracy, -old.validate_loss)
