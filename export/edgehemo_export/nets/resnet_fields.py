"""The two ResNet18 that read tiles of a field: what they take and what they answer."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.models import resnet18

from edgehemo.field.canonical import UINT8_PER_TRANSMITTANCE
from edgehemo.measurands import MEASURANDS
from edgehemo_export.nets.logit_net import LogitNet

# What a tile's nominal contents are of the order of (g/L, L/L, 10^12/L): the network works in
# units of these.
NOMINAL_SCALE = (100.0, 0.30, 4.0)
# Standard deviations relative to the scale that the variance head can say.
LOG_VARIANCE_RANGE = (-9.0, 2.0)
SCREEN_CLASSES = ("control-like", "anaemia-like")
# Names of the last modules, which int8 recipes keep in float: a regression beyond what the
# calibration saw would be clipped.
FLOAT_LAYERS = ("backbone.avgpool", "backbone.fc")


def scaled_codes(codes: Tensor) -> Tensor:
    """uint8 codes (n, h, w, 3) to transmittance float (n, 3, h, w)."""
    return codes.permute(0, 3, 1, 2).to(torch.float32) / UINT8_PER_TRANSMITTANCE


class _FieldResNet(LogitNet):
    """ResNet18 (He et al. 2016; torchvision) over transmittance."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.backbone = resnet18(weights=None, num_classes=outputs)

    def logits(self, x: Tensor) -> Tensor:
        """Float (n, 3, h, w), transmittance, to (n, outputs)."""
        out: Tensor = self.backbone((x - 0.8) * 4.0)
        return out


class FieldEstimatorNet(_FieldResNet):
    """A tile's nominal haemoglobin, haematocrit and red-cell concentration with variances.

    Input: uint8 (n, 224, 224, 3), RGB codes of a canonical field. Output: float32 (n, 6): HGB g/L,
    HCT L/L and RBC 10^12/L as a film of the reference thickness and stain would hold them, then
    their variances in the squares of those units. The pooled features are means over the tile and
    the last layer is linear: what lies side by side adds up, at any cell density.
    """

    def __init__(self) -> None:
        super().__init__(2 * len(MEASURANDS))
        self.scale: Tensor
        self.register_buffer("scale", torch.tensor(NOMINAL_SCALE), persistent=False)

    def forward(self, codes: Tensor) -> Tensor:
        # Means over the scale, then log variances.
        raw = self.logits(scaled_codes(codes))
        count = len(MEASURANDS)
        low, high = LOG_VARIANCE_RANGE
        variance = raw[:, count:].clamp(low, high).exp() * self.scale**2
        return torch.cat([raw[:, :count] * self.scale, variance], dim=1)


class AnaemiaScreenNet(_FieldResNet):
    """Control-like against anaemia-like, for a tile.

    Input: uint8 (n, 224, 224, 3), RGB codes of a canonical field. Output: float32 (n, 2),
    probabilities of `SCREEN_CLASSES`, the temperature that fits the tune part baked in.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__(len(SCREEN_CLASSES))
        self.temperature = temperature

    def forward(self, codes: Tensor) -> Tensor:
        return torch.softmax(self.logits(scaled_codes(codes)) / self.temperature, dim=1)
