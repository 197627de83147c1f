"""The network that names the types of red cells: small enough for every cell of a field."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgehemo_export.nets.architectures import ConvBlock, stage


class RedCellNet(nn.Module):
    """Residual CNN behind one 5x5 convolution of stride 2, 58 MMAC a crop of 56 px.

    Stride 2, not 4: what tells a burr cell or a target cell is a few pixels wide at 0.25 um/px. A
    learnt map is added after the stem: it tells the middle from the surroundings, so that in a
    crowd the cell in the middle is the one named. Input float (n, 3, 56, 56); output float
    (n, classes).
    """

    SIDE_PX = 56

    def __init__(
        self,
        classes: int,
        *,
        widths: tuple[int, ...] = (24, 48, 96, 192),
        blocks: tuple[int, ...] = (1, 2, 2, 2),
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.stem = ConvBlock(3, widths[0], kernel=5, stride=2)
        self.place = nn.Parameter(torch.zeros(1, widths[0], self.SIDE_PX // 2, self.SIDE_PX // 2))
        inputs = (widths[0], *widths)
        self.stages = nn.Sequential(
            *(
                stage(inputs[i], width, count, stride=1 if i == 0 else 2)
                for i, (width, count) in enumerate(zip(widths, blocks, strict=True))
            )
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(widths[-1], classes)

    def embed(self, x: Tensor) -> Tensor:
        """What the last layer sees, float (n, d)."""
        out: Tensor = self.pool(self.stages(self.stem(x) + self.place)).flatten(1)
        return out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.dropout(self.embed(x)))
        return out


class LightRedCellNet(RedCellNet):
    """The same at two thirds of the width, 26 MMAC a crop."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes, widths=(16, 32, 64, 128))


class SmallRedCellNet(RedCellNet):
    """The same at two thirds of the width with one block a stage, 14 MMAC a crop."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes, widths=(16, 32, 64, 128), blocks=(1, 1, 1, 1))
