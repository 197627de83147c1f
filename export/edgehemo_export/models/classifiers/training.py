"""Training of a cell classifier over crops: how crops are drawn, varied and mixed, and the loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as v2

from edgehemo.errors import UsageError
from edgehemo.field.canonical import CLEAR_FIELD_CODE, UINT8_PER_TRANSMITTANCE
from edgehemo_export.configuration import Configuration
from edgehemo_export.data.cell_crops import CellCrops, CropOptions
from edgehemo_export.nets.classifier_nets import ClassifierNet, ClassifierNetConfig
from edgehemo_export.nets.logit_net import LogitNet
from edgehemo_export.training.arithmetic import mixed_precision
from edgehemo_export.training.loop import TaskConfiguration

VALIDATION_BATCH = 128
# Of a crop cut by a picture's border at most this share is missing: the cell's middle never is.
MAX_CUT_SHARE = 0.36
_LN10 = math.log(10.0)


class AugmentOptions(Configuration):
    """How a crop is varied; every range is symmetric in the logarithm or about zero.

    zoom: the largest factor of size, either way: the error of an estimated scale. aspect: of
    stretching. shift_px: of the cell from the middle. warp_share: crops that are turned by any
    angle and resampled; the rest are only turned by right angles, mirrored and shifted by whole
    pixels, and stay as sharp as the device sees them. strength, hue, mixing: of the stain, in
    optical density: factor of all channels, of single channels, and how far channels mix. light:
    factor of the background per channel, the error of its estimate. ramp: of uneven light.
    blur_share, blur_px: crops that are blurred, by at most this sigma. noise: largest sd of sensor
    noise, transmittance. exchange_share: crops whose cell is pasted on another crop's surroundings
    (needs masks). stain_share: crops that take
    another source's stain, wholly or in part (needs stain gains).
    """

    zoom: float = 1.2
    aspect: float = 0.05
    shift_px: int = 6
    warp_share: float = 0.5
    strength: float = 0.3
    hue: float = 0.12
    mixing: float = 0.06
    light: float = 0.04
    ramp: float = 0.03
    blur_share: float = 0.3
    blur_px: float = 1.3
    noise: float = 0.02
    exchange_share: float = 0.0
    stain_share: float = 0.0
    border_share: float = 0.08


class OutOfFoldOptions(Configuration):
    """Second opinions as targets (see `classifiers.out_of_fold`). share: of the second opinion in a
    target, 0 for none asked. folds: networks that are trained for it, each on the other folds'
    groups. steps: of each of these trainings. architecture: of these networks, that of the
    configuration's model where it is not named.
    """

    share: float = Field(default=0.0, ge=0, le=1)
    architecture: str | None = None
    folds: int = Field(default=3, ge=2)
    steps: int = Field(default=1000, ge=1)


class ClassifierConfig(TaskConfiguration):
    """Everything that decides a classifier's run.

    sets: the sources that are read, all where empty. class_balance: 0 draws crops as often as they
    occur, 1 every class equally often. source_weights: by source, how much more often than others
    its crops are drawn (1 where not named). label_smoothing, mixup_alpha (0: none), mixup_share:
    of the batches. logit_adjustment: share of the log prior of the drawn classes that is added to
    the logits in training (Menon et al. 2021): 1 answers as if all classes were equally frequent,
    -class_balance / (1 - class_balance) as if they were as frequent as in the training part.
    teacher_share: of a teacher's answer to the very crop as it was drawn and varied, in a target
    (Hinton et al. 2015); the teacher is a checkpoint that a run is given.
    unnamed_share: of a batch, crops of which only some classes are known to be possible; among
    those a teacher's answer is their target, or the network's own where it has none.
    coverage: of the conformal rule.
    init: where a fresh run's weights come from, unless a checkpoint is given.
    """

    sets: tuple[str, ...] = ()
    crop: CropOptions = CropOptions()
    model: ClassifierNetConfig = ClassifierNetConfig()
    augment: AugmentOptions = AugmentOptions()
    class_balance: float = Field(default=0.5, ge=0, le=1)
    source_weights: dict[str, float] = Field(default_factory=dict)
    label_smoothing: float = Field(default=0.05, ge=0, lt=1)
    mixup_alpha: float = Field(default=0.2, ge=0)
    mixup_share: float = Field(default=0.5, ge=0, le=1)
    logit_adjustment: float = 0.0
    teacher_share: float = Field(default=0.0, ge=0, le=1)
    unnamed_share: float = Field(default=0.0, ge=0, lt=1)
    coverage: float = Field(default=0.98, gt=0, lt=1)
    out_of_fold: OutOfFoldOptions = OutOfFoldOptions()
    init: Literal["scratch", "imagenet"] = "scratch"


@dataclass(frozen=True)
class CropBatch:
    """light: float32 (n, 3, side, side), varied transmittance. target: float32 (n, classes).
    unnamed: float32 (n,), what a target lacks to one: the share that any of the `UnnamedCrops`'
    possible classes may take."""

    light: Tensor
    target: Tensor
    unnamed: Tensor


@dataclass(frozen=True)
class UnnamedCrops:
    """Crops of one kind of cell whose classes nobody has told: white cells, say, of any type.

    crops: their labels mean nothing. possible: bool (classes,), among which the true class is.
    """

    crops: CellCrops
    possible: NDArray[np.bool_]


def crop_chances(
    crops: CellCrops, class_balance: float, source_weights: Mapping[str, float]
) -> NDArray[np.float64]:
    """Probability of drawing each crop, float64 (n,)."""
    weights = np.array([source_weights.get(str(s), 1.0) for s in crops.sources], np.float64)
    mass = np.bincount(crops.labels, weights=weights, minlength=len(crops.classes))
    wanted = np.where(mass > 0, mass ** (1 - class_balance), 0.0)
    chances = weights * np.where(mass > 0, wanted / np.maximum(mass, 1e-12), 0.0)[crops.labels]
    if chances.sum() <= 0:
        raise UsageError("source_weights leaves no crop to draw")
    return np.asarray(chances / chances.sum(), np.float64)


def vary_geometry(
    codes: Tensor, side: int, options: AugmentOptions, generator: torch.Generator
) -> Tensor:
    """Turned, mirrored, zoomed, shifted and sometimes cut crops.

    codes: uint8 (n, s, s, 3). Returns transmittance float32 (n, 3, side, side); what lies beyond
    a crop is clear field.
    """
    n, stored = codes.shape[0], codes.shape[1]
    light = codes.permute(0, 3, 1, 2).to(torch.float32) / UINT8_PER_TRANSMITTANCE
    room = (stored - side) // 2
    reach = min(room, options.shift_px)
    out = torch.empty(n, 3, side, side)
    turns = torch.randint(0, 8, (n,), generator=generator)
    shifts = torch.randint(-reach, reach + 1, (n, 2), generator=generator)
    warped = torch.rand(n, generator=generator) < options.warp_share
    for i in torch.nonzero(~warped).flatten().tolist():
        down, right = (int(v) for v in shifts[i])
        part = light[i, :, room + down : room + down + side, room + right : room + right + side]
        part = torch.rot90(part, int(turns[i]) % 4, (1, 2))
        out[i] = part.flip(2) if int(turns[i]) >= 4 else part
    chosen = torch.nonzero(warped).flatten()
    if len(chosen):
        m = len(chosen)

        def uniform(half: float) -> Tensor:
            return torch.empty(m).uniform_(-half, half, generator=generator)

        angle = uniform(math.pi)
        zoom = torch.exp(uniform(math.log(options.zoom)))
        stretch = torch.exp(uniform(options.aspect))
        mirror = torch.where(turns[chosen] >= 4, -1.0, 1.0)
        cos, sin = torch.cos(angle), torch.sin(angle)
        # Output to input coordinates; grid_sample's run from -1 to 1 over the stored crop.
        share = side / stored / zoom
        theta = torch.zeros(m, 2, 3)
        theta[:, 0, 0], theta[:, 0, 1] = share * cos * mirror * stretch, -share * sin / stretch
        theta[:, 1, 0], theta[:, 1, 1] = share * sin * mirror * stretch, share * cos / stretch
        theta[:, :, 2] = torch.stack([uniform(reach), uniform(reach)], 1) * 2 / stored
        grid = nn.functional.affine_grid(theta, [m, 3, side, side], align_corners=False)
        moved = nn.functional.grid_sample(
            light[chosen] - 1.0, grid, mode="bilinear", padding_mode="zeros", align_corners=False
        )
        out[chosen] = moved + 1.0
    cut = torch.nonzero(torch.rand(n, generator=generator) < options.border_share).flatten()
    widths = torch.randint(2, max(3, int(MAX_CUT_SHARE * side)), (n,), generator=generator)
    sides = torch.randint(0, 4, (n,), generator=generator)
    for i in cut.tolist():
        # Down or across, at the low or the high end.
        strip = out[i].narrow(
            1 + int(sides[i]) // 2,
            0 if int(sides[i]) % 2 == 0 else side - int(widths[i]),
            int(widths[i]),
        )
        strip.fill_(1.0)
    return out


def vary_stain(light: Tensor, options: AugmentOptions, generator: torch.Generator) -> Tensor:
    """Transmittance (n, 3, s, s) float32 with stain, light, focus and noise varied crop by crop.

    Stain in optical density, where dyes are linear.
    """
    n, side = light.shape[0], light.shape[-1]

    def uniform(half: float, *shape: int) -> Tensor:
        return torch.empty(shape).uniform_(-half, half, generator=generator)

    density = -torch.log(light.clamp(0.01, 1.275)) / _LN10
    factor = torch.exp(uniform(options.strength, n, 1, 1, 1) + uniform(options.hue, n, 3, 1, 1))
    mixing = torch.eye(3).expand(n, 3, 3) + uniform(options.mixing, n, 3, 3)
    density = torch.einsum("nij,njhw->nihw", mixing, density * factor)
    axis = torch.linspace(-1, 1, side)
    slope = uniform(options.ramp, n, 2, 1, 1)
    ramp = slope[:, :1] * axis[None, None, :, None] + slope[:, 1:] * axis[None, None, None, :]
    gain = torch.exp(uniform(options.light, n, 3, 1, 1) + ramp)
    varied = torch.exp(-density * _LN10) * gain
    blurred = torch.rand(n, generator=generator) < options.blur_share
    chosen = torch.nonzero(blurred).flatten()
    if len(chosen):
        # Four strengths a batch: as varied as one each, and far cheaper.
        for part in torch.tensor_split(chosen, min(4, len(chosen))):
            sigma = float(torch.empty(1).uniform_(0.3, options.blur_px, generator=generator))
            kernel = 2 * math.ceil(2 * sigma) + 1
            varied[part] = v2.gaussian_blur(varied[part], [kernel, kernel], [sigma, sigma])
    level = torch.rand(n, 1, 1, 1, generator=generator) * options.noise
    varied = varied + level * torch.randn(varied.shape, generator=generator)
    # Codes end at 255: so do the device's.
    return varied.clamp(0.0, 255.0 / UINT8_PER_TRANSMITTANCE)


def exchange_surroundings(
    codes: NDArray[np.uint8],
    masks: NDArray[np.bool_],
    hosts: NDArray[np.uint8],
    host_masks: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """Cells on other crops' surroundings: uint8 (n, s, s, 3).

    codes, hosts: uint8 (n, s, s, 3). masks, host_masks: bool (n, s, s), the middle cell. The
    host's own cell is replaced by clear field; the seam is softened over two pixels. A crop
    without a mask stays as it is.
    """
    out = codes.copy()
    for i in range(len(codes)):
        if not masks[i].any() or not host_masks[i].any():
            continue
        host = hosts[i].astype(np.float32)
        # Clear field is a little noisy: a smooth patch would mark an exchanged crop.
        own = cv2.GaussianBlur(
            cv2.dilate(host_masks[i].astype(np.float32), np.ones((7, 7), np.uint8)), (0, 0), 1.0
        )[..., None]
        clear = _clear_texture(hosts[i])
        host = host * (1 - own) + clear * own
        cell = cv2.GaussianBlur(masks[i].astype(np.float32), (0, 0), 1.0)[..., None]
        out[i] = np.clip(np.rint(codes[i] * cell + host * (1 - cell)), 0, 255).astype(np.uint8)
    return out


def optical_density(codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """-log10 of transmittance of codes uint8 (..., 3), at most 2."""
    light = np.maximum(codes.astype(np.float64), 2.0) / UINT8_PER_TRANSMITTANCE
    return np.asarray(-np.log10(light), np.float64)


def with_stain(codes: NDArray[np.uint8], gains: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Crops uint8 (..., 3) with their optical density multiplied per channel by ``gains`` (3,)."""
    light = np.power(10.0, -optical_density(codes) * gains)
    return np.clip(np.rint(light * UINT8_PER_TRANSMITTANCE), 0, 255).astype(np.uint8)


def _clear_texture(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A field of this crop's own clear background, its noise drawn from its clear pixels."""
    flat = codes.reshape(-1, 3)
    clear = flat[np.abs(flat.astype(np.int16) - CLEAR_FIELD_CODE).max(axis=1) <= 10]
    if len(clear) < 50:
        return np.full(codes.shape, CLEAR_FIELD_CODE, np.float32)
    # A fixed stride through the clear pixels: no chance is needed, and none is drawn.
    picked = clear[(np.arange(len(flat)) * 7919) % len(clear)]
    return np.asarray(picked.reshape(codes.shape), np.float32)


class ClassifierTask:
    """What the training loop asks of a classifier: see `training_loop.LearningTask`."""

    def __init__(
        self,
        training: CellCrops,
        tune: CellCrops,
        config: ClassifierConfig,
        masks: NDArray[np.bool_] | None = None,
        stain_gains: Mapping[str, NDArray[np.float64]] | None = None,
        opinions: NDArray[np.float32] | None = None,
        teacher: ClassifierNet | None = None,
        unnamed: UnnamedCrops | None = None,
    ) -> None:
        """masks: bool (n, s, s), the middle cell of each training crop; without them no
        surroundings are exchanged. stain_gains: by source, float64 (3,), what
        its optical density is multiplied by to look like another's; a source without keeps its
        own. opinions: second opinions, logits float32 (n, classes) a training crop, that take
        ``out_of_fold.share`` of the targets. teacher: whose answers take
        ``teacher_share``. unnamed: that take ``unnamed_share`` of every batch."""
        if config.augment.exchange_share > 0 and masks is None:
            raise UsageError("exchange_share needs a set whose cells can be masked")
        if config.augment.stain_share > 0 and not stain_gains:
            raise UsageError("stain_share needs a set whose stains can be matched")
        if config.unnamed_share > 0 and (unnamed is None or not len(unnamed.crops)):
            raise UsageError("unnamed_share needs cells whose kind alone is known")
        self._unnamed = unnamed
        self._stain_gains = stain_gains or {}
        self._training, self._tune, self._config, self._masks = training, tune, config, masks
        self._chances = crop_chances(training, config.class_balance, config.source_weights)
        drawn = np.bincount(training.labels, self._chances, minlength=len(training.classes))
        self._log_prior = torch.log(torch.from_numpy(drawn).float().clamp_min(1e-6))
        # Asked of crops as they occur, learned from crops as they are drawn.
        self._opinions = (
            torch.softmax(
                torch.from_numpy(opinions) + config.logit_adjustment * self._log_prior, dim=1
            )
            if opinions is not None
            else None
        )
        self._teacher = teacher.eval().requires_grad_(False) if teacher is not None else None
        self._exchangeable = np.flatnonzero(masks.any(axis=(1, 2))) if masks is not None else None

    def batch(self, size: int, rng: np.random.Generator, generator: torch.Generator) -> CropBatch:
        """Draw, exchange, turn, stain, mix."""
        config, crops = self._config, self._training
        chosen = rng.choice(len(crops), size=size, p=self._chances)
        codes = crops.codes[chosen]
        for i in np.flatnonzero(rng.random(size) < config.augment.stain_share):
            gains = self._stain_gains.get(str(crops.sources[chosen[i]]))
            if gains is not None:
                codes[i] = with_stain(codes[i], gains ** rng.uniform(0.2, 1.2))
        if self._masks is not None and self._exchangeable is not None and len(self._exchangeable):
            swapped = np.flatnonzero(rng.random(size) < config.augment.exchange_share)
            hosts = rng.choice(self._exchangeable, size=len(swapped))
            codes[swapped] = exchange_surroundings(
                codes[swapped],
                self._masks[chosen[swapped]],
                crops.codes[hosts],
                self._masks[hosts],
            )
        without = round(size * config.unnamed_share)
        if self._unnamed is not None and without:
            picked = rng.integers(len(self._unnamed.crops), size=without)
            codes[size - without :] = self._unnamed.crops.codes[picked]
        light = vary_geometry(
            torch.from_numpy(codes), config.crop.side_px, config.augment, generator
        )
        light = vary_stain(light, config.augment, generator)
        classes = len(crops.classes)
        target = nn.functional.one_hot(torch.from_numpy(crops.labels[chosen]), classes).float()
        target = target * (1 - config.label_smoothing) + config.label_smoothing / classes
        if self._opinions is not None:
            share = config.out_of_fold.share
            target = (1 - share) * target + share * self._opinions[torch.from_numpy(chosen)]
        unnamed = torch.zeros(size)
        unnamed[size - without :] = 1.0
        target[size - without :] = 0.0
        if config.mixup_alpha > 0 and rng.random() < config.mixup_share:
            share = float(rng.beta(config.mixup_alpha, config.mixup_alpha))
            light = share * light + (1 - share) * light.roll(1, 0)
            target = share * target + (1 - share) * target.roll(1, 0)
            unnamed = share * unnamed + (1 - share) * unnamed.roll(1, 0)
        return CropBatch(light.contiguous(memory_format=torch.channels_last), target, unnamed)

    def loss(
        self, net: nn.Module, batch: CropBatch, place: torch.device
    ) -> tuple[Tensor, dict[str, float]]:
        light = batch.light.to(place, memory_format=torch.channels_last)
        target, unnamed = batch.target.to(place), batch.unnamed.to(place)[:, None]
        adjustment = self._config.logit_adjustment * self._log_prior.to(place)
        with mixed_precision(place):
            raw = net(light)
        logits = raw.float()
        adjusted = logits + adjustment
        answers = adjusted.detach()
        if self._teacher is not None:
            with torch.no_grad(), mixed_precision(place):
                said = self._teacher.to(place).logits(light)
            answers = said.float() + adjustment
            share = self._config.teacher_share
            told = (1 - unnamed) * torch.softmax(answers, dim=1)
            target = (1 - share) * target + share * told
        if self._unnamed is not None:
            target = target + unnamed * self._among_possible(answers)
        loss = nn.functional.cross_entropy(adjusted, target)
        right = (logits.argmax(1) == target.argmax(1)).float().mean()
        return loss, {"loss": loss.item(), "accuracy": right.item()}

    def _among_possible(self, answers: Tensor) -> Tensor:
        """Logits as an answer among the possible classes, (n, classes). Where they are the
        network's own, the gradient is that of the probability of those classes together."""
        assert self._unnamed is not None, "asked only where there are such crops"
        possible = torch.from_numpy(self._unnamed.possible).to(answers.device)
        return torch.softmax(answers.masked_fill(~possible, -torch.inf), dim=1)

    def validate(self, net: LogitNet, place: torch.device) -> dict[str, float]:
        """Accuracy, macro F1 (the score) and mean log loss on the tune part."""
        if not len(self._tune):
            return {}
        logits = logits_of(net, self._tune.middle(self._config.crop.side_px), place)
        labels = self._tune.labels
        named = logits.argmax(axis=1)
        true = torch.from_numpy(labels)
        loss = nn.functional.cross_entropy(torch.from_numpy(logits), true)
        return {
            "score": macro_f1(labels, named, len(self._tune.classes)),
            "accuracy": float((named == labels).mean()),
            "loss": float(loss),
        }


def logits_of(net: LogitNet, codes: NDArray[np.uint8], place: torch.device) -> NDArray[np.float32]:
    """Logits of crops in evaluation mode, float32 (n, classes); bf16 like the training."""
    out: list[NDArray[np.float32]] = []
    with torch.inference_mode():
        for start in range(0, len(codes), VALIDATION_BATCH):
            part = torch.from_numpy(codes[start : start + VALIDATION_BATCH]).to(place)
            light = part.permute(0, 3, 1, 2).to(torch.float32) / UINT8_PER_TRANSMITTANCE
            light = light.contiguous(memory_format=torch.channels_last)
            with mixed_precision(place):
                raw = net.logits(light)
            out.append(np.asarray(raw.float().cpu().numpy(), np.float32))
    return np.concatenate(out)


def macro_f1(labels: NDArray[np.intp], named: NDArray[np.intp], classes: int) -> float:
    """Mean F1 over the classes that occur among the labels."""
    from sklearn.metrics import f1_score

    present = sorted(set(labels.tolist()))
    return float(
        f1_score(labels, named, labels=present, average="macro", zero_division=0.0)
        if classes
        else 0.0
    )
