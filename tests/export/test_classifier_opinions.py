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
from edgehemo_export.configuration import CONFIGS, read_configuration
from edgehemo_export.data.cell_crops import CellCrops
from edgehemo_export.data.splits import SPLIT_NAME, model_split
from edgehemo_export.models.classifiers.card import classifier_card
from edgehemo_export.models.classifiers.checkpoint import as_learnt, classifier_net
from edgehemo_export.models.classifiers.conformal import marginal_rule
from edgehemo_export.models.classifiers.evaluation import evaluated
from edgehemo_export.models.classifiers.export import classifier_subject
from edgehemo_export.models.classifiers.out_of_fold import fold_of, second_opinions
from edgehemo_export.models.classifiers.run import teacher_net, train_classifier
from edgehemo_export.models.classifiers.training import (
    ClassifierConfig,
    ClassifierTask,
    UnnamedCrops,
    among_possible,
    crop_chances,
)
from edgehemo_export.nets.classifier_nets import ClassifierNet
from edgehemo_export.training.task import Run

pytestmark = pytest.mark.host
from tests.support.classifier_crops import CLASSES, MARGIN, SIDE, discs, small_config, spec_of


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
    card = classifier_card(spec, pupil)
    assert "70% of every target" in card and "40%" in card
    assert "--teacher teacher.safetensors --config PUPIL.toml" in card
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
    unnamed = UnnamedCrops.among(crops.where(crops.labels == 0), crops.classes[:2])
    task = ClassifierTask(crops, crops, config, unnamed=unnamed)
    batch = task.batch(8, np.random.default_rng(1), torch.Generator().manual_seed(1))
    assert batch.unnamed.tolist() == [[0.0]] * 4 + [[1.0]] * 4
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


def test_each_cell_without_a_name_pulls_towards_its_own_possible_classes() -> None:
    """Two mixed crops keep theirs apart: the shares go to the classes of each."""
    logits = torch.tensor([[0.3, -1.0, 2.0]])
    shares = torch.tensor([[0.25, 0.5]])
    possible = torch.tensor([[[True, True, False], [False, False, True]]])
    said = among_possible(logits, shares, possible)[0]
    two = torch.softmax(logits[0, :2], dim=0)
    assert torch.allclose(said, torch.tensor([0.25 * two[0], 0.25 * two[1], 0.5]))
    crops = discs(6)
    with pytest.raises(ValueError, match="one or more a crop"):
        UnnamedCrops(crops, np.zeros((6, 3), np.bool_))
    with pytest.raises(ValueError, match=r"\(6, 3\)"):
        UnnamedCrops(crops, np.ones((3,), np.bool_))
    own = np.eye(3, dtype=np.bool_)[[0, 1, 2, 0, 1, 2]]
    kept = UnnamedCrops(crops, own).where(np.array([False, True, True, False, False, False]))
    assert kept.possible.tolist() == own[1:3].tolist() and len(kept.crops) == 2


def test_drawn_cells_take_their_share_of_a_batch_and_a_prior_for_what_nobody_labelled() -> None:
    every = discs(300)
    labelled, drawn = every.where(every.labels < 2), every.where(every.labels > 0)
    config = small_config(
        drawn_share=0.25,
        unnamed_share=0.25,
        mixup_share=0.0,
        label_smoothing=0.0,
        logit_adjustment=-1.0,
        out_of_fold={"share": 1.0},
    )
    unnamed = UnnamedCrops.among(every, every.classes[:1])
    opinions = np.zeros((len(labelled), 3), np.float32)
    opinions[:, 0] = 90.0
    task = ClassifierTask(
        labelled, labelled, config, opinions=opinions, unnamed=unnamed, drawn=drawn
    )
    batch = task.batch(16, np.random.default_rng(1), torch.Generator().manual_seed(1))
    # Labelled crops with their second opinion, then drawn ones by their class alone, then the rest.
    assert batch.target[:8, 0].tolist() == [1.0] * 8
    assert batch.target[8:12, 1:].sum(dim=1).tolist() == [1.0] * 4
    assert batch.unnamed[:, 0].tolist() == [0.0] * 12 + [1.0] * 4

    class Told(torch.nn.Module):
        """Answers by how often each class is drawn: the loss is least where that is undone."""

        def __init__(self, last: float) -> None:
            super().__init__()
            shares = np.bincount(labelled.labels, crop_chances(labelled, 0.5, {}), minlength=3)
            shares[2] = last * shares[:2].min()
            self.answer = torch.log(torch.from_numpy(shares)).float()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.answer.expand(len(x), 3)

    flat = dataclasses.replace(batch, target=torch.full((16, 3), 1 / 3), unnamed=torch.zeros(16, 1))
    losses = [float(task.loss(Told(last), flat, torch.device("cpu"))[0]) for last in (0.5, 1, 2)]
    assert losses[1] == min(losses), "as often as the rarest labelled class"
    with pytest.raises(UsageError, match="drawn_share"):
        ClassifierTask(labelled, labelled, config, unnamed=unnamed)
    with pytest.raises(UsageError, match="no place for the labelled"):
        read_configuration(
            ClassifierConfig, CONFIGS / "morphology.toml", None, {"drawn_share": 0.9}
        )


def test_a_class_that_is_only_drawn_has_thresholds_and_a_row_of_drawn_cells(
    tmp_path: Path,
) -> None:
    every = discs(400)
    labelled = every.where(every.labels < 2)
    spec = dataclasses.replace(
        spec_of(labelled), rejects=(), rule=marginal_rule, drawn=lambda *_: every
    )
    config = small_config(drawn_share=0.4, familiarity=True)
    checkpoint = train_classifier(spec, tmp_path, config, tmp_path / "work", Run())
    record = checkpoint.record
    assert record["drawn_alone"] == ["other"]
    counts = np.array(record["tune_confusion"]["counts"])
    tune = every.part("tune")
    assert counts.sum(axis=1).tolist() == [
        (labelled.part("tune").labels == 0).sum(),
        (labelled.part("tune").labels == 1).sum(),
        (tune.labels == 2).sum(),
    ]
    assert set(record["conformal"]["thresholds"]) == set(CLASSES)
    trained = (every.parts() == "train").sum()
    told = [n for name, n in record["images"].items() if name.endswith("drawn into other shapes")]
    assert sum(told) == trained
    left = train_classifier(spec, tmp_path, config, tmp_path / "left", Run(leave_out="odd"))
    assert not any(name.startswith("odd") for name in left.record["images"])
    with pytest.raises(UsageError, match="draws no cells"):
        train_classifier(spec_of(every), tmp_path, config, tmp_path / "none", Run())
    with pytest.raises(UsageError, match="the data root holds even, odd"):
        train_classifier(spec, tmp_path, config, tmp_path / "who", Run(leave_out="nobody"))


def test_a_checkpoint_of_fewer_classes_is_read_as_it_was_learnt(tmp_path: Path) -> None:
    crops = discs(200)
    two = crops.among(CLASSES[:2])
    earlier = dataclasses.replace(spec_of(two), classes=CLASSES[:2], rejects=())
    checkpoint = train_classifier(earlier, tmp_path, small_config(), tmp_path / "work", Run())
    now = dataclasses.replace(spec_of(crops), rejects=())
    known = as_learnt(now, checkpoint)
    assert known.classes == CLASSES[:2]
    built = known.build(tmp_path, small_config(), None)
    assert built.classes == CLASSES[:2] and set(built.labels.tolist()) == {0, 1}
    net = classifier_net(now, checkpoint)
    _, found = evaluated(now, checkpoint, net, crops, "test")
    assert found.tables["classes"] == list(CLASSES[:2])
    assert classifier_subject(now, checkpoint).entry([], "0" * 64).classes == list(CLASSES[:2])
    assert "each of 2 classes" in classifier_card(now, checkpoint)
    with pytest.raises(UsageError, match="names other classes"):
        teacher_net(now, small_config(teacher_share=0.5), checkpoint)
    other = dataclasses.replace(checkpoint, record={**checkpoint.record, "classes": ["a", "b"]})
    with pytest.raises(UsageError, match="other classes"):
        classifier_net(now, other)


def test_a_pupil_asks_its_teacher_about_cells_without_a_name() -> None:
    """Their target is what the teacher says among the possible classes."""
    crops = discs(60)
    config = small_config(
        teacher_share=0.5, unnamed_share=0.5, mixup_share=0.0, label_smoothing=0.0
    )
    teacher = ClassifierNet(config.model, 3)
    assert isinstance(teacher.net.head, nn.Linear)
    torch.nn.init.normal_(teacher.net.head.weight, std=1.0)
    unnamed = UnnamedCrops.among(crops, crops.classes[:2])
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
