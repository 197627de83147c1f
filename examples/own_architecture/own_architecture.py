"""A torchvision network as a cell classifier of edgehemo: trained, quantised and run by its name.

    pip install ./examples/own_architecture
    edgehemo train nucleated --data OUR_CELLS --config small_shuffle.toml --out ours.safetensors
    edgehemo export ours.safetensors --int8 --keep-others --calibration OUR_CELLS --out bundle
    edgehemo classify PICTURE... --model nucleated --bundle bundle

``small_shuffle.toml`` lies beside this file. The entry point in ``pyproject.toml`` names
`SMALL_SHUFFLE`; nothing else is to be registered.
"""

from __future__ import annotations

import torchvision
from torch import Tensor, nn

from edgehemo_export.nets.architecture_table import Architecture


class SmallShuffle(nn.Module):
    """ShuffleNet V2 at half its width (Ma et al. 2018), 0.35 M parameters, as torchvision has it.

    ``embed`` and ``head`` are what edgehemo_export.nets.architecture_table.FeatureNetwork asks for:
    with them the network tells cells unlike those it learnt from.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        net = torchvision.models.shufflenet_v2_x0_5(weights=None)
        self.body = nn.Sequential(
            net.conv1, net.maxpool, net.stage2, net.stage3, net.stage4, net.conv5
        )
        self.head = nn.Linear(net.fc.in_features, classes)

    def embed(self, x: Tensor) -> Tensor:
        """Crops float (n, 3, side, side) to what the last layer sees, float (n, 1024)."""
        out: Tensor = self.body(x).mean(dim=(2, 3))
        return out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.embed(x))
        return out


SMALL_SHUFFLE = Architecture(
    name="small_shuffle",
    builder=SmallShuffle,
    side_px=None,
    sgd=True,
    imagenet=None,
    says="ShuffleNet V2 at half its width (Ma et al. 2018), 0.35 M",
)
