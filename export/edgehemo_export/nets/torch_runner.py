"""A PyTorch network behind the runner's protocol of the device."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray


class TorchRunner:
    """The network as an inference runner, so that the device's code reads it."""

    name = "pytorch"
    version = str(torch.__version__)

    def __init__(self, net: torch.nn.Module) -> None:
        self._net = net.eval()

    def run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(self._net(torch.from_numpy(codes)).numpy(), dtype=np.float32)
