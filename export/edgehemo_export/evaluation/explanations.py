"""What a ResNet18 of fields looks at: Grad-CAM (Selvaraju et al. 2017) through captum."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from captum.attr import LayerAttribution, LayerGradCam
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from edgehemo.field.canonical import UINT8_PER_TRANSMITTANCE
from edgehemo_export.nets.resnet_fields import AnaemiaScreenNet, FieldEstimatorNet, scaled_codes

# Of the map laid over the picture.
OVERLAY_SHARE = 0.45


class _Answering(nn.Module):
    """A network whose forward pass takes transmittance, for gradients of one of its outputs."""

    def __init__(self, net: FieldEstimatorNet | AnaemiaScreenNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net.logits(x)


def gradient_map(
    net: FieldEstimatorNet | AnaemiaScreenNet, codes: NDArray[np.uint8], output: int
) -> NDArray[np.float32]:
    """Where a tile speaks for one output: float32 (height, width), 0 to 1.

    codes: uint8 (height, width, 3). The map is of the third stage (stride 16): the fourth's
    places are as wide as a cell.
    """
    model = _Answering(net.eval())
    x = scaled_codes(torch.from_numpy(np.ascontiguousarray(codes[None])))
    found = torch.from_numpy(layer_map(model, net.backbone.layer3, x, output))[None, None]
    grown = LayerAttribution.interpolate(found, (codes.shape[0], codes.shape[1]), "bilinear")
    values = np.asarray(grown[0, 0].numpy(), np.float32)
    return np.asarray(values / max(float(values.max()), 1e-9), np.float32)


def layer_map(model: nn.Module, layer: nn.Module, x: Tensor, output: int) -> NDArray[np.float32]:
    """Where one input (1, 3, height, width) of any network speaks for one of its outputs.

    Float32, 0 to 1, at the layer's own size.
    """
    asked = x.detach().requires_grad_(True)
    found = LayerGradCam(model, layer).attribute(asked, target=output, relu_attributions=True)
    values = np.asarray(found[0, 0].detach().float().numpy(), np.float32)
    return np.asarray(values / max(float(values.max()), 1e-9), np.float32)


def explanation_picture(
    net: FieldEstimatorNet | AnaemiaScreenNet,
    tiles: Sequence[NDArray[np.uint8]],
    captions: Sequence[str],
    outputs: Sequence[tuple[int, str]],
) -> bytes:
    """A PNG: a row a tile, the tile first and then its map for each output (index, name)."""
    columns = 1 + len(outputs)
    figure = Figure(figsize=(2.1 * columns, 2.25 * len(tiles)), dpi=75, layout="constrained")
    places = figure.subplots(len(tiles), columns, squeeze=False)
    colours = colormaps["inferno"]
    for row, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        light = np.clip(tile / UINT8_PER_TRANSMITTANCE, 0, 1)
        places[row][0].imshow(light)
        places[row][0].set_title(caption, fontsize=8)
        for column, (index, name) in enumerate(outputs, start=1):
            heat = colours(gradient_map(net, tile, index))[..., :3]
            places[row][column].imshow((1 - OVERLAY_SHARE) * light + OVERLAY_SHARE * heat)
            places[row][column].set_title(name, fontsize=8)
        for place in places[row]:
            place.set_axis_off()
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()
