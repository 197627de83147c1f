"""The network that names the types of red cells: small enough for every cell of a field."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from edgehemo_export.architectures import ConvBlock, stage

# The trunk is laid out as the cell finder's, so that it can start from the finder's weights.
_FINDER_STAGES: Mapping[str, str] = {
    "stem.": "net.stem.",
    "stage4.": "net.stage4.",
    "stage8.": "net.stage8.",
    "stage16.": "net.stage16.",
}


class RedCellNet(nn.Module):
    """Residual CNN behind one 7x7 patch convolution of stride 4, 27 MMAC a crop of 64 px.

    A learnt map is added after the stem: it tells the middle from the surroundings, so that in a
    crowd the cell in the middle is the one named. Input float (n, 3, 64, 64); output float
    (n, classes).
    """

    SIDE_PX = 64

    def __init__(
        self,
        classes: int,
        *,
        widths: tuple[int, int, int] = (32, 64, 128),
        blocks: tuple[int, int, int] = (2, 2, 2),
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.stem = ConvBlock(3, widths[0], kernel=7, stride=4)
        self.place = nn.Parameter(torch.zeros(1, widths[0], self.SIDE_PX // 4, self.SIDE_PX // 4))
        self.stage4 = stage(widths[0], widths[0], blocks[0], stride=1)
        self.stage8 = stage(widths[0], widths[1], blocks[1], stride=2)
        self.stage16 = stage(widths[1], widths[2], blocks[2], stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(widths[2], classes)

    def forward(self, x: Tensor) -> Tensor:
        at4 = self.stage4(self.stem(x) + self.place)
        at16 = self.stage16(self.stage8(at4))
        out: Tensor = self.head(self.dropout(self.pool(at16).flatten(1)))
        return out


def weights_from_finder(finder: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The finder's trunk under the names it has in a classifier around `RedCellNet`."""
    return {
        new + name.removeprefix(old): tensor
        for name, tensor in finder.items()
        for old, new in _FINDER_STAGES.items()
        if name.startswith(old)
    }
