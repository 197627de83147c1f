"""Training of a cell classifier over crops: how crops are drawn, varied and mixed, and the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from sklearn.metrics import f1_score
from torch import Tensor, nn

from edgehemo.errors import UsageError
from edgehemo.field.canonical import UINT8_PER_TRANSMITTANCE
from edgehemo_export.configuration import Configuration
from edgehemo_export.data.cell_crops import CellCrops, CropOptions
from edgehemo_export.data.splits import Part
from edgehemo_export.models.classifiers.variation import (
    AugmentOptions,
    exchange_surroundings,
    vary_camera,
    vary_geometry,
    vary_stain,
    with_stain,
)
from edgehemo_export.nets.classifier_nets import ClassifierNet, ClassifierNetConfig
from edgehemo_export.nets.logit_net import LogitNet
from edgehemo_export.training.arithmetic import mixed_precision
from edgehemo_export.training.task import TaskConfiguration

VALIDATION_BATCH = 128


class OutOfFoldOptions(Configuration):
    """Second opinions as targets (see `models.classifiers.out_of_fold`).

    share: of the second opinion in a target, 0 for none asked. folds: networks that are trained for
    it, each on the other folds' groups. steps: of each of these trainings. architecture: of these
    networks, that of the configuration's model where it is not named.
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
    drawn_share: of a batch, crops whose cell was drawn into another shape, its class with it.
    coverage: of the conformal rule.
    train_parts: of the split that are learned from. With all of them nothing is left to be measured
    on: such a run needs one of the same configuration, on the training part alone, whose
    thresholds and figures it bears (`Run.measured`).
    familiarity: whether the net tells how like the cells it learnt from a cell looks.
    init: where a fresh run's weights come from, unless a checkpoint is given.
    learn: all layers, or the last one (head) of the network that a run begins with, which suits few
    cells of one's own (`models.classifiers.few_cells`); auto: the head where there are few, own
    ones alone, and a network to begin with.
    """

    sets: tuple[str, ...] = ()
    train_parts: tuple[Part, ...] = ("train",)
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
    drawn_share: float = Field(default=0.0, ge=0, lt=1)
    coverage: float = Field(default=0.98, gt=0, lt=1)
    out_of_fold: OutOfFoldOptions = OutOfFoldOptions()
    familiarity: bool = False
    init: Literal["scratch", "imagenet"] = "scratch"
    learn: Literal["auto", "all", "head"] = "auto"

    @model_validator(mode="after")
    def _some_are_named(self) -> Self:
        if self.unnamed_share + self.drawn_share >= 1:
            raise ValueError("unnamed_share and drawn_share leave no place for the labelled crops")
        return self


@dataclass(frozen=True)
class CropBatch:
    """light: float32 (n, 3, side, side), varied transmittance. target: float32 (n, classes).
    unnamed: float32 (n, k), what a target lacks to one: the shares that any of the possible classes
    may take (`UnnamedCrops`). possible: bool (n, k, classes), for each share. k is 1, and 2 where
    crops were mixed: each brings its own.
    """

    light: Tensor
    target: Tensor
    unnamed: Tensor
    possible: Tensor


@dataclass(frozen=True)
class UnnamedCrops:
    """Crops whose classes nobody has told, but that some classes are out of the question: white
    cells of any type, or a long red cell.

    crops: their labels mean nothing. possible: bool (n, classes), among which each true class is.
    """

    crops: CellCrops
    possible: NDArray[np.bool_]

    def __post_init__(self) -> None:
        wanted = (len(self.crops), len(self.crops.classes))
        if self.possible.shape != wanted or not self.possible.any(axis=1).all():
            raise ValueError(f"possible classes of shape {wanted} are needed, one or more a crop")

    @classmethod
    def among(cls, crops: CellCrops, classes: Sequence[str]) -> UnnamedCrops:
        """Crops that may all be of the same classes."""
        row = np.isin(crops.classes, list(classes))
        return cls(crops, np.tile(row, (len(crops), 1)))

    def where(self, mask: NDArray[np.bool_]) -> UnnamedCrops:
        """The crops under a mask, bool (n,)."""
        return UnnamedCrops(self.crops.where(mask), self.possible[mask])


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


class ClassifierTask:
    """What the training loop asks of a classifier: see `training.task.LearningTask`."""

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
        drawn: CellCrops | None = None,
    ) -> None:
        """masks: bool (n, s, s), the middle cell of each training crop; without them no
        surroundings are exchanged. stain_gains: by source, float64 (3,), what
        its optical density is multiplied by to look like another's; a source without keeps its
        own. opinions: second opinions, logits float32 (n, classes) a training crop, that take
        ``out_of_fold.share`` of the targets. teacher: whose answers take
        ``teacher_share``. unnamed: that take ``unnamed_share`` of every batch. drawn: that take
        ``drawn_share``, each as often as another; of a class that only they have the answer takes
        as often as of the rarest of the others.
        """
        if config.augment.exchange_share > 0 and masks is None:
            raise UsageError("exchange_share needs a set whose cells can be masked")
        if config.augment.stain_share > 0 and not stain_gains:
            raise UsageError("stain_share needs a set whose stains can be matched")
        if config.unnamed_share > 0 and (unnamed is None or not len(unnamed.crops)):
            raise UsageError("unnamed_share needs cells whose kind alone is known")
        if config.drawn_share > 0 and (drawn is None or not len(drawn)):
            raise UsageError("drawn_share needs cells that were drawn into other shapes")
        self._unnamed, self._drawn = unnamed, drawn
        self._stain_gains = stain_gains or {}
        self._training, self._tune, self._config, self._masks = training, tune, config, masks
        self._chances = crop_chances(training, config.class_balance, config.source_weights)
        self._log_prior = torch.log(torch.from_numpy(self._class_shares()).float().clamp_min(1e-6))
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

    def _class_shares(self) -> NDArray[np.float64]:
        """How often each class is drawn of the labelled crops, float64 (classes,)."""
        classes = len(self._training.classes)
        shares = np.bincount(self._training.labels, self._chances, minlength=classes)
        if self._drawn is not None:
            drawn_alone = (shares == 0) & (np.bincount(self._drawn.labels, minlength=classes) > 0)
            shares[drawn_alone] = shares[shares > 0].min()
        return np.asarray(shares, np.float64)

    def batch(self, size: int, rng: np.random.Generator, generator: torch.Generator) -> CropBatch:
        """Draw, exchange, turn, stain, mix: labelled crops first, then drawn, then unnamed ones."""
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
        classes = len(crops.classes)
        labels = crops.labels[chosen]
        without = slice(size - round(size * config.unnamed_share), size)
        possible = np.ones((size, classes), np.bool_)
        if self._unnamed is not None and without.start < size:
            picked = rng.integers(len(self._unnamed.crops), size=size - without.start)
            codes[without] = self._unnamed.crops.codes[picked]
            possible[without] = self._unnamed.possible[picked]
        reshaped = slice(without.start - round(size * config.drawn_share), without.start)
        if self._drawn is not None and reshaped.start < reshaped.stop:
            picked = rng.integers(len(self._drawn), size=reshaped.stop - reshaped.start)
            codes[reshaped] = self._drawn.codes[picked]
            labels[reshaped] = self._drawn.labels[picked]
        light = vary_geometry(
            torch.from_numpy(codes), config.crop.side_px, config.augment, generator
        )
        light = vary_camera(vary_stain(light, config.augment, generator), config.augment, generator)
        target = nn.functional.one_hot(torch.from_numpy(labels), classes).float()
        target = target * (1 - config.label_smoothing) + config.label_smoothing / classes
        if self._opinions is not None:
            share, own = config.out_of_fold.share, slice(reshaped.start)
            said = self._opinions[torch.from_numpy(chosen[own])]
            target[own] = (1 - share) * target[own] + share * said
        unnamed, among = torch.zeros(size, 1), torch.from_numpy(possible)[:, None]
        unnamed[without] = 1.0
        target[without] = 0.0
        if config.mixup_alpha > 0 and rng.random() < config.mixup_share:
            share = float(rng.beta(config.mixup_alpha, config.mixup_alpha))
            light = share * light + (1 - share) * light.roll(1, 0)
            target = share * target + (1 - share) * target.roll(1, 0)
            unnamed = torch.cat([share * unnamed, (1 - share) * unnamed.roll(1, 0)], dim=1)
            among = torch.cat([among, among.roll(1, 0)], dim=1)
        light = light.contiguous(memory_format=torch.channels_last)
        return CropBatch(light, target, unnamed, among)

    def loss(
        self, net: nn.Module, batch: CropBatch, place: torch.device
    ) -> tuple[Tensor, dict[str, float]]:
        light = batch.light.to(place, memory_format=torch.channels_last)
        target, unnamed = batch.target.to(place), batch.unnamed.to(place)
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
            named = 1 - unnamed.sum(dim=1, keepdim=True)
            told = named * torch.softmax(answers, dim=1)
            target = (1 - share) * target + share * told
        if self._unnamed is not None:
            target = target + among_possible(answers, unnamed, batch.possible.to(place))
        loss = nn.functional.cross_entropy(adjusted, target)
        right = (logits.argmax(1) == target.argmax(1)).float().mean()
        return loss, {"loss": loss.item(), "accuracy": right.item()}

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


def among_possible(answers: Tensor, shares: Tensor, possible: Tensor) -> Tensor:
    """Logits (n, classes) as an answer among the possible classes, (n, classes), each of the shares
    (n, k) among its own, bool (n, k, classes). Where the logits are the network's own, the gradient
    is that of the probability of the possible classes together.
    """
    said = torch.softmax(answers[:, None].masked_fill(~possible, -torch.inf), dim=2)
    return (shares[:, :, None] * said).sum(dim=1)


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
    present = sorted(set(labels.tolist()))
    return float(
        f1_score(labels, named, labels=present, average="macro", zero_division=0.0)
        if classes
        else 0.0
    )
