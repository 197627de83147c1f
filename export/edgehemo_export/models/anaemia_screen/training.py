"""Training of the anaemia screen: sources and classes in equal parts, lights and stains varied."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgehemo.errors import UsageError
from edgehemo.estimate.network import log_odds
from edgehemo.field.canonical import CLEAR_FIELD_CODE
from edgehemo.field.tiles import starts
from edgehemo_export.configuration import CONFIGS, Configuration, read_configuration
from edgehemo_export.data.field_tiles import TileVariation, as_input, sample_stain, varied
from edgehemo_export.data.smears import ANAEMIA, CONTROL
from edgehemo_export.models.anaemia_screen.data import ScreenField
from edgehemo_export.nets.logit_net import LogitNet
from edgehemo_export.nets.resnet_fields import AnaemiaScreenNet
from edgehemo_export.training.arithmetic import mixed_precision
from edgehemo_export.training.task import TaskConfiguration

DEFAULT_CONFIG = CONFIGS / "anaemia_screen.toml"
LABEL_SMOOTHING = 0.05
# The tune score reads at most so many fields of a source and class, one tile each.
TUNE_FIELDS = 12


class SimulatedOptions(Configuration):
    """How many simulated fields join; those of the field estimator serve."""

    fields: int


class ScreenTrainingConfig(TaskConfiguration):
    """Everything that decides a run; read from TOML, stored in the checkpoint."""

    tile_side_px: int
    source_shares: dict[str, float]
    simulated: SimulatedOptions
    variation: TileVariation


def read_config(
    path: Path | None = None, changes: Mapping[str, Any] | None = None
) -> ScreenTrainingConfig:
    """The shipped configuration, single keys overridden; see `configuration`."""
    return read_configuration(ScreenTrainingConfig, DEFAULT_CONFIG, path, changes)


# Of the batches, those of own sets where there are public ones too; `source_shares` in a
# configuration says otherwise.
OWN_SHARE = 0.25


def shares_with_own(
    config: ScreenTrainingConfig, own: Sequence[str], there: Collection[str]
) -> ScreenTrainingConfig:
    """The configuration with own sets drawn in a quarter of the batches, each alike, where it does
    not weigh them itself. own: their names. there: the sources that the data root holds.
    """
    names = [name for name in own if name in there]
    if not names or any(name in config.source_shares for name in names):
        return config
    total = sum(config.source_shares.values())
    more = dict.fromkeys(names, OWN_SHARE / (1 - OWN_SHARE) * total / len(names))
    return config.model_copy(update={"source_shares": {**config.source_shares, **more}})


@dataclass(frozen=True)
class ScreenBatch:
    """light: float32 (n, 3, side, side); labels: int64 (n,)."""

    light: Tensor
    labels: Tensor


class ScreenTask:
    """What the training loop asks of the screen: see `training.task.LearningTask`."""

    def __init__(
        self,
        fields: Sequence[ScreenField],
        tune: Sequence[ScreenField],
        config: ScreenTrainingConfig,
    ) -> None:
        self._config = config
        self._by_source: dict[str, dict[int, list[ScreenField]]] = {}
        for field in fields:
            by_label = self._by_source.setdefault(field.source, {CONTROL: [], ANAEMIA: []})
            by_label[field.label].append(field)
        # A source with one class alone would teach the source.
        self._sources = [
            source
            for source, by_label in sorted(self._by_source.items())
            if all(by_label.values()) and config.source_shares.get(source, 0.0) > 0
        ]
        if not self._sources:
            raise UsageError("no source holds both classes: nothing to learn the screen from")
        shares = np.array([config.source_shares[source] for source in self._sources])
        self._chances = shares / shares.sum()
        self._tune = tune

    def batch(self, size: int, rng: np.random.Generator, generator: torch.Generator) -> ScreenBatch:
        side = self._config.tile_side_px
        tiles, labels = [], []
        for number in range(size):
            source = self._sources[int(rng.choice(len(self._sources), p=self._chances))]
            label = (CONTROL, ANAEMIA)[number % 2]
            fields = self._by_source[source][label]
            field = fields[int(rng.integers(len(fields)))]
            tile = random_tile(field.codes, side, rng)
            factor = sample_stain(self._config.variation, rng)
            tiles.append(varied(tile, factor, self._config.variation, rng))
            labels.append(label)
        return ScreenBatch(as_input(tiles), torch.tensor(labels))

    def loss(
        self, net: nn.Module, batch: ScreenBatch, place: torch.device
    ) -> tuple[Tensor, dict[str, float]]:
        light = batch.light.to(place, memory_format=torch.channels_last)
        labels = batch.labels.to(place)
        with mixed_precision(place):
            raw = net(light)
        loss = nn.functional.cross_entropy(raw.float(), labels, label_smoothing=LABEL_SMOOTHING)
        right = (raw.argmax(dim=1) == labels).float().mean()
        return loss, {"loss": loss.item(), "accuracy": right.item()}

    def validate(self, net: LogitNet, place: torch.device) -> dict[str, float]:
        """Loss and accuracy of one middle tile of some tune fields; no score: every run ends with
        its averaged weights, since the tune part is too small to choose by.
        """
        chosen: list[ScreenField] = []
        for source in sorted({field.source for field in self._tune}):
            for label in (CONTROL, ANAEMIA):
                here = [f for f in self._tune if f.source == source and f.label == label]
                chosen += here[:TUNE_FIELDS]
        if not chosen:
            return {}
        tiles = [whole_tiles(field.codes, self._config.tile_side_px)[0] for field in chosen]
        labels = torch.tensor([field.label for field in chosen])
        with mixed_precision(place):
            raw = net.logits(as_input(tiles).to(place)).float().cpu()
        return {
            "loss": float(nn.functional.cross_entropy(raw, labels)),
            "accuracy": float((raw.argmax(dim=1) == labels).float().mean()),
        }


def padded(codes: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """A field at least ``side`` wide and high, with clear field beyond it."""
    below, right = max(0, side - codes.shape[0]), max(0, side - codes.shape[1])
    if not below and not right:
        return codes
    clear = (CLEAR_FIELD_CODE,) * 3
    return np.asarray(
        cv2.copyMakeBorder(codes, 0, below, 0, right, cv2.BORDER_CONSTANT, value=clear), np.uint8
    )


def random_tile(codes: NDArray[np.uint8], side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A tile anywhere in a field, in one of eight orientations, somewhat larger or smaller: the
    scale is an estimate.
    """
    zoom = float(np.exp(rng.uniform(-0.08, 0.08)))
    wanted = round(side * zoom)
    whole = padded(codes, wanted)
    y = int(rng.integers(0, whole.shape[0] - wanted + 1))
    x = int(rng.integers(0, whole.shape[1] - wanted + 1))
    tile = whole[y : y + wanted, x : x + wanted]
    if wanted != side:
        way = cv2.INTER_AREA if wanted > side else cv2.INTER_LINEAR
        tile = np.asarray(cv2.resize(tile, (side, side), interpolation=way), np.uint8)
    tile = np.rot90(tile, int(rng.integers(0, 4)))
    return np.ascontiguousarray(tile[:, ::-1] if rng.random() < 0.5 else tile)


def whole_tiles(codes: NDArray[np.uint8], side: int) -> list[NDArray[np.uint8]]:
    """The tiles that a device reads of a field."""
    whole = padded(codes, side)
    return [
        np.ascontiguousarray(whole[y : y + side, x : x + side])
        for y in starts(whole.shape[0])
        for x in starts(whole.shape[1])
    ]


def field_log_odds(
    net: AnaemiaScreenNet, codes: NDArray[np.uint8], side: int, *, most: int = 16
) -> float:
    """Mean log odds of a field's tiles, at most so many of them, evenly chosen."""
    tiles = whole_tiles(codes, side)
    chosen = np.unique(np.linspace(0, len(tiles) - 1, most).round().astype(int))
    with torch.inference_mode():
        answers = net(torch.from_numpy(np.stack([tiles[int(i)] for i in chosen])))
    return float(np.mean([log_odds(float(value)) for value in answers[:, 1]]))
