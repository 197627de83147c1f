"""Wavelet scattering and a cubic SVM, the best method of Lateef et al. 2025, as a network.

Fitted, not descended: two scattering layers (see `scattering`), averaged over the crop, then one
support vector machine a class against the rest. It answers decision values as logits, so that
temperature, conformal rule and evaluation are those of every other classifier.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.svm import SVC
from torch import Tensor, nn

from edgehemo.field.canonical import UINT8_PER_TRANSMITTANCE
from edgehemo_export.nets.scattering import Scattering

# The study's: invariance over 40 px, two rotations in each layer; ours is over a power of two and
# has one wavelet an octave, where the study had two in its first layer.
INVARIANCE_PX = 40
ROTATIONS = 2
# The study's box constraint; kernel (1 + x.y)^3 on standardised features, kernel scale 1.
BOX_CONSTRAINT = 314.0
POLYNOMIAL_ORDER = 3
_BATCH = 16


class ScatteringSvm(nn.Module):
    """Scattering features and support vectors.

    Input float (n, 3, s, s) normalised crops, output float (n, classes) decision values. Its
    buffers are empty until `fit` or `load_state_dict`.
    """

    mean: Tensor
    spread: Tensor
    support: Tensor
    dual: Tensor
    bias: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        for name in ("mean", "spread", "support", "dual"):
            self.register_buffer(name, torch.zeros(0))
        self.register_buffer("bias", torch.zeros(classes))
        self._scattering: dict[int, Scattering] = {}

    def features(self, x: Tensor) -> Tensor:
        """Logarithm of the mean scattering coefficients, float32 (n, 3 * coefficients)."""
        side = x.shape[-1]
        if side not in self._scattering:
            self._scattering[side] = _scattering(side)
        return torch.log(self._scattering[side](x.float()).abs() + 1e-3)

    def forward(self, x: Tensor) -> Tensor:
        standard = (self.features(x) - self.mean) / self.spread
        kernel = (1.0 + standard @ self.support.T) ** POLYNOMIAL_ORDER
        return kernel @ self.dual.T + self.bias

    def fit(self, features: NDArray[np.float32], labels: NDArray[np.intp]) -> None:
        """Fit one SVM a class on features float32 (n, f); a class that is absent never wins."""
        mean, spread = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
        standard = (features - mean) / spread
        dual = np.zeros((self.classes, len(features)), np.float64)
        bias = np.full(self.classes, -1e3)
        for index in range(self.classes):
            own = labels == index
            if not own.any() or own.all():
                continue
            machine = SVC(
                C=BOX_CONSTRAINT, kernel="poly", degree=POLYNOMIAL_ORDER, gamma=1.0, coef0=1.0
            ).fit(standard, own)
            dual[index, machine.support_] = machine.dual_coef_[0]
            bias[index] = machine.intercept_[0]
        used = np.flatnonzero(np.abs(dual).max(axis=0) > 0)
        self.mean = torch.from_numpy(mean.astype(np.float32))
        self.spread = torch.from_numpy(spread.astype(np.float32))
        self.support = torch.from_numpy(standard[used].astype(np.float32))
        self.dual = torch.from_numpy(dual[:, used].astype(np.float32))
        self.bias = torch.from_numpy(bias.astype(np.float32))

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """As PyTorch's; the buffers take the shapes they were fitted with."""
        self._take_shapes(state_dict, "")
        return super().load_state_dict(state_dict, strict, assign)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *others: Any) -> None:
        self._take_shapes(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *others)

    def _take_shapes(self, state_dict: Mapping[str, Any], prefix: str) -> None:
        for name, buffer in list(self._buffers.items()):
            stored = state_dict.get(f"{prefix}{name}")
            if stored is not None and buffer is not None and stored.shape != buffer.shape:
                setattr(self, name, torch.zeros_like(stored))


def features_of(
    net: ScatteringSvm, codes: NDArray[np.uint8], mean: float, spread: float
) -> NDArray[np.float32]:
    """Features of crops uint8 (n, s, s, 3), normalised as the network's input is."""
    out = []
    with torch.inference_mode():
        for start in range(0, len(codes), _BATCH):
            part = torch.from_numpy(codes[start : start + _BATCH]).permute(0, 3, 1, 2)
            light = part.to(torch.float32) / UINT8_PER_TRANSMITTANCE
            out.append(net.features((light - mean) / spread).numpy())
    return np.concatenate(out)


def _scattering(side: int) -> Scattering:
    octaves = min(round(math.log2(INVARIANCE_PX)), int(math.log2(side)) - 1)
    return Scattering(side, octaves=octaves, rotations=ROTATIONS)
