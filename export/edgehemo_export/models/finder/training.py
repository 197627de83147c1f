"""Training of the cell finder, resumable and reproducible from its seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from edgehemo.cells.maps import KINDS_IN_MAPS, STRIDE
from edgehemo.errors import UsageError
from edgehemo.field.canonical import CELL_DIAMETER_PX
from edgehemo_export.configuration import CONFIGS, Configuration, read_configuration
from edgehemo_export.data.canonical_set import CanonicalExample
from edgehemo_export.data.sets.own import own_alone, own_sets
from edgehemo_export.data.simulated.fields import SOURCE as SIMULATED
from edgehemo_export.models.finder.data import Batch, SampleOptions, draw_batch
from edgehemo_export.models.finder.variation import vary_colour
from edgehemo_export.nets.architectures import CellFinderConfig
from edgehemo_export.nets.logit_net import LogitNet
from edgehemo_export.training.arithmetic import mixed_precision
from edgehemo_export.training.task import TaskConfiguration

DEFAULT_CONFIG = CONFIGS / "cell_finder.toml"


class SimulatedOptions(Configuration):
    """How many fields of the simulated microscope join the training, and their size."""

    fields: int = 0
    side_px: int = 320


class FinderTrainingConfig(TaskConfiguration):
    """Everything that decides a run; read from TOML, stored in the checkpoint.

    source_shares: share of the samples drawn from each source. doubt_weights: by source, how much
    stain without a box weighs as background where not every cell has a box: a little ranks what
    labellers leave out below the rest without suppressing it. box_loss_weight: of the boxes
    beside the score maps.
    """

    box_loss_weight: float
    source_shares: dict[str, float]
    doubt_weights: dict[str, float] = Field(default_factory=dict)
    crop: SampleOptions = SampleOptions()
    model: CellFinderConfig = CellFinderConfig()
    simulated: SimulatedOptions = SimulatedOptions()


def read_config(
    path: Path | None = None, changes: Mapping[str, Any] | None = None
) -> FinderTrainingConfig:
    """The shipped configuration, single keys overridden; see `configuration`."""
    return read_configuration(FinderTrainingConfig, DEFAULT_CONFIG, path, changes)


# Of the samples, those of own sets where there are public ones too; `source_shares` in a
# configuration says otherwise.
OWN_SHARE = 0.25


def shares_with_own(config: FinderTrainingConfig, data: Path) -> FinderTrainingConfig:
    """The configuration with the own sets of a data root drawn in a quarter of the samples, each
    alike, where it does not weigh them itself; in all but the simulated ones where they are alone.
    """
    names = [own.told.name for own in own_sets(data) if own.in_fields]
    if not names or any(name in config.source_shares for name in names):
        return config
    total = sum(config.source_shares.values())
    drawn = config.source_shares.get(SIMULATED, 0.0)
    share = total - drawn if own_alone(data) else OWN_SHARE / (1 - OWN_SHARE) * total
    more = dict.fromkeys(names, share / len(names))
    return config.model_copy(update={"source_shares": {**config.source_shares, **more}})


def example_chances(
    examples: Sequence[CanonicalExample], shares: Mapping[str, float]
) -> NDArray[np.float64]:
    """Probability of drawing each example, so that sources come in the stated shares."""
    sources = np.array([example.source for example in examples])
    chances = np.zeros(len(examples))
    for source in np.unique(sources):
        here = sources == source
        chances[here] = shares.get(str(source), 0.0) / here.sum()
    if chances.sum() <= 0:
        raise UsageError("source_shares gives no share to any source that the data root holds")
    return np.asarray(chances / chances.sum())


def finder_loss(raw: Tensor, batch: Batch, box_weight: float) -> tuple[Tensor, dict[str, float]]:
    """Focal loss of the score maps (Zhou et al. 2019) and GIoU with L1 of the boxes.

    raw: float32 (n, 7, r, c) before the sigmoid. Places whose truth is unknown add nothing.
    """
    kinds = len(KINDS_IN_MAPS)
    logits, boxes = raw[:, :kinds], raw[:, kinds:]
    heat, known = batch.heat, batch.known
    score = torch.sigmoid(logits)
    positive = (heat >= 0.9999).float()
    log_yes = torch.nn.functional.logsigmoid(logits)
    log_no = torch.nn.functional.logsigmoid(-logits)
    gain = positive * (1 - score) ** 2 * log_yes
    cost = (1 - positive) * (1 - heat) ** 4 * score**2 * log_no
    found = positive.sum().clamp_min(1.0)
    heat_loss = -((gain + cost) * known).sum() / found

    weight = batch.weight
    total = weight.sum().clamp_min(1.0)
    l1 = ((boxes - batch.box).abs() * weight).sum() / total
    overlap = _giou(boxes, batch.box)[:, None]
    giou = ((1 - overlap) * weight).sum() / total
    loss = heat_loss + box_weight * (0.5 * l1 + giou)
    return loss, {"heat": heat_loss.item(), "l1": l1.item(), "giou": giou.item()}


def _giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU (Rezatofighi et al. 2019) of coded boxes (n, 4, r, c) -> (n, r, c)."""
    half = 0.5 * CELL_DIAMETER_PX / STRIDE

    def corners(coded: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        w, h = half * coded[:, 2].clamp(-4, 3).exp(), half * coded[:, 3].clamp(-4, 3).exp()
        return coded[:, 0] - w, coded[:, 1] - h, coded[:, 0] + w, coded[:, 1] + h

    ax0, ay0, ax1, ay1 = corners(a)
    bx0, by0, bx1, by1 = corners(b)
    wide = (torch.minimum(ax1, bx1) - torch.maximum(ax0, bx0)).clamp_min(0)
    tall = (torch.minimum(ay1, by1) - torch.maximum(ay0, by0)).clamp_min(0)
    shared = wide * tall
    union = (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - shared
    hull = (torch.maximum(ax1, bx1) - torch.minimum(ax0, bx0)) * (
        torch.maximum(ay1, by1) - torch.minimum(ay0, by0)
    )
    return shared / union.clamp_min(1e-6) - (hull - union) / hull.clamp_min(1e-6)


class FinderTask:
    """What the training loop asks of the cell finder: see `training.task.LearningTask`."""

    def __init__(self, examples: Sequence[CanonicalExample], config: FinderTrainingConfig) -> None:
        self._examples = examples
        self._config = config
        self._chances = example_chances(examples, config.source_shares)

    def batch(
        self, size: int, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[Batch, Tensor]:
        """The crops' targets, and their recoloured pictures float32 (n, 3, h, w)."""
        config = self._config
        drawn = draw_batch(
            self._examples, self._chances, size, config.crop, rng, config.doubt_weights
        )
        share = config.crop.dirty_share
        return drawn, vary_colour(drawn.codes, generator, dirty_share=share)

    def loss(
        self, net: nn.Module, batch: tuple[Batch, Tensor], place: torch.device
    ) -> tuple[Tensor, dict[str, float]]:
        drawn, varied = batch
        light = varied.to(place, memory_format=torch.channels_last)
        with mixed_precision(place):
            raw = net(light)
        return finder_loss(raw.float(), _moved(drawn, place), self._config.box_loss_weight)

    def validate(self, net: LogitNet, place: torch.device) -> dict[str, float]:
        """None: the operating points need the tune part untouched by a choice of weights."""
        return {}


def _moved(batch: Batch, place: torch.device) -> Batch:
    return Batch(*(getattr(batch, f.name).to(place) for f in dataclasses.fields(batch)))
