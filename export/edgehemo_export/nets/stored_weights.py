"""How the weights of checkpoints are stored: in half precision, which halves their files."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def half_precision(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Floating-point weights as float16, within its range; counters as they are."""
    limit = torch.finfo(torch.float16).max
    return {
        name: value.clamp(-limit, limit).half() if value.dtype.is_floating_point else value
        for name, value in weights.items()
    }
