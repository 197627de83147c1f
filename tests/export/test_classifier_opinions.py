"""Whom a classifier learns from besides its labels: second opinions, a teacher, unnamed cells."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from edgehemo.errors import UsageError
from edgehemo_export.data.cell_crops import CellCrops
from edgehemo_export.data.splits import SPLIT_NAME, model_split
from edgehemo_export.models.classifiers.card import classifier_card
from edgehemo_export.models.classifiers.out_of_fold import fold_of, second_opinions
from edgehemo_export.models.classifiers.run import train_classifier
from edgehemo_export.models.classifiers.training import (
    ClassifierConfig,
    ClassifierTask,
    UnnamedCrops,
    crop_chances,
)
from edgehemo_export.nets.classifier_nets import ClassifierNet
from edgehemo_export.training.task import Run

pytestmark = pytest.mark.host
from tests.support.classifier_crops import MARGIN, SIDE, discs, small_config, spec_of


def test_a_second_opinion_is_by_networks_that_never_saw_the_group(tmp_path: Path) -> None:
    crops = discs(120)
    asked: list[set[str]] = []

    def learning_task(some: CellCrops, config: ClassifierConfig) -> ClassifierTask:
        assert config.loop.steps == 12 and config.out_of_fold.share == 0.0
        asked.append(set(some.groups.tolist()))
        return ClassifierTask(some, some.where(np.zeros(len(some), np.bool_)), config)

    config = small_config(out_of_fold={"share": 0.6, "folds": 3, "steps": 12})
    logits = second_opinions(crops, learning_task, config, tmp_path, Run())
    folds = fold_of(crops, 3, config.loop.seed)
    assert sorted(set(folds.tolist())) == [0, 1, 2]
    for fold, seen in enumerate(asked):
        assert seen.isdisjoint(crops.groups[folds == fold].tolist())
    assert logits.shape == (120, 3)
    # Discs of two colours are easily told apart, unseen ones too.
    assert (logits.argmax(axis=1) == crops.labels).mean() > 0.8
    again = second_opinions(crops, learning_task, config, tmp_path, Run())
    assert np.array_equal(logits, again), "the folds' runs are resumed, not made again"
    with pytest.raises(UsageError, match="as many groups"):
        fold_of(crops, 41, 1)


def test_targets_lie_between_the_label_and_the_second_opinion() -> None:
    crops = discs(60)
    config = small_config(
        out_of_fold={"share": 0.75}, label_smoothing=0.0, mixup_share=0.0, logit_adjustment=-1.0
    )
    sure = np.zeros((60, 3), np.float32)
    sure[:, 2] = 30.0
    task = ClassifierTask(crops, crops, config, opinions=sure)
    batch = task.batch(32, np.random.default_rng(1), torch.Generator().manual_seed(1))
    others = batch.target[:, 2] < 0.99
    assert torch.allclose(batch.target[others, 2], torch.full((int(others.sum()),), 0.75))
    assert torch.allclose(batch.target[others, :2].max(dim=1).values, torch.tensor(0.25))
    # An undecided opinion becomes what the classes are drawn by, as the adjustment takes it.
    flat = ClassifierTask(crops, crops, config, opinions=np.zeros((60, 3), np.float32))
    drawn = np.bincount(crops.labels, crop_chances(crops, config.class_balance, {}))
    target = flat.batch(32, np.random.default_rng(1), torch.Generator().manual_seed(1)).target
    assert torch.allclose(target.sum(dim=1), torch.ones(32))
    rarest = int(drawn.argmin())
    absent = target[:, rarest] < 0.5
    assert (target[absent, rarest] > 0.75 / 3 - 1e-6).all()


def test_a_run_with_second_opinions_learns_and_says_so(tmp_path: Path) -> None:
    crops = discs(150)
    config = small_config(out_of_fold={"share": 0.6, "folds": 2, "steps": 10})
    checkpoint = train_classifier(spec_of(crops), tmp_path, config, tmp_path / "work", Run())
    assert (tmp_path / "work" / "fold-1" / "state.safetensors").is_file()
    assert checkpoint.record["second_opinion"]["agreement"] > 0.6
    assert "second opinion" in classifier_card(spec_of(crops), checkpoint).lower()


def test_opinions_may_come_from_another_architecture(tmp_path: Path) -> None:
    crops = discs(60)
    config = small_config(
        out_of_fold={"share": 0.5, "folds": 2, "steps": 2, "architecture": "shufflenet_v2"}
    )

    def learning_task(some: CellCrops, changed: ClassifierConfig) -> ClassifierTask:
        assert changed.model.architecture == "shufflenet_v2"
        return ClassifierTask(some, some.where(np.zeros(len(some), np.bool_)), changed)

    assert second_opinions(crops, learning_task, config, tmp_path, Run()).shape == (60, 3)


def test_a_pupil_learns_what_its_teacher_says_of_the_very_crop() -> None:
    """All of the teacher's word and none of the label's: the loss is least at the teacher."""
    crops = discs(60)
    config = small_config(teacher_share=1.0, mixup_share=0.0, logit_adjustment=-1.0)
    teacher = ClassifierNet(config.model, 3)
    assert isinstance(teacher.net.head, nn.Linear)
    torch.nn.init.normal_(teacher.net.head.weight, std=1.0)
    task = ClassifierTask(crops, crops, config, teacher=teacher)
    batch = task.batch(16, np.random.default_rng(1), torch.Generator().manual_seed(1))
    place = torch.device("cpu")

    class Shifted(torch.nn.Module):
        def __init__(self, by: float) -> None:
            super().__init__()
            self.by = by

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return teacher.logits(x) + torch.tensor([self.by, 0.0, 0.0])

    losses = [float(task.loss(Shifted(by), batch, place)[0]) for by in (-0.5, 0.0, 0.5)]
    assert losses[1] == min(losses)
    assert not any(p.requires_grad for p in teacher.parameters()) and not teacher.training


def test_a_run_with_a_teacher_says_so_and_asks_for_what_is_missing(tmp_path: Path) -> None:
    crops = discs(240)
    spec = spec_of(crops)
    opinions = {"share": 0.4, "folds": 2, "steps": 8}
    taught = small_config(out_of_fold=opinions)
    teacher = train_classifier(spec, tmp_path, taught, tmp_path / "teacher", Run())
    config = small_config(teacher_share=0.7)
    run = Run(teacher=teacher)
    pupil = train_classifier(spec, tmp_path, config, tmp_path / "pupil", run)
    assert pupil.record["taught_by"]["steps"] == 16
    assert pupil.record["split"] == pupil.record["taught_by"]["split"] == SPLIT_NAME
    old = dataclasses.replace(teacher, record={**teacher.record, "split": None})
    assert Run(teacher=old).split == model_split("nucleated", {}) != Run(teacher=teacher).split
    accuracy = {m["source"]: m["value"] for m in pupil.record["tune"] if m["name"] == "accuracy"}
    assert accuracy["tune"] > 0.8
    card = classifier_card(dataclasses.replace(spec, pupil="configs/pupil.toml"), pupil)
    assert "70% of every target" in card and "40%" in card
    assert "--teacher teacher.safetensors --config configs/pupil.toml" in card
    with pytest.raises(UsageError, match="--teacher"):
        train_classifier(spec, tmp_path, config, tmp_path / "alone", Run())
    with pytest.raises(UsageError, match="teacher_share"):
        train_classifier(spec, tmp_path, small_config(), tmp_path / "unasked", run)
    coarser = {"side_px": SIDE, "margin_px": MARGIN, "um_per_px": 0.6}
    other = small_config(teacher_share=0.7, crop=coarser)
    with pytest.raises(UsageError, match=r"0\.6 um/px"):
        train_classifier(spec, tmp_path, other, tmp_path / "coarser", run)


def test_cells_without_a_name_pull_towards_their_possible_classes_together() -> None:
    """The loss of such a crop has the gradient of minus log of the possible classes' sum."""
    crops = discs(60)
    config = small_config(unnamed_share=0.5, mixup_share=0.0, label_smoothing=0.0)
    possible = np.array([True, True, False])
    unnamed = UnnamedCrops(crops.where(crops.labels == 0), possible)
    task = ClassifierTask(crops, crops, config, unnamed=unnamed)
    batch = task.batch(8, np.random.default_rng(1), torch.Generator().manual_seed(1))
    assert batch.unnamed.tolist() == [0.0] * 4 + [1.0] * 4
    assert batch.target[:4].sum() == 4 and batch.target[4:].sum() == 0
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(2), requires_grad=True)

    class Fixed(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return logits

    loss, _ = task.loss(Fixed(), batch, torch.device("cpu"))
    (found,) = torch.autograd.grad(loss, logits)
    p = torch.softmax(logits, dim=1)
    named = -(batch.target[:4] * torch.log(p[:4])).sum()
    wanted = (named - torch.log(p[4:, :2].sum(dim=1)).sum()) / 8
    (gradient,) = torch.autograd.grad(wanted, logits)
    assert torch.allclose(found, gradient, atol=1e-6)
    with pytest.raises(UsageError, match="unnamed_share"):
        ClassifierTask(crops, crops, config)


def test_a_pupil_asks_its_teacher_about_cells_without_a_name() -> None:
    """Their target is what the teacher says among the possible classes."""
    crops = discs(60)
    config = small_config(
        teacher_share=0.5, unnamed_share=0.5, mixup_share=0.0, label_smoothing=0.0
    )
    teacher = ClassifierNet(config.model, 3)
    assert isinstance(teacher.net.head, nn.Linear)
    torch.nn.init.normal_(teacher.net.head.weight, std=1.0)
    unnamed = UnnamedCrops(crops, np.array([True, True, False]))
    task = ClassifierTask(crops, crops, config, teacher=teacher, unnamed=unnamed)
    batch = task.batch(8, np.random.default_rng(1), torch.Generator().manual_seed(1))
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(2), requires_grad=True)

    class Fixed(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return logits

    loss, _ = task.loss(Fixed(), batch, torch.device("cpu"))
    with torch.no_grad():
        said = torch.softmax(teacher.logits(batch.light), dim=1)
    wanted = 0.5 * batch.target + 0.5 * said
    wanted[4:] = said[4:] * torch.tensor([1.0, 1.0, 0.0])
    wanted[4:] /= wanted[4:].sum(dim=1, keepdim=True)
    assert loss.item() == pytest.approx(
        float(-(wanted * torch.log_softmax(logits, dim=1)).sum() / 8), rel=0.02
    )
