"""A cell classifier: an architecture of the table between canonical codes and probabilities."""

from __future__ import annotations

import torch
from pydantic import field_validator
from torch import Tensor, nn

from edgehemo.errors import UsageError
from edgehemo.field.canonical import UINT8_PER_TRANSMITTANCE
from edgehemo_export.configuration import Configuration
from edgehemo_export.nets.architecture_table import architecture
from edgehemo_export.nets.familiarity import Familiarity
from edgehemo_export.nets.logit_net import LogitNet

# Canonical transmittance of stained crops to about zero mean and unit spread: (x - mean) / sd.
INPUT_MEAN = 0.8
INPUT_SD = 0.25


class ClassifierNetConfig(Configuration):
    """architecture: a name of `architecture_table`. flip_average: answer the mean probability of
    the crop and its mirror images (1: none, 2: left-right, 4: both ways), inside the graph.
    frozen_stages: the first stages that keep the weights they start from (an ImageNet backbone's
    edges and colours), of architectures that list their stages.
    """

    architecture: str = "compact"
    flip_average: int = 1
    frozen_stages: int = 0

    @field_validator("architecture")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            return architecture(value).name
        except UsageError as error:
            raise ValueError(str(error)) from None

    @field_validator("flip_average")
    @classmethod
    def _flips(cls, value: int) -> int:
        if value not in (1, 2, 4):
            raise ValueError("flip_average is 1, 2 or 4")
        return value


class ClassifierNet(LogitNet):
    """Crops to probabilities.

    Input: uint8 (n, side, side, 3), canonical codes RGB (`edgehemo.cells.crops`). Output: float32
    (n, classes), probabilities, softmax(logits / temperature); the temperature is a buffer, 1
    until training fits it on the tune part. With a `familiarity`, which is fitted after training,
    it stands in a column of its own behind the classes. `logits` takes float (n, 3, side, side)
    transmittance: what trains.
    """

    temperature: Tensor
    familiarity: Familiarity | None

    def __init__(self, config: ClassifierNetConfig, classes: int) -> None:
        super().__init__()
        self.config = config
        self.net = architecture(config.architecture).builder(classes)
        self.register_buffer("temperature", torch.ones(()))
        self.familiarity = None
        self._frozen: list[nn.Module] = []
        if config.frozen_stages:
            stages = getattr(self.net, "stages", None)
            if stages is None:
                raise UsageError(f"frozen_stages: {config.architecture} does not list its stages")
            self._frozen = list(stages())[: config.frozen_stages]
            for stage in self._frozen:
                stage.requires_grad_(False)

    def train(self, mode: bool = True) -> ClassifierNet:
        """Frozen stages stay in evaluation mode: their running statistics are not touched."""
        super().train(mode)
        for stage in self._frozen:
            stage.eval()
        return self

    def logits(self, x: Tensor) -> Tensor:
        """Float (n, 3, side, side), transmittance, to float (n, classes)."""
        out: Tensor = self.net((x - INPUT_MEAN) / INPUT_SD)
        return out

    def features(self, x: Tensor) -> Tensor:
        """Float (n, 3, side, side), transmittance, to what the last layer sees, float (n, d).

        Raises UsageError for an architecture that does not show it.
        """
        embed = getattr(self.net, "embed", None)
        if embed is None:
            raise UsageError(f"{self.config.architecture} does not show its features")
        out: Tensor = embed((x - INPUT_MEAN) / INPUT_SD)
        return out

    def forward(self, codes: Tensor) -> Tensor:
        # The views are stacked as samples: run one after the other they would share the weights,
        # of which int8 graphs then hold a copy each.
        views = [codes]
        if self.config.flip_average >= 2:
            views.append(codes.flip(2))
        if self.config.flip_average == 4:
            views += [codes.flip(1), codes.flip((1, 2))]
        seen = torch.cat(views) if len(views) > 1 else codes
        x = seen.permute(0, 3, 1, 2).to(torch.float32) / UINT8_PER_TRANSMITTANCE
        if self.familiarity is None:
            answers = torch.softmax(self.logits(x) / self.temperature, dim=1)
        else:
            features = self.features(x)
            head = self.net.get_submodule("head")
            answers = torch.softmax(head(features) / self.temperature, dim=1)
            answers = torch.cat([answers, self.familiarity(features)], dim=1)
        if len(views) == 1:
            return answers
        return answers.reshape(len(views), -1, answers.shape[1]).mean(dim=0)
