"""The ResNet18 that reads tiles of a field, and the screen on its features."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torchvision.models import ResNet, resnet18

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


# Pooled features of the last stage.
FEATURES = 512


class FieldEstimatorNet(LogitNet):
    """A tile's nominal haemoglobin, haematocrit and red-cell concentration with variances.

    ResNet18 (He et al. 2016; torchvision) over transmittance. Input: uint8 (n, 224, 224, 3), RGB
    codes of a canonical field. Output: float32 (n, 6): HGB g/L, HCT L/L and RBC 10^12/L as a film
    of the reference thickness and stain would hold them, then their variances in the squares of
    those units. The pooled features are means over the tile and the last layer is linear: what lies
    side by side adds up, at any cell density.
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = resnet18(weights=None, num_classes=2 * len(MEASURANDS))
        self.scale: Tensor
        self.register_buffer("scale", torch.tensor(NOMINAL_SCALE), persistent=False)

    def logits(self, x: Tensor) -> Tensor:
        """Float (n, 3, h, w), transmittance, to means over the scale, then log variances (n, 6)."""
        out: Tensor = self.backbone((x - 0.8) * 4.0)
        return out

    def features(self, x: Tensor) -> Tensor:
        """What the last layer reads of transmittance float (n, 3, h, w): float (n, FEATURES)."""
        net, x = self.backbone, (x - 0.8) * 4.0
        x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
        x = net.layer4(net.layer3(net.layer2(net.layer1(x))))
        return torch.flatten(net.avgpool(x), 1)

    def forward(self, codes: Tensor) -> Tensor:
        return _nominal_contents(self.logits(scaled_codes(codes)), self.scale)


def _nominal_contents(raw: Tensor, scale: Tensor) -> Tensor:
    """What the estimator answers, from its logits (n, 6) and `NOMINAL_SCALE` (3,)."""
    count = len(MEASURANDS)
    low, high = LOG_VARIANCE_RANGE
    variance = raw[:, count:].clamp(low, high).exp() * scale**2
    return torch.cat([raw[:, :count] * scale, variance], dim=1)


class AnaemiaScreenNet(LogitNet):
    """Control-like against anaemia-like, for a tile: a head on a field estimator's features.

    Input: uint8 (n, 224, 224, 3), RGB codes of a canonical field. Output: float32 (n, 2),
    probabilities of `SCREEN_CLASSES`. The estimator, `trunk`, keeps its weights: both read a tile
    in one pass (`FieldTrunkNet`).
    """

    def __init__(self) -> None:
        super().__init__()
        self.trunk = FieldEstimatorNet().requires_grad_(False)
        self.head = nn.Linear(FEATURES, len(SCREEN_CLASSES))

    @property
    def backbone(self) -> ResNet:
        return self.trunk.backbone

    def train(self, mode: bool = True) -> AnaemiaScreenNet:
        """As of every module; the trunk's statistics stay what they are."""
        super().train(mode)
        self.trunk.eval()
        return self

    def logits(self, x: Tensor) -> Tensor:
        """Float (n, 3, h, w), transmittance, to (n, 2)."""
        out: Tensor = self.head(self.trunk.features(x))
        return out

    def forward(self, codes: Tensor) -> Tensor:
        return torch.softmax(self.logits(scaled_codes(codes)), dim=1)


class FieldTrunkNet(nn.Module):
    """A field estimator and the screen on its features as one graph, the trunk run once.

    Input: as of either. Output: float32 (n, 8), the estimator's values and the screen's behind
    them. The last layer holds the rows of both.
    """

    def __init__(self, estimator: FieldEstimatorNet, screen: AnaemiaScreenNet) -> None:
        super().__init__()
        own, head = estimator.backbone.fc, screen.head
        both = nn.Linear(FEATURES, own.out_features + head.out_features)
        with torch.no_grad():
            both.weight.copy_(torch.cat([own.weight, head.weight]))
            both.bias.copy_(torch.cat([own.bias, head.bias]))
        self.backbone = copy.deepcopy(estimator.backbone)
        self.backbone.fc = both
        self.scale: Tensor
        self.register_buffer("scale", torch.tensor(NOMINAL_SCALE), persistent=False)

    def forward(self, codes: Tensor) -> Tensor:
        raw: Tensor = self.backbone((scaled_codes(codes) - 0.8) * 4.0)
        split = 2 * len(MEASURANDS)
        contents = _nominal_contents(raw[:, :split], self.scale)
        return torch.cat([contents, torch.softmax(raw[:, split:], dim=1)], dim=1)
