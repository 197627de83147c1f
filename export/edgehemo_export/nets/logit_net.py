"""What every trainable network has: logits to learn by, answers to deploy."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class LogitNet(nn.Module, ABC):
    """A network that is trained on its logits and deployed on its answers.

    ``forward`` takes uint8 codes and gives final values, as the device wants them.
    """

    @abstractmethod
    def logits(self, x: Tensor) -> Tensor:
        """Float (n, 3, h, w), transmittance, to what the loss is made of."""
