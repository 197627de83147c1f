"""Training of the field estimator: episodes of one microscope, contents per area as truth.

A tile cannot tell how strongly its microscope's stain colours haemoglobin; an analyser
calibration does. So a loss is measured after the factor between picture and content that fits
the episode best, as a calibration would; only on the reference microscope is it absolute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgehemo.errors import UsageError
from edgehemo_export.configuration import CONFIGS, Configuration, read_configuration
from edgehemo_export.data.field_tiles import (
    TiledField,
    TileVariation,
    as_input,
    cut_tile,
    sample_stain,
    varied,
)
from edgehemo_export.nets.logit_net import LogitNet
from edgehemo_export.nets.resnet_fields import LOG_VARIANCE_RANGE, NOMINAL_SCALE
from edgehemo_export.training.arithmetic import mixed_precision
from edgehemo_export.training.task import TaskConfiguration

DEFAULT_CONFIG = CONFIGS / "field_estimator.toml"
# Cells of the second of these hold more haemoglobin per volume than those of the first.
PALER, DENSER = "chula_disease/iron_deficiency", "chula_disease/hereditary_spherocytosis"
ORDER_MARGIN = 0.10
ORDER_TILES = 4
# Beyond these a restained tile is mostly noise or black.
STAIN_FACTOR_RANGE = (0.5, 2.0)
# Huber's change from square to straight, in units of NOMINAL_SCALE.
HUBER_DELTA = 0.15
_SCALE: NDArray[np.float32] = np.array(NOMINAL_SCALE, np.float32)
# An episode's fitted factor may not run away where its tiles hold next to nothing.
FACTOR_RIDGE = 0.05


class SimulatedOptions(Configuration):
    """How many simulated fields are trained on, and how many the tune score stands on."""

    fields: int
    held_out_fields: int


class RealOptions(Configuration):
    """How many real fields of each set (each disease) join, evenly chosen."""

    fields_per_source: int


class EpisodeOptions(Configuration):
    """tiles: of an episode of the small side; of the large side half as many, and half as many in
    a batch. large_share: of the batches. reference_share, real_share: of the episodes; the rest
    are of a simulated microscope drawn from the wide ranges. absolute_weight: of the loss without
    a fitted factor. order_weight: of the order of diseases by cell density.
    """

    tiles: int
    small_side_px: int
    large_side_px: int
    large_share: float
    reference_share: float
    real_share: float
    absolute_weight: float
    order_weight: float


class EstimatorTrainingConfig(TaskConfiguration):
    """Everything that decides a run; read from TOML, stored in the checkpoint."""

    simulated: SimulatedOptions
    real: RealOptions
    episodes: EpisodeOptions
    variation: TileVariation


def read_config(
    path: Path | None = None, changes: Mapping[str, Any] | None = None
) -> EstimatorTrainingConfig:
    """The shipped configuration, single keys overridden; see `configuration`."""
    return read_configuration(EstimatorTrainingConfig, DEFAULT_CONFIG, path, changes)


@dataclass(frozen=True)
class EpisodeBatch:
    """light: float32 (n, 3, side, side). content: float32 (n, 3), nominal over NOMINAL_SCALE.
    episode: int64 (n,). absolute: bool (n,), of the reference microscope. paler, denser: indices
    of tiles whose cells are known to be of lower and higher density.
    """

    light: Tensor
    content: Tensor
    episode: Tensor
    absolute: Tensor
    paler: Tensor
    denser: Tensor


class EstimatorTask:
    """What the training loop asks of the field estimator: see `training.task.LearningTask`."""

    def __init__(
        self,
        simulated: Sequence[TiledField],
        real: Sequence[TiledField],
        held_out: Sequence[TiledField],
        config: EstimatorTrainingConfig,
    ) -> None:
        self._config = config
        self._reference = [field for field in simulated if field.reference]
        self._wide = [field for field in simulated if not field.reference]
        if not self._reference or not self._wide:
            raise UsageError("too few simulated fields to train on; raise simulated.fields")
        green = np.array([_stain(field)[1] for field in self._wide])
        self._by_green = [self._wide[i] for i in np.argsort(green)]
        self._green = np.sort(green)
        # What orders diseases has no count of its own.
        self._order = {
            name: [field for field in real if field.source == name] for name in (PALER, DENSER)
        }
        groups: dict[str, list[TiledField]] = {}
        for field in real:
            groups.setdefault(field.group, []).append(field)
        self._groups = {
            side: [
                fitting
                for fields in groups.values()
                if len(fitting := [f for f in fields if f.fits(side)]) >= 2
            ]
            for side in (config.episodes.small_side_px, config.episodes.large_side_px)
        }
        self._held_out = held_out

    def batch(
        self, size: int, rng: np.random.Generator, generator: torch.Generator
    ) -> EpisodeBatch:
        options = self._config.episodes
        large = bool(rng.random() < options.large_share)
        side = options.large_side_px if large else options.small_side_px
        tiles_each = max(2, options.tiles // 2 if large else options.tiles)
        episodes = max(1, (size // 2 if large else size) // tiles_each)
        tiles: list[NDArray[np.uint8]] = []
        content: list[NDArray[np.float32]] = []
        episode: list[int] = []
        absolute: list[bool] = []
        for number in range(episodes):
            draw = rng.random()
            reference = draw < options.reference_share
            real = not reference and draw < options.reference_share + options.real_share
            for field, factor in self._drawn(reference, real, tiles_each, side, rng):
                tile, held = cut_tile(field, side, rng)
                tiles.append(varied(tile, factor, self._config.variation, rng))
                content.append(held / _SCALE)
                episode.append(number)
                absolute.append(reference)
        ordered: dict[str, list[int]] = {PALER: [], DENSER: []}
        if options.order_weight > 0 and all(self._fitting_order(name, side) for name in ordered):
            for name, indices in ordered.items():
                fields = self._fitting_order(name, side)
                for _ in range(ORDER_TILES):
                    field = fields[int(rng.integers(len(fields)))]
                    tile, held = cut_tile(field, side, rng)
                    indices.append(len(tiles))
                    factor = sample_stain(self._config.variation, rng)
                    tiles.append(varied(tile, factor, self._config.variation, rng))
                    content.append(held / _SCALE)
                    episode.append(-1)
                    absolute.append(False)
        return EpisodeBatch(
            as_input(tiles),
            torch.from_numpy(np.stack(content)),
            torch.tensor(episode),
            torch.tensor(absolute),
            torch.tensor(ordered[PALER], dtype=torch.int64),
            torch.tensor(ordered[DENSER], dtype=torch.int64),
        )

    def loss(
        self, net: nn.Module, batch: EpisodeBatch, place: torch.device
    ) -> tuple[Tensor, dict[str, float]]:
        light = batch.light.to(place, memory_format=torch.channels_last)
        with mixed_precision(place):
            raw = net(light)
        return estimator_loss(raw.float(), batch, self._config.episodes)

    def validate(self, net: LogitNet, place: torch.device) -> dict[str, float]:
        """Relative errors of tiles never trained on: by how much a fitted factor misses them."""
        return tile_scores(net, self._held_out, self._config, place)

    def _fitting_order(self, name: str, side: int) -> list[TiledField]:
        return [field for field in self._order[name] if field.fits(side)]

    def _drawn(
        self, reference: bool, real: bool, count: int, side: int, rng: np.random.Generator
    ) -> list[tuple[TiledField, NDArray[np.float64]]]:
        """Fields of one episode, each with the factor for its stain."""
        options = self._config.variation
        if reference:
            # The reference stain is what makes the answer absolute: nothing is changed about it.
            chosen = [
                self._reference[int(i)] for i in rng.integers(len(self._reference), size=count)
            ]
            return [(field, np.ones(3)) for field in chosen]
        if real and self._groups[side]:
            group = self._groups[side][int(rng.integers(len(self._groups[side])))]
            chosen = [group[int(i)] for i in rng.integers(len(group), size=count)]
            return [(field, sample_stain(options, rng)) for field in chosen]
        anchor = self._by_green[int(rng.integers(len(self._by_green)))]
        wanted = _stain(anchor)
        low, high = STAIN_FACTOR_RANGE
        first = int(np.searchsorted(self._green, wanted[1] / high))
        last = int(np.searchsorted(self._green, wanted[1] / low, side="right"))
        out = []
        for i in rng.integers(first, max(first + 1, last), size=count):
            field = self._by_green[int(i)]
            factor = wanted / np.maximum(_stain(field), 1e-4) * sample_stain(options, rng)
            out.append((field, np.clip(factor, low, high)))
        return out


def _stain(field: TiledField) -> NDArray[np.float64]:
    if field.stain is None:
        raise ValueError(f"{field.group}: a real field's stain is not known")
    return field.stain.astype(np.float64)


def estimator_loss(
    raw: Tensor, batch: EpisodeBatch, options: EpisodeOptions
) -> tuple[Tensor, dict[str, float]]:
    """raw: float32 (n, 6) as `FieldEstimatorNet.logits` gives them."""
    place = raw.device
    content, episode = batch.content.to(place), batch.episode.to(place)
    absolute = batch.absolute.to(place)
    mean, log_variance = raw[:, :3], raw[:, 3:].clamp(*LOG_VARIANCE_RANGE)
    counted = episode >= 0
    fitted = mean * torch.where(absolute[:, None], 1.0, episode_factors(mean, content, episode))
    residual = (fitted - content)[counted]
    fit = nn.functional.huber_loss(residual, torch.zeros_like(residual), delta=HUBER_DELTA) / (
        0.5 * HUBER_DELTA
    )
    # Where the scale of the picture is not known, a weak pull keeps it near the truth.
    far = (mean.clamp_min(0.02).log() - content.clamp_min(0.02).log())[counted]
    pull = nn.functional.huber_loss(far, torch.zeros_like(far), delta=0.3)
    spread = 0.5 * (
        residual.detach() ** 2 * torch.exp(-log_variance[counted]) + log_variance[counted]
    )
    loss = fit + options.absolute_weight * pull + 0.05 * spread.mean()
    parts = {"fit": fit.item(), "pull": pull.item(), "variance": spread.mean().item()}
    for i, name in enumerate(("hgb", "hct", "rbc")):
        parts[name] = (residual[:, i] ** 2).mean().sqrt().item()
    if len(batch.paler) and len(batch.denser):
        # Haemoglobin over volume: the cells' own concentration.
        density = mean[:, 0].clamp_min(0.02).log() - mean[:, 1].clamp_min(0.02).log()
        gap = density[batch.denser.to(place)].mean() - density[batch.paler.to(place)].mean()
        order = torch.relu(ORDER_MARGIN - gap)
        loss = loss + options.order_weight * order
        parts["order"] = gap.item()
    return loss, parts


def episode_factors(mean: Tensor, content: Tensor, episode: Tensor) -> Tensor:
    """The least-squares factor of each tile's episode, (n, 3), differentiable; 1 outside any."""
    out = torch.ones_like(mean)
    for number in range(int(episode.max()) + 1):
        here = episode == number
        x, y = mean[here], content[here]
        factor = ((x * y).mean(dim=0) + FACTOR_RIDGE) / ((x * x).mean(dim=0) + FACTOR_RIDGE)
        out = torch.where(here[:, None], factor[None], out)
    return out


def tile_scores(
    net: LogitNet,
    fields: Sequence[TiledField],
    config: EstimatorTrainingConfig,
    place: torch.device,
) -> dict[str, float]:
    """Root mean square error of one tile a field, over the mean content, for reference fields
    (absolute) and the others (factor fitted by stain); ``score`` is minus the mean of them.
    """
    if not fields:
        return {}
    rng = np.random.default_rng(0)
    side = config.episodes.large_side_px
    predicted, held = [], []
    for start in range(0, len(fields), 25):
        cut = [cut_tile(field, side, rng) for field in fields[start : start + 25]]
        light = as_input([tile for tile, _ in cut]).to(place)
        with mixed_precision(place):
            raw = net.logits(light)
        predicted.append(raw.float().cpu().numpy()[:, :3])
        held += [content / np.array(NOMINAL_SCALE) for _, content in cut]
    mean, content = np.concatenate(predicted), np.array(held)
    reference = np.array([field.reference for field in fields])
    out: dict[str, float] = {}
    for name, chosen in (("reference", reference), ("wide", ~reference)):
        if not chosen.any():
            continue
        error = np.sqrt(((mean[chosen] - content[chosen]) ** 2).mean(axis=0))
        for i, measurand in enumerate(("hgb", "hct", "rbc")):
            out[f"{name}_{measurand}"] = float(error[i] / content[chosen][:, i].mean())
    out["score"] = -float(np.mean(list(out.values())))
    return out
