"""ResNet18 that tells a patient's blood count from a field, and its training on one fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models import resnet18

from edgehemo.errors import UsageError
from edgehemo.field.canonical import CLEAR_FIELD_CODE
from edgehemo_export.data.field_tiles import as_input
from edgehemo_export.nets.imagenet_weights import imagenet_weights
from edgehemo_export.nets.logit_net import LogitNet
from edgehemo_export.nets.resnet_fields import scaled_codes
from edgehemo_export.studies.yang.configuration import Start
from edgehemo_export.studies.yang.shipped import shipped_estimator
from edgehemo_export.training.arithmetic import mixed_precision
from edgehemo_export.training.loop import Training
from edgehemo_export.training.task import LoopConfig, Progress

Array = NDArray[np.float64]

ARCHITECTURE = "resnet18"


class BloodCountNet(LogitNet):
    """ResNet18 (He et al. 2016) with one linear output a measurand.

    Input: uint8 (n, h, w, 3), codes of fields at the study's scale, any size: the pooled features
    are means over the field. Output: float32 (n, k), in the measurands' units. centre, spread: of
    the training patients' values, in which the network counts.
    """

    def __init__(self, centre: Array, spread: Array) -> None:
        super().__init__()
        self.backbone = resnet18(weights=None, num_classes=len(centre))
        self.centre: Tensor
        self.spread: Tensor
        self.register_buffer("centre", torch.tensor(centre, dtype=torch.float32))
        self.register_buffer("spread", torch.tensor(spread, dtype=torch.float32))
        # Begins with the answer "the mean of the training patients".
        nn.init.zeros_(self.backbone.fc.weight)
        nn.init.zeros_(self.backbone.fc.bias)

    def logits(self, x: Tensor) -> Tensor:
        """Float (n, 3, h, w), transmittance, to values less their centre, in spreads (n, k)."""
        out: Tensor = self.backbone((x - 0.8) * 4.0)
        return out

    def forward(self, codes: Tensor) -> Tensor:
        return self.logits(scaled_codes(codes)) * self.spread + self.centre


@dataclass(frozen=True)
class CropBatch:
    """light: float32 (n, 3, side, side). target: float32 (n, k), standardised."""

    light: Tensor
    target: Tensor


class BloodCountTask:
    """Random crops of the training patients' fields, each with its patient's whole blood count.

    patients: the fields of each, uint8 (h, w, 3). values: float64 (patients, k).
    """

    def __init__(
        self,
        patients: Sequence[Sequence[NDArray[np.uint8]]],
        values: Array,
        crop_px: int,
    ) -> None:
        self._patients = patients
        self._crop_px = crop_px
        self.centre = values.mean(axis=0)
        self.spread = np.maximum(values.std(axis=0), 1e-9)
        self._target = (values - self.centre) / self.spread

    def batch(self, size: int, rng: np.random.Generator, generator: torch.Generator) -> CropBatch:
        """Patients with equal chances, then one of a patient's fields."""
        chosen = rng.integers(0, len(self._patients), size)
        crops = []
        for index in chosen:
            fields = self._patients[int(index)]
            crops.append(crop(fields[int(rng.integers(len(fields)))], self._crop_px, rng))
        return CropBatch(as_input(crops), torch.tensor(self._target[chosen], dtype=torch.float32))

    def loss(
        self, net: nn.Module, batch: CropBatch, place: torch.device
    ) -> tuple[Tensor, dict[str, float]]:
        light = batch.light.to(place, memory_format=torch.channels_last)
        with mixed_precision(place):
            raw = net(light)
        loss = nn.functional.mse_loss(raw.float(), batch.target.to(place))
        return loss, {"loss": float(loss.item())}

    def validate(self, net: LogitNet, place: torch.device) -> dict[str, float]:
        """None: held-out patients have no part in training, and no patient is given away."""
        return {}


def crop(codes: NDArray[np.uint8], side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A random square of a field in a random one of eight orientations; a smaller field is
    continued with clear background.
    """
    height, width = codes.shape[:2]
    below, right = max(0, side - height), max(0, side - width)
    if below or right:
        codes = np.pad(
            codes, ((0, below), (0, right), (0, 0)), constant_values=int(CLEAR_FIELD_CODE)
        )
        height, width = codes.shape[:2]
    y, x = int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - side + 1))
    tile = np.rot90(codes[y : y + side, x : x + side], int(rng.integers(0, 4)))
    if rng.random() < 0.5:
        tile = tile[:, ::-1]
    return np.ascontiguousarray(tile)


def first_weights(start: Start) -> dict[str, Tensor] | None:
    """What a training begins with, its last layer left out; None from scratch.

    Raises UsageError where the weights cannot be had.
    """
    if start == "scratch":
        return None
    if start == "imagenet":
        found: Mapping[str, Tensor] = {
            f"backbone.{name}": value for name, value in imagenet_weights(ARCHITECTURE).items()
        }
    else:
        checkpoint = shipped_estimator()
        if checkpoint is None:
            raise UsageError(
                'start = "sibling": the shipped field estimator\'s checkpoint comes with the '
                'source, not with the installed package; set start = "scratch"'
            )
        found = checkpoint.weights
    return {name: value.float() for name, value in found.items() if not name.startswith(_HEAD)}


_HEAD = "backbone.fc."


def trained(
    task: BloodCountTask,
    loop: LoopConfig,
    work: Path,
    *,
    start: Start,
    progress: Progress | None = None,
) -> BloodCountNet:
    """Train to the last step; ``work`` keeps the state that a stopped training goes on from."""
    training = Training(
        task,
        lambda: BloodCountNet(task.centre, task.spread),
        loop,
        work,
        fingerprint={"loop": loop.model_dump(), "start": start},
        initial=first_weights(start),
        strict_initial=False,
    )
    net, _ = training.run(progress=progress)
    return net.eval()


def answers(
    net: BloodCountNet, fields: Sequence[NDArray[np.uint8]], tell: Callable[[int], None]
) -> Array:
    """What the network says of whole fields, each in one piece, float64 (n, k)."""
    found = np.zeros((len(fields), len(net.centre)))
    place = net.centre.device
    with torch.inference_mode():
        for index, codes in enumerate(fields):
            out = net(torch.from_numpy(np.ascontiguousarray(codes[None])).to(place))
            found[index] = out.cpu().numpy()[0]
            tell(index + 1)
    return found
