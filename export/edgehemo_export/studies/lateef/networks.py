"""The study's networks: the paper's CNN, ResNet-50, and a smaller one that is transferred, too.

Constant learning rate, Adam, cross-entropy, no early stopping, as the paper trains. Pictures are
turned by right angles and mirrored. Stages that stay frozen are run once for each of the eight ways
to turn a picture, and only the rest is trained on what they answered.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgehemo.errors import UsageError
from edgehemo.files.atomic import write_bytes_atomically
from edgehemo_export.nets.architecture_table import BY_NAME, EfficientNetLite0
from edgehemo_export.nets.imagenet_weights import imagenet_weights
from edgehemo_export.studies.lateef.configuration import CnnOptions, TransferOptions
from edgehemo_export.training.arithmetic import mixed_precision
from edgehemo_export.training.weights import start_from

Pictures = NDArray[np.uint8]
# Ways to turn and mirror a square.
TURNS = 8
# ImageNet's mean and spread of each channel, of light from 0 to 1.
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# The state is stored after so many epochs, the held-out pictures are looked at as often.
STORE_EVERY = 5
ANSWER_BATCH = 30
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Begun:
    """How a training begins. start: "imagenet" or "scratch". says: for the page. weights: of the
    whole network without its head, None from scratch. frozen: first stages that stay as they are.
    epochs: how long it is trained.
    """

    start: str
    says: str
    weights: dict[str, Tensor] | None
    frozen: int
    epochs: int


def begun(architecture: str, options: TransferOptions) -> Begun:
    """The first start in the order of preference that can be had here.

    Raises UsageError where none can.
    """
    why = ""
    for start in options.start:
        if start == "scratch":
            said = f"from scratch{f' ({why})' if why else ''}"
            return Begun("scratch", said, None, 0, options.scratch_epochs)
        try:
            weights = imagenet_weights(architecture)
        except UsageError as error:
            why = str(error)
            continue
        return Begun("imagenet", "ImageNet's weights", weights, options.frozen, options.epochs)
    raise UsageError(f"{architecture}: none of {', '.join(options.start)} can be had: {why}")


def stages_of(net: nn.Module) -> list[nn.Module]:
    """A network as stages in their order, each taking what the one before answers."""
    if isinstance(net, EfficientNetLite0):
        tail = nn.Sequential(net.top, net.pool, nn.Flatten(1), net.dropout, net.head)
        return [*net.stages(), tail]
    children = list(net.children())
    return [*children[:-1], nn.Sequential(nn.Flatten(1), children[-1])]


@dataclass(frozen=True)
class TrainedNetwork:
    """loss, accuracy: of each epoch's batches, float64 (epochs,). held_out: (k, 2), epoch and
    accuracy on the held-out pictures. stages: the network.
    """

    loss: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    held_out: NDArray[np.float64]
    stages: nn.Sequential


def train_network(
    architecture: str,
    pictures: Callable[[int], Pictures],
    train: NDArray[np.intp],
    test: NDArray[np.intp],
    labels: NDArray[np.intp],
    options: CnnOptions,
    how: Begun,
    seed: int,
    work: Path,
    tell: Callable[[str], None],
) -> TrainedNetwork:
    """Train on the pictures ``train`` (indices for ``pictures``: uint8 RGB (s, s, 3)).

    labels: of every picture, intp. work: where the state is stored on the way. A training that was
    stopped goes on there; one of more epochs goes on from one of fewer.
    """
    classes = int(labels.max()) + 1
    torch.manual_seed(seed)
    net = BY_NAME[architecture].builder(classes)
    if how.weights is not None:
        start_from(net, how.weights, strict=False)
    parts = [part.to(memory_format=torch.channels_last) for part in stages_of(net)]
    trunk, tail = nn.Sequential(*parts[: how.frozen]).eval(), nn.Sequential(*parts[how.frozen :])
    draw = _frozen_examples(trunk, pictures, train) if how.frozen else _examples(pictures, train)
    optimiser = torch.optim.Adam(tail.parameters(), lr=options.learning_rate)
    truth = torch.from_numpy(labels[train].astype(np.int64))
    loss: list[float] = []
    right: list[float] = []
    seen: list[tuple[float, float]] = []
    first = _restored(work, how.epochs, tail, optimiser, loss, right, seen)
    for epoch in range(first, how.epochs):
        tail.train()
        rng = np.random.default_rng([seed, epoch])
        torch.manual_seed(seed * 100_003 + epoch)
        sums = np.zeros(2)
        for chosen in _batches(len(train), options.batch_size, rng):
            turns = rng.integers(0, TURNS, len(chosen))
            x = draw(chosen, turns)
            with mixed_precision(CPU):
                logits = tail(x)
            each = nn.functional.cross_entropy(logits.float(), truth[chosen])
            optimiser.zero_grad()
            torch.autograd.backward(each)
            optimiser.step()
            hits = int((logits.argmax(dim=1) == truth[chosen]).sum())
            sums += (float(each.detach()) * len(chosen), hits)
        loss.append(float(sums[0] / len(train)))
        right.append(float(sums[1] / len(train)))
        if (epoch + 1) % STORE_EVERY == 0 or epoch + 1 == how.epochs:
            whole = nn.Sequential(trunk, tail)
            called = answers(whole, lambda i: pictures(int(test[i])), len(test)).argmax(axis=1)
            seen.append((epoch + 1.0, float((called == labels[test]).mean())))
            _store(work, epoch + 1, tail, optimiser, loss, right, seen)
        tell(f"epoch {epoch + 1} of {how.epochs}, loss {loss[-1]:.4f}")
    return TrainedNetwork(
        np.array(loss), np.array(right), np.array(seen).reshape(-1, 2), nn.Sequential(trunk, tail)
    )


def answers(
    stages: nn.Module, pictures: Callable[[int], Pictures], count: int
) -> NDArray[np.float64]:
    """Softmax shares, float64 (count, classes), in batches."""
    stages.eval()
    out = []
    with torch.inference_mode(), mixed_precision(CPU):
        for start in range(0, count, ANSWER_BATCH):
            batch = [pictures(i) for i in range(start, min(count, start + ANSWER_BATCH))]
            logits = stages(_input(np.stack(batch)))
            out.append(torch.softmax(logits.double(), dim=1).numpy())
    return np.concatenate(out)


def parameters_as_keras_counts(net: nn.Module) -> tuple[int, int, int]:
    """All, trainable and other parameters: Keras counts a batch norm's running statistics, too."""
    trainable = sum(p.numel() for p in net.parameters())
    others = sum(
        buffer.numel()
        for name, buffer in net.named_buffers()
        if name.endswith(("running_mean", "running_var"))
    )
    return trainable + others, trainable, others


def turned(picture: Tensor, turn: int) -> Tensor:
    """A picture (..., s, s) in one of the eight ways."""
    out = torch.rot90(picture, turn % 4, dims=(-2, -1))
    return out.flip(-1) if turn >= 4 else out


def _input(pictures: Pictures) -> Tensor:
    """uint8 (n, s, s, 3) as the networks take it."""
    light = torch.from_numpy(pictures).permute(0, 3, 1, 2).to(torch.float32) / 255
    mean, spread = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, SPREAD))
    return ((light - mean) / spread).contiguous(memory_format=torch.channels_last)


def _batches(count: int, size: int, rng: np.random.Generator) -> Sequence[NDArray[np.intp]]:
    """A new order each epoch; the last batch takes what is left, unless that is one alone."""
    order = rng.permutation(count)
    parts = [order[i : i + size] for i in range(0, count, size)]
    if len(parts) > 1 and len(parts[-1]) == 1:  # a batch norm cannot learn from one picture
        parts[-2:] = [np.concatenate(parts[-2:])]
    return parts


def _examples(
    pictures: Callable[[int], Pictures], train: NDArray[np.intp]
) -> Callable[[NDArray[np.intp], NDArray[np.intp]], Tensor]:
    """Draws pictures by place in ``train``, each turned its way."""

    def draw(chosen: NDArray[np.intp], turns: NDArray[np.intp]) -> Tensor:
        x = _input(np.stack([pictures(int(train[i])) for i in chosen]))
        out = torch.stack([turned(p, int(t)) for p, t in zip(x, turns, strict=True)])
        return out.contiguous(memory_format=torch.channels_last)

    return draw


def _frozen_examples(
    trunk: nn.Module, pictures: Callable[[int], Pictures], train: NDArray[np.intp]
) -> Callable[[NDArray[np.intp], NDArray[np.intp]], Tensor]:
    """Draws what the frozen stages answer to pictures, run once for each way to turn them."""
    known = []
    with torch.inference_mode(), mixed_precision(CPU):
        for index in train:
            one = _input(pictures(int(index))[None])[0]
            ways = torch.stack([turned(one, turn) for turn in range(TURNS)])
            ways = ways.contiguous(memory_format=torch.channels_last)
            known.append(trunk(ways).to(torch.float16))
    maps = torch.stack(known)

    def draw(chosen: NDArray[np.intp], turns: NDArray[np.intp]) -> Tensor:
        found = maps[torch.from_numpy(chosen), torch.from_numpy(turns)].to(torch.float32)
        return found.clone().contiguous(memory_format=torch.channels_last)

    return draw


def _store(
    work: Path,
    epoch: int,
    tail: nn.Module,
    optimiser: torch.optim.Optimizer,
    loss: list[float],
    right: list[float],
    seen: list[tuple[float, float]],
) -> None:
    data = io.BytesIO()
    state = {
        "net": tail.state_dict(),
        "optimiser": optimiser.state_dict(),
        "loss": loss,
        "right": right,
        "seen": [list(pair) for pair in seen],
    }
    torch.save(state, data)
    file = work / f"epoch-{epoch:05d}.pt"
    write_bytes_atomically(file, data.getvalue())
    for former in work.glob("epoch-*.pt"):
        if former != file:
            former.unlink()


def _restored(
    work: Path,
    epochs: int,
    tail: nn.Module,
    optimiser: torch.optim.Optimizer,
    loss: list[float],
    right: list[float],
    seen: list[tuple[float, float]],
) -> int:
    """The epoch to go on with, what is stored loaded; 0 where nothing is, or too much."""
    stored = sorted(work.glob("epoch-*.pt"))
    found = [path for path in stored if int(path.stem.split("-")[1]) <= epochs]
    if not found:
        return 0
    state: dict[str, Any] = torch.load(found[-1], map_location="cpu", weights_only=True)
    tail.load_state_dict(state["net"])
    optimiser.load_state_dict(state["optimiser"])
    loss += state["loss"]
    right += state["right"]
    # A shorter run also looked at its end.
    seen += [(pair[0], pair[1]) for pair in state["seen"] if pair[0] % STORE_EVERY == 0]
    return int(found[-1].stem.split("-")[1])
