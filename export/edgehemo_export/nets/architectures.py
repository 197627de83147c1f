"""The networks, and the one table that names them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgehemo.cells.maps import KINDS_IN_MAPS, MAP_CHANNELS, STRIDE
from edgehemo.field.canonical import UINT8_PER_TRANSMITTANCE
from edgehemo_export.configuration import Configuration
from edgehemo_export.nets.logit_net import LogitNet


class ConvBlock(nn.Sequential):
    """Convolution, batch norm, ReLU; fuses into one int8 convolution."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, basic block)."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.first = ConvBlock(inputs, outputs, stride=stride)
        self.second = nn.Sequential(
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(self.first(x)) + self.shortcut(x))


class CellFinderConfig(Configuration):
    """Widths of the cell finder's stages at strides 4, 8 and 16, and of its head.

    Multiples of 32: others run slower per channel in bf16 and int8 alike.
    """

    stride4: int = 32
    stride8: int = 64
    stride16: int = 128
    head: int = 64
    blocks: int = 2


class CellFinderNet(LogitNet):
    """Fully convolutional centre-point detector with a feature pyramid, output stride 4.

    Input: uint8 (n, height, width, 3), RGB canonical field as `CanonicalField.to_uint8` codes it,
    sides multiples of 16. Scaling is part of the graph, so no caller can get it wrong.
    Output: float32 (n, height/4, width/4, 7): per kind the score (0-1) of a centre in this place,
    then the centre's offset (dx, dy) and log (width, height), see `edgehemo.cells.maps`.
    """

    def __init__(self, config: CellFinderConfig | None = None) -> None:
        super().__init__()
        c = config or CellFinderConfig()
        self.config = c
        # One overlapping patch convolution: full-resolution maps would cost more than all the rest
        # of the first stage, on the device and in training.
        self.stem = ConvBlock(3, c.stride4, kernel=7, stride=4)
        self.stage4 = stage(c.stride4, c.stride4, c.blocks, stride=1)
        self.stage8 = stage(c.stride4, c.stride8, c.blocks, stride=2)
        self.stage16 = stage(c.stride8, c.stride16, c.blocks, stride=2)
        self.lateral16 = ConvBlock(c.stride16, c.stride8, kernel=1)
        self.merge8 = ConvBlock(c.stride8, c.stride8)
        self.lateral8 = ConvBlock(c.stride8, c.head, kernel=1)
        self.lateral4 = ConvBlock(c.stride4, c.head, kernel=1)
        self.merge4 = ConvBlock(c.head, c.head)
        self.head = ConvBlock(c.head, c.head)
        self.output = nn.Conv2d(c.head, MAP_CHANNELS, 1)
        # A prior of 1 % per place keeps the first steps from drowning in the background.
        with torch.no_grad():
            bias = torch.zeros(MAP_CHANNELS)
            bias[: len(KINDS_IN_MAPS)] = -4.6
            self.output.bias = nn.Parameter(bias)

    def logits(self, x: Tensor) -> Tensor:
        """Float (n, 3, h, w), transmittance, to raw maps float (n, 7, h/4, w/4)."""
        at4 = self.stage4(self.stem((x - 0.8) * 4.0))
        at8 = self.stage8(at4)
        at16 = self.stage16(at8)
        up = nn.functional.interpolate(self.lateral16(at16), scale_factor=2.0, mode="nearest")
        at8 = self.merge8(at8 + up)
        up = nn.functional.interpolate(self.lateral8(at8), scale_factor=2.0, mode="nearest")
        at4 = self.merge4(self.lateral4(at4) + up)
        out: Tensor = self.output(self.head(at4))
        return out

    def forward(self, codes: Tensor) -> Tensor:
        x = codes.permute(0, 3, 1, 2).to(torch.float32) / UINT8_PER_TRANSMITTANCE
        raw = self.logits(x)
        kinds = len(KINDS_IN_MAPS)
        maps = torch.cat([torch.sigmoid(raw[:, :kinds]), raw[:, kinds:]], dim=1)
        return maps.permute(0, 2, 3, 1)


def stage(inputs: int, outputs: int, blocks: int, *, stride: int) -> nn.Sequential:
    """Residual blocks of one width; the first changes width and resolution."""
    first = ResidualBlock(inputs, outputs, stride=stride)
    return nn.Sequential(first, *(ResidualBlock(outputs, outputs) for _ in range(blocks - 1)))


# Sides of the finder's input must be multiples of this: its coarsest stage.
FINDER_MULTIPLE = 4 * STRIDE
