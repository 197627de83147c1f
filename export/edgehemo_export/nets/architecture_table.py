"""The one table of classifier architectures: ours, and those of the studies it is compared with.

Each is built by name, so that any of them trains by one command on any set of crops:

    edgehemo train nucleated --data DATA --config FILE   # [model] architecture = "resnet18"

An installed package adds its own to it: an entry point of the group `ENTRY_POINT_GROUP` whose value
is an `Architecture`. What its network must answer is `CellNetwork`; `FeatureNetwork` and
`StagedNetwork` say what more it may answer, and what that gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Protocol, runtime_checkable

import torch
import torchvision
from torch import Tensor, nn

from edgehemo.bundle.manifest import PRECISION_PREFERENCE, Precision
from edgehemo.errors import UsageError
from edgehemo_export.nets.architectures import ConvBlock, ResidualBlock
from edgehemo_export.nets.morphology_net import LightRedCellNet, RedCellNet, SmallRedCellNet
from edgehemo_export.nets.scattering_svm import ScatteringSvm

# Where a backbone's ImageNet weights come from (see `imagenet_weights`), or none.
ImageNetSource = str

# EfficientNet-Lite0 (Tan and Le 2019; Google's Lite variants: no squeeze-and-excitation, ReLU6,
# stem and head not widened): repeats, channels, kernel, stride, expansion of each stage.
LITE0_STAGES: tuple[tuple[int, int, int, int, int], ...] = (
    (1, 16, 3, 1, 1),
    (2, 24, 3, 2, 6),
    (2, 40, 5, 2, 6),
    (3, 80, 3, 2, 6),
    (3, 112, 5, 1, 6),
    (4, 192, 5, 2, 6),
    (1, 320, 3, 1, 6),
)
LITE0_STEM, LITE0_HEAD = 32, 1280
# TensorFlow's, with which the published weights were made.
LITE0_NORM_EPSILON, LITE0_NORM_MOMENTUM = 1e-3, 0.01


class CompactNet(nn.Module):
    """Our own: residual blocks of dense 3x3 convolutions (He et al. 2016), 2.8 M parameters.

    Dense convolutions of multiples of 32 channels run fast in int8 on every runtime. Input float
    (n, 3, h, w), any size from 32 px; output float (n, classes).
    """

    def __init__(
        self,
        classes: int,
        *,
        widths: tuple[int, ...] = (32, 64, 128, 256),
        blocks: tuple[int, ...] = (2, 2, 2, 2),
        stem_kernel: int = 5,
        stem_stride: int = 2,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [ConvBlock(3, widths[0], kernel=stem_kernel, stride=stem_stride)]
        width = widths[0]
        for stage, (wide, count) in enumerate(zip(widths, blocks, strict=True)):
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(ResidualBlock(width, wide, stride=stride))
                width = wide
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)

    def embed(self, x: Tensor) -> Tensor:
        """What the last layer sees, float (n, d)."""
        out: Tensor = self.pool(self.features(x)).flatten(1)
        return out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.dropout(self.embed(x)))
        return out


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, projection, shortcut where the shape allows."""

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        inner = inputs * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [_lite_conv(inputs, inner, 1), nn.ReLU6(inplace=True)]
        layers += [
            _lite_conv(inner, inner, kernel, stride=stride, groups=inner),
            nn.ReLU6(inplace=True),
            _lite_conv(inner, outputs, 1),
        ]
        self.layers = nn.Sequential(*layers)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return x + out if self.shortcut else out


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0, 3.4 M parameters. Input float (n, 3, h, w), output float (n, classes).

    Convolutions are padded evenly on both sides (TensorFlow pads strided ones to the right only):
    the same features on a grid shifted by a pixel.
    """

    def __init__(self, classes: int, *, dropout: float = 0.2) -> None:
        super().__init__()
        self.stem = nn.Sequential(_lite_conv(3, LITE0_STEM, 3, stride=2), nn.ReLU6(inplace=True))
        blocks: list[nn.Module] = []
        width = LITE0_STEM
        for count, channels, kernel, stride, expansion in LITE0_STAGES:
            for index in range(count):
                blocks.append(
                    InvertedResidual(
                        width,
                        channels,
                        kernel=kernel,
                        stride=stride if index == 0 else 1,
                        expansion=expansion,
                    )
                )
                width = channels
        self.blocks = nn.Sequential(*blocks)
        self.top = nn.Sequential(_lite_conv(width, LITE0_HEAD, 1), nn.ReLU6(inplace=True))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(LITE0_HEAD, classes)

    def stages(self) -> list[nn.Module]:
        """The stem and the blocks, in order: what `frozen_stages` counts."""
        return [self.stem, *self.blocks]

    def embed(self, x: Tensor) -> Tensor:
        """What the last layer sees, float (n, 1280)."""
        out: Tensor = self.pool(self.top(self.blocks(self.stem(x)))).flatten(1)
        return out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.dropout(self.embed(x)))
        return out


class StudyCnn(nn.Module):
    """The CNN of Lateef et al. 2025: 605,415 parameters for three classes at 400x400 px.

    7x7 convolution of 16 filters, 3x3 of 20, each with batch norm and ReLU, 4x4 max pooling, one
    dense layer on the 100 x 100 x 20 map. Keras counts the two running statistics of a batch norm
    among the parameters, PyTorch does not: of the 605,415, 72 are such.
    """

    SIDE_PX = 400

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 7, padding=3),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            nn.Conv2d(16, 20, 3, padding=1),
            nn.BatchNorm2d(20),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(4),
        )
        self.head = nn.Linear(20 * (self.SIDE_PX // 4) ** 2, classes)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.flatten(self.features(x), 1))
        return out


class _InceptionV3(nn.Module):
    """torchvision's Inception v3 without the auxiliary head, one tensor out in training too."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.net = torchvision.models.inception_v3(
            weights=None, num_classes=classes, aux_logits=False, init_weights=False
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


@runtime_checkable
class CellNetwork(Protocol):
    """What every architecture's network answers: a `torch.nn.Module`, traced for export with crops
    of one size, in batches of any number.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Crops float (n, 3, side, side), light as (transmittance - 0.8) / 0.25, about zero mean
        and unit spread, RGB; to logits float (n, classes), without softmax.
        """
        ...


@runtime_checkable
class FeatureNetwork(CellNetwork, Protocol):
    """A network that shows what its last layer sees. With it `familiarity` can tell cells unlike
    those that were learnt from, and few own cells can teach the last layer alone.

    head: a `torch.nn.Linear` from d to the classes, with bias; ``forward`` is ``head(embed(x))``,
    but for dropout.
    """

    head: nn.Module

    def embed(self, x: Tensor) -> Tensor:
        """Crops as for ``forward`` to float (n, d)."""
        ...


@runtime_checkable
class StagedNetwork(CellNetwork, Protocol):
    """A network that lists its stages. With it `frozen_stages` keeps the first of them as they
    begin.
    """

    def stages(self) -> Sequence[nn.Module]:
        """From the input on."""
        ...


# Where installed packages name architectures of their own.
ENTRY_POINT_GROUP = "edgehemo.architectures"


@dataclass(frozen=True)
class Architecture:
    """name: as the configuration spells it. builder: makes the network for a number of classes, a
    `CellNetwork` with weights that it begins with. side_px:
    the input it needs, None for any. sgd: trained by gradient descent, else fitted on features
    (see `scattering_svm`). imagenet: a key of `imagenet_weights.SOURCES`, None where there are
    no such weights. says: one line for the documentation. precisions: those it exports to;
    why_not: why no others.
    """

    name: str
    builder: Callable[[int], nn.Module]
    side_px: int | None
    sgd: bool
    imagenet: ImageNetSource | None
    says: str
    precisions: tuple[Precision, ...] = PRECISION_PREFERENCE[::-1]
    why_not: str = ""


def _resnet18(classes: int) -> nn.Module:
    net: nn.Module = torchvision.models.resnet18(weights=None, num_classes=classes)
    return net


def _resnet50(classes: int) -> nn.Module:
    net: nn.Module = torchvision.models.resnet50(weights=None, num_classes=classes)
    return net


def _mobilenet_v2(classes: int) -> nn.Module:
    net: nn.Module = torchvision.models.mobilenet_v2(weights=None, num_classes=classes)
    return net


def _shufflenet_v2(classes: int) -> nn.Module:
    net: nn.Module = torchvision.models.shufflenet_v2_x1_0(weights=None, num_classes=classes)
    return net


ARCHITECTURES: tuple[Architecture, ...] = (
    Architecture("compact", CompactNet, None, True, None, "residual CNN of this project, 2.8 M"),
    Architecture(
        "red_cell", RedCellNet, RedCellNet.SIDE_PX, True, None, "small residual CNN, 1.6 M"
    ),
    Architecture(
        "red_cell_light",
        LightRedCellNet,
        LightRedCellNet.SIDE_PX,
        True,
        None,
        "the same at two thirds of the width, 0.7 M",
    ),
    Architecture(
        "red_cell_small",
        SmallRedCellNet,
        SmallRedCellNet.SIDE_PX,
        True,
        None,
        "that with one block a stage, 0.3 M",
    ),
    Architecture(
        "efficientnet_lite0",
        EfficientNetLite0,
        None,
        True,
        "efficientnet_lite0",
        "EfficientNet-Lite0 (Tan and Le 2019), 3.4 M",
    ),
    Architecture("resnet18", _resnet18, None, True, "resnet18", "He et al. 2016, 11 M"),
    Architecture("resnet50", _resnet50, None, True, "resnet50", "He et al. 2016, 24 M"),
    Architecture(
        "mobilenet_v2", _mobilenet_v2, None, True, "mobilenet_v2", "Sandler et al. 2018, 2.2 M"
    ),
    Architecture(
        "shufflenet_v2", _shufflenet_v2, None, True, "shufflenet_v2", "Ma et al. 2018, 1.3 M"
    ),
    Architecture(
        "inception_v3", _InceptionV3, 299, True, "inception_v3", "Szegedy et al. 2016, 22 M"
    ),
    Architecture(
        "study_cnn", StudyCnn, StudyCnn.SIDE_PX, True, None, "CNN of Lateef et al. 2025, 0.6 M"
    ),
    Architecture(
        "scattering_svm",
        ScatteringSvm,
        None,
        False,
        None,
        "wavelet scattering and a cubic SVM (Lateef et al. 2025), fitted, not descended",
        ("fp32",),
        "the cube of its kernel needs all digits of single precision",
    ),
)
BY_NAME: Mapping[str, Architecture] = {item.name: item for item in ARCHITECTURES}


@cache
def architectures() -> Mapping[str, Architecture]:
    """Every architecture by name, those of installed packages behind ours.

    UsageError, which names the package, for an entry point that cannot be loaded, is none, or bears
    a name that is taken.
    """
    found = dict(BY_NAME)
    for point in entry_points(group=ENTRY_POINT_GROUP):
        package = point.dist.name if point.dist is not None else point.value
        try:
            item = point.load()
        except Exception as error:
            raise UsageError(
                f"{package}: its architecture {point.name} cannot be loaded "
                f"({type(error).__name__}: {error}); mend the package or remove it"
            ) from error
        if not isinstance(item, Architecture):
            raise UsageError(
                f"{package}: {point.value} is no Architecture, which the entry points of "
                f"{ENTRY_POINT_GROUP} name"
            )
        if item.name in found:
            raise UsageError(
                f"{package}: an architecture is called {item.name} already; choose another name"
            )
        found[item.name] = item
    return found


def architecture(name: str) -> Architecture:
    """The architecture of a name; UsageError lists those there are."""
    found = architectures()
    if name not in found:
        raise UsageError(
            f"unknown architecture {name!r}; there are {', '.join(found)}. One of a package of "
            "your own is there once the package is installed"
        )
    return found[name]


class DepthwiseConv(nn.Conv2d):
    """A depthwise convolution that stays in fp32 under autocast on the CPU, where its gradient in
    bf16 takes four times as long (5x5, PyTorch 2.14, AMX).
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())


def _lite_conv(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    convolution = nn.Conv2d if groups == 1 else DepthwiseConv
    return nn.Sequential(
        convolution(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=LITE0_NORM_EPSILON, momentum=LITE0_NORM_MOMENTUM),
    )
