"""The networks of the study by name, and the weights that each of them starts from.

The paper's start from ImageNet. Where those weights cannot be had, ResNet18 starts from the
project's own field estimator, whose backbone is the same network, and the others from scratch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from edgehemo.errors import UsageError
from edgehemo_export.checkpoints import load_checkpoint
from edgehemo_export.nets.architecture_table import BY_NAME
from edgehemo_export.nets.imagenet_weights import imagenet_weights
from edgehemo_export.studies.remya.configuration import Start
from edgehemo_export.training.weights import start_from

SIBLING_CHECKPOINT = Path(__file__).parents[3] / "checkpoints" / "field_estimator.safetensors"
SIBLINGS: Mapping[str, str] = {"resnet18": "backbone."}
# The paper's names. EfficientNet-Lite0 is none of the paper's: its ImageNet weights come as a
# package, so that it shows what they bring where the others' cannot be had.
TITLES: Mapping[str, str] = {
    "resnet18": "ResNet18",
    "resnet50": "ResNet50",
    "inception_v3": "InceptionV3",
    "mobilenet_v2": "MobileNetV2",
    "shufflenet_v2": "ShuffleNetV2",
    "efficientnet_lite0": "EfficientNet-Lite0",
}
STARTS: Mapping[Start, str] = {
    "imagenet": "ImageNet",
    "sibling": "the project's field estimator (ResNet18, read HGB, HCT and RBC from fields)",
    "scratch": "from scratch",
}
# Of batch norms: the running statistics must follow within an epoch of a few batches.
NORM_MOMENTUM = 0.1


@dataclass(frozen=True)
class Begun:
    """kind: the start that was taken. missed: what could not be had before it, and why."""

    kind: Start
    missed: tuple[str, ...] = ()


def title_of(network: str) -> str:
    """A network's name as the page spells it."""
    return TITLES.get(network, network)


def chosen_start(network: str, preferred: Sequence[Start]) -> Begun:
    """The first of the preferred starts that a network can have; scratch where none can."""
    missed: list[str] = []
    for kind in preferred:
        try:
            weights_of(network, kind)
        except UsageError as error:
            missed.append(f"{kind}: {error}")
            continue
        return Begun(kind, tuple(missed))
    return Begun("scratch", tuple(missed))


@cache
def weights_of(network: str, kind: Start) -> Mapping[str, Tensor] | None:
    """Weights without a head, None from scratch. UsageError where they cannot be had."""
    if network not in BY_NAME or not BY_NAME[network].sgd:
        known = ", ".join(name for name, item in BY_NAME.items() if item.sgd)
        raise UsageError(f"no network {network!r} that can be trained; there are {known}")
    if kind == "scratch":
        return None
    if kind == "imagenet":
        return imagenet_weights(network)
    prefix = SIBLINGS.get(network)
    if prefix is None:
        raise UsageError(f"the project has no network of the shape of {network}")
    stored = load_checkpoint(SIBLING_CHECKPOINT).weights
    return {
        name.removeprefix(prefix): value.float() if value.is_floating_point() else value
        for name, value in stored.items()
        if name.startswith(prefix) and not name.startswith(f"{prefix}fc.")
    }


def built(network: str, kind: Start, seed: int) -> nn.Module:
    """A network of two classes with its start's weights; the rest from the seed."""
    torch.manual_seed(seed)
    net = BY_NAME[network].builder(2)
    weights = weights_of(network, kind)
    if weights is not None:
        start_from(net, weights, strict=False)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = NORM_MOMENTUM
    return net.to(memory_format=torch.channels_last)


def head_of(net: nn.Module) -> nn.Linear:
    """The last linear layer: what it is handed are the features."""
    return [module for module in net.modules() if isinstance(module, nn.Linear)][-1]


@contextmanager
def listened(layer: nn.Module) -> Iterator[list[Tensor]]:
    """What a layer is handed while this holds, batch by batch."""
    heard: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        heard.append(inputs[0].detach().float().flatten(1))

    hook = layer.register_forward_pre_hook(keep)
    try:
        yield heard
    finally:
        hook.remove()
