"""The anaemia-like study: classes, groups, splits, balancing, measures, protocol, a whole run."""

from __future__ import annotations

import csv
import json
import shutil
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="needs the [host] extra")

import torch
from sklearn import metrics as known
from torch import Tensor, nn

from edgehemo.errors import UsageError
from edgehemo_export.studies.registry import STUDIES
from edgehemo_export.studies.remya import networks, paper
from edgehemo_export.studies.remya.augmentation import augmented
from edgehemo_export.studies.remya.balancing import downsampled, shown
from edgehemo_export.studies.remya.cohorts import StudyPicture, cohorts
from edgehemo_export.studies.remya.configuration import (
    STEPS,
    AugmentationConfig,
    RemyaConfiguration,
    SplitConfig,
)
from edgehemo_export.studies.remya.looks import heat_on_cells, plane_of
from edgehemo_export.studies.remya.measures import (
    LEAST_GROUPS,
    MEASURES,
    auc,
    confusion,
    mcnemar,
    measured,
    report,
    with_intervals,
)
from edgehemo_export.studies.remya.pictures import Decoded, decoded, levelled
from edgehemo_export.studies.remya.protocol import Lesson, batches, loss_of, scores, trained
from edgehemo_export.studies.remya.screening import screened
from edgehemo_export.studies.remya.shortcuts import SHORTCUTS, mean_colour, out_of_fold
from edgehemo_export.studies.remya.splitting import (
    grouped_folds,
    grouped_split,
    image_split,
    shared_groups,
)
from edgehemo_export.studies.remya.trial import asked_of
from edgehemo_export.studies.run import read_study_configuration, run_study
from tests.support.blood_pictures import FOLDERS, blood_picture, draw_folders

pytestmark = pytest.mark.host

SPLIT = SplitConfig(train_share=0.7, validate_share=0.2, folds=5)


def shipped(quick: bool = False) -> RemyaConfiguration:
    found = read_study_configuration(STUDIES["remya"].load(), quick=quick)
    assert isinstance(found, RemyaConfiguration)
    return found


CONFIG = shipped()


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    root = tmp_path / "own"
    draw_folders(root, 24)
    return root


def chula_root(root: Path) -> Path:
    """A data root with two fields of a disease and four RBC-12 fields of known cells."""
    for name in ("megaloblastic", "thalassemia"):
        folder = root / "chula_disease" / name
        folder.mkdir(parents=True)
        assert cv2.imwrite(str(folder / f"{name}_001.jpg"), blood_picture(1, 7))
    images, labels = root / "chula_rbc12" / "images", root / "chula_rbc12" / "labels"
    images.mkdir(parents=True)
    labels.mkdir()
    # Normal cells of ten labelled ones, and how many are labelled at all.
    for number, (normal, labelled) in enumerate([(9, 10), (1, 10), (4, 10), (3, 3)]):
        assert cv2.imwrite(str(images / f"{number}.jpg"), blood_picture(0, number))
        rows = [f"{10 * k} 20 {0 if k < normal else 7}" for k in range(labelled)]
        (labels / f"{number}.txt").write_text("\n".join(rows))
    return root


# --- which picture is of which class ------------------------------------------------------------


def test_own_folders_by_class_with_their_groups(drawn: Path) -> None:
    found, files = cohorts(drawn, CONFIG.classes, CONFIG.pictures)
    assert list(found) == ["main"]
    assert found["main"].counts() == (24, 24)
    assert drawn / "groups.csv" in files
    assert len({picture.group for picture in found["main"].pictures}) == 12


def test_without_a_table_neighbouring_numbers_are_a_group(drawn: Path) -> None:
    (drawn / "groups.csv").unlink()
    found, files = cohorts(drawn, CONFIG.classes, CONFIG.pictures)
    groups = Counter(picture.group for picture in found["main"].pictures)
    assert sorted(groups.values()) == [4, 4, 10, 10, 10, 10]
    assert len(files) == 48


def test_a_picture_without_a_group_is_named(drawn: Path) -> None:
    table = drawn / "groups.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-1]))
    with pytest.raises(UsageError, match=r"no group for sickle_cell/sickle_cell_023\.png"):
        cohorts(drawn, CONFIG.classes, CONFIG.pictures)


def test_a_class_that_lacks_is_named_with_what_was_looked_for(drawn: Path) -> None:
    shutil.rmtree(drawn / "sickle_cell")
    with pytest.raises(UsageError, match=r"no pictures anaemia-like; .*sickle_cell.*\[classes\]"):
        cohorts(drawn, CONFIG.classes, CONFIG.pictures)


def test_a_folder_that_is_none_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        cohorts(tmp_path / "nowhere", CONFIG.classes, CONFIG.pictures)


def test_public_fields_are_classed_by_disease_and_by_their_cells(tmp_path: Path) -> None:
    found, files = cohorts(chula_root(tmp_path), CONFIG.classes, CONFIG.pictures)
    main = {picture.path.name: picture.label for picture in found["main"].pictures}
    # 4 of 10 normal is neither, and three labelled cells are too few.
    assert main == {"0.jpg": 0, "megaloblastic_001.jpg": 1, "thalassemia_001.jpg": 1}
    within = {picture.path.name: picture.label for picture in found["unconfounded"].pictures}
    assert within == {"0.jpg": 0, "1.jpg": 1}
    # Labels that decided are part of the data, those of a field left out, too.
    assert sum(file.suffix == ".txt" for file in files) == 4


def test_one_set_of_two_is_not_enough(tmp_path: Path) -> None:
    root = chula_root(tmp_path)
    shutil.rmtree(root / "chula_rbc12")
    with pytest.raises(UsageError, match="needs both chula_disease and chula_rbc12"):
        cohorts(root, CONFIG.classes, CONFIG.pictures)


def test_a_large_class_is_thinned_evenly_and_tiles_stay_in_their_group(drawn: Path) -> None:
    some = CONFIG.pictures.model_copy(update={"most_per_class": 8, "tiles_per_side": 2})
    found, _ = cohorts(drawn, CONFIG.classes, some)
    assert found["main"].found == (24, 24)
    assert found["main"].counts() == (32, 32)
    assert len({picture.key for picture in found["main"].pictures}) == 64
    numbers = sorted({int(p.path.stem[-3:]) for p in found["main"].pictures})
    assert numbers == [0, 3, 6, 9, 12, 15, 18, 21]


# --- duplicates ---------------------------------------------------------------------------------


def decoded_of(pictures: list[StudyPicture]) -> Decoded:
    return decoded(pictures, CONFIG.pictures.model_copy(update={"side_px": 32}))


def test_copies_go_and_a_view_in_both_classes_goes(tmp_path: Path) -> None:
    pictures = []
    for number in range(6):
        # 1 is 0 saved again, 5 is 4 in the other class; all else differs.
        view = {1: 0, 5: 4}.get(number, number)
        path = tmp_path / f"{number}.jpg"
        quality = 95 if number == view else 60
        picture = cv2.resize(blood_picture(0, view), (320, 320))
        assert cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        pictures.append(StudyPicture(path, "s", f"g{number}", int(number == 5)))
    found = screened(pictures, decoded_of(pictures))
    assert [p.path.stem for p in found.pictures] == ["0", "2", "3"]
    assert [p.path.stem for p in found.copies] == ["1"]
    assert [p.path.stem for p in found.contradicted] == ["4", "5"]
    assert found.pairs["across_groups"] == 2
    assert found.joined_groups == 2


def test_a_view_photographed_twice_joins_two_groups(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    scene = np.full((420, 420, 3), 225, np.uint8)
    for _ in range(60):
        x, y = (int(v) for v in rng.integers(0, 420, 2))
        cv2.circle(scene, (x, y), int(rng.integers(10, 26)), (150, 90, 120), -1, cv2.LINE_AA)
    pictures = []
    for number, (x, y) in enumerate([(0, 0), (8, 4)]):
        path = tmp_path / f"{number}.png"
        assert cv2.imwrite(str(path), scene[y : y + 384, x : x + 384])
        pictures.append(StudyPicture(path, "s", f"g{number}", 0))
    found = screened(pictures, decoded_of(pictures))
    assert found.pairs["same_view"] == 1
    assert len(found.pictures) == 2
    assert {picture.group for picture in found.pictures} == {"g0"}


# --- splits -------------------------------------------------------------------------------------


def test_the_papers_316_pictures_fall_into_its_221_63_and_32() -> None:
    split = image_split(316, SPLIT, 1)
    assert [len(part) for part in split.parts().values()] == [221, 63, 32]
    assert sorted(np.concatenate(list(split.parts().values())).tolist()) == list(range(316))
    again, other = image_split(316, SPLIT, 1), image_split(316, SPLIT, 2)
    assert np.array_equal(split.test, again.test)
    assert not np.array_equal(split.test, other.test)


GROUPED = st.lists(
    st.tuples(st.integers(0, 1), st.integers(1, 9)), min_size=12, max_size=40
).filter(lambda groups: {label for label, _ in groups} == {0, 1})


@settings(max_examples=40, deadline=None)
@given(GROUPED, st.integers(0, 5))
def test_no_group_stands_in_two_parts(drawn_groups: list[tuple[int, int]], seed: int) -> None:
    labels = [label for label, size in drawn_groups for _ in range(size)]
    groups = [f"g{k}" for k, (_, size) in enumerate(drawn_groups) for _ in range(size)]
    split = grouped_split(labels, groups, SPLIT, seed)
    assert sorted(np.concatenate(list(split.parts().values())).tolist()) == list(range(len(labels)))
    own = [{groups[i] for i in part} for part in split.parts().values()]
    assert not (own[0] & own[1] or own[0] & own[2] or own[1] & own[2])
    assert shared_groups(groups, split) == 0


def test_parts_have_their_shares_of_both_classes() -> None:
    labels = [0] * 100 + [1] * 200
    groups = [f"g{i // 5}" for i in range(300)]
    split = grouped_split(labels, groups, SPLIT, 4)
    for part, share in zip(split.parts().values(), (0.7, 0.2, 0.1), strict=True):
        counts = np.bincount(np.array(labels)[part])
        assert counts.tolist() == [round(100 * share), round(200 * share)]


def test_each_picture_is_held_out_once_and_never_trained_on_then() -> None:
    labels = [i % 2 for i in range(60)]
    groups = [f"g{i // 4}" for i in range(60)]
    folds = grouped_folds(labels, groups, SPLIT, 1)
    assert sorted(np.concatenate([fold.test for fold in folds]).tolist()) == list(range(60))
    for fold in folds:
        own = [set(part.tolist()) for part in fold.parts().values()]
        assert sum(map(len, own)) == 60
        assert shared_groups(groups, fold) == 0


# --- balancing ----------------------------------------------------------------------------------


def test_ways_of_balancing() -> None:
    labels = np.array([0] * 10 + [1] * 30, np.intp)
    every = np.arange(40)
    down = shown(every, labels, "downsample", 1).indices
    assert np.bincount(labels[down]).tolist() == [10, 10]
    assert len(set(down.tolist())) == 20
    over = shown(every, labels, "oversample", 1)
    assert np.bincount(labels[over.indices]).tolist() == [30, 30]
    assert set(over.indices.tolist()) == set(range(40))
    weighted = shown(every, labels, "class_weights", 1)
    assert weighted.class_weights is not None
    # Each class weighs the same in all.
    assert (weighted.class_weights * [10, 30]).tolist() == pytest.approx([20, 20])
    assert shown(every, labels, "focal", 1).class_weights is None


def test_downsampling_goes_by_the_seed() -> None:
    labels = np.array([0] * 5 + [1] * 50, np.intp)
    chosen = [downsampled(np.arange(55), labels, seed).tolist() for seed in (1, 1, 2)]
    assert chosen[0] == chosen[1] != chosen[2]


# --- augmentation -------------------------------------------------------------------------------


def test_nothing_is_left_of_an_augmentation_without_its_steps() -> None:
    picture = blood_picture(1, 3)
    same = augmented(picture, CONFIG.augmentation, STEPS, np.random.default_rng(0))
    assert np.array_equal(same, picture)


@pytest.mark.parametrize("step", STEPS)
def test_each_step_changes_something_and_leaves_the_others_chance(step: Any) -> None:
    picture = blood_picture(1, 3)
    others = tuple(name for name in STEPS if name != step)
    made = [
        augmented(picture, CONFIG.augmentation, others, np.random.default_rng(seed))
        for seed in range(6)
    ]
    assert all(one.shape == picture.shape and one.dtype == np.uint8 for one in made)
    assert any(not np.array_equal(one, picture) for one in made)
    # Whatever is left out, the generator has moved on by the same.
    states = []
    for left_out in ((), (step,), STEPS):
        rng = np.random.default_rng(5)
        augmented(picture, CONFIG.augmentation, left_out, rng)
        states.append(rng.random())
    assert len(set(states)) == 1


def test_grey_stays_grey_under_hue_and_saturation() -> None:
    still = dict.fromkeys(AugmentationConfig.model_fields, 0.0)
    config = AugmentationConfig(**{**still, "hue_deg": 30.0, "saturation": 0.5})
    grey = np.full((8, 8, 3), 140, np.uint8)
    red = np.zeros((8, 8, 3), np.uint8) + np.array([200, 60, 60], np.uint8)
    rng = np.random.default_rng(2)
    assert np.abs(augmented(grey, config, (), rng).astype(int) - 140).max() <= 1
    assert np.abs(augmented(red, config, (), rng).astype(int) - red).max() > 10


# --- measures -----------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(4, 60))
def test_measures_are_scikit_learns(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, count)
    truth[:2] = (0, 1)
    drawn = np.clip(rng.normal(0.35 + 0.3 * truth, 0.3), 0, 1)
    scored = np.asarray(np.round(drawn, 1), np.float64)
    called = (scored >= 0.5).astype(int)
    own = measured(truth, scored)
    assert list(own) == list(MEASURES)
    expected = {
        "accuracy": known.accuracy_score(truth, called),
        "precision": known.precision_score(truth, called, zero_division=np.nan),
        "recall": known.recall_score(truth, called),
        "F1": known.f1_score(truth, called, zero_division=np.nan),
        "balanced accuracy": known.balanced_accuracy_score(truth, called),
        "specificity": known.recall_score(truth, called, pos_label=0),
        "ROC-AUC": known.roc_auc_score(truth, scored),
    }
    for name, value in expected.items():
        assert own[name] == pytest.approx(value, nan_ok=True), name
    if len(set(called.tolist())) == 2:
        assert own["MCC"] == pytest.approx(known.matthews_corrcoef(truth, called))
        assert own["Cohen's kappa"] == pytest.approx(known.cohen_kappa_score(truth, called))
    assert np.array_equal(confusion(truth, scored), known.confusion_matrix(truth, called))
    by_class = known.classification_report(truth, called, output_dict=True, zero_division=np.nan)
    for name, row in zip("01", report(truth, scored), strict=True):
        assert row["precision"] == pytest.approx(by_class[name]["precision"], nan_ok=True)
        assert row["recall"] == pytest.approx(by_class[name]["recall"])
        assert row["support"] == by_class[name]["support"]


def test_one_class_alone_has_no_auc() -> None:
    own = measured(np.ones(4, np.intp), np.array([0.9, 0.8, 0.2, 0.7]))
    assert own["recall"] == 0.75
    assert np.isnan(own["ROC-AUC"])
    assert np.isnan(own["specificity"])


def test_few_groups_get_exact_intervals_of_shares_alone() -> None:
    truth = np.array([0, 1] * 16, np.intp)
    scored = truth.astype(float)
    few = with_intervals(truth, scored, [f"g{i % 4}" for i in range(32)], 100)
    # The paper's own interval of 32 of 32.
    assert few["accuracy"].low == pytest.approx(0.891, abs=5e-4)
    assert few["accuracy"].high == 1.0
    assert few["MCC"].low is None
    assert "4 groups" in few["MCC"].method
    groups = [f"g{i % LEAST_GROUPS}" for i in range(32)]
    # Nothing is wrong: every draw is the same, and an interval of no width would be a lie.
    right = with_intervals(truth, scored, groups, 100)
    assert right["accuracy"].low == few["accuracy"].low
    assert (right["MCC"].low, right["MCC"].high) == (None, None)
    scored[0] = 1.0
    many = with_intervals(truth, scored, groups, 100)
    assert many["MCC"].low is not None
    assert "8 groups" in many["accuracy"].method


def test_mcnemar_is_the_binomial_of_what_only_one_has_right() -> None:
    truth = np.array([1] * 10, np.intp)
    one = np.array([0.9] * 8 + [0.1] * 2)
    other = np.array([0.9] * 2 + [0.1] * 8)
    # 6 of 6 on one side: 2 * 0.5 ** 6.
    *counts, p = mcnemar(truth, one, other)
    assert counts == [6, 0]
    assert p == pytest.approx(2 * 0.5**6)
    assert mcnemar(truth, one, one) == (0, 0, 1.0)


def test_no_count_of_32_gives_the_papers_other_accuracies() -> None:
    of_32 = {round(right / 32, 4) for right in range(33)}
    others = {k: v for k, v in paper.PAPER_ACCURACY.items() if k != "ResNet18"}
    assert not set(others.values()) & of_32
    assert sorted(round(value * 448) for value in others.values()) == [372, 375, 385, 391]
    assert all(round(round(v * 448) / 448, 4) == v for v in others.values())


# --- pictures and shortcuts ---------------------------------------------------------------------


def test_pictures_made_alike_have_one_width_and_one_background() -> None:
    for seed, light in ((1, 0.55), (2, 1.0)):
        picture = (cv2.resize(blood_picture(0, seed), (500, 400)) * light).astype(np.uint8)
        alike = levelled(picture, 200, 75)
        assert alike.shape == (160, 200, 3)
        background = np.quantile(alike.reshape(-1, 3), 0.9, axis=0)
        assert background == pytest.approx([230, 230, 230], abs=4)


def test_a_shortcut_finds_the_light_and_nothing_where_there_is_none() -> None:
    labels = np.array([i % 2 for i in range(60)], np.intp)
    groups = [f"g{i // 2}" for i in range(60)]
    folds = grouped_folds(labels.tolist(), groups, SPLIT, 1)
    lit = np.stack(
        [
            (blood_picture(0, i) * (0.8 if label else 1.0)).astype(np.uint8)
            for i, label in enumerate(labels)
        ]
    )
    even = np.stack([blood_picture(0, i) for i in range(60)])
    assert auc(labels, out_of_fold(mean_colour(lit), labels, folds)) > 0.95
    assert 0.2 < auc(labels, out_of_fold(mean_colour(even), labels, folds)) < 0.8
    for shortcut in SHORTCUTS:
        found = shortcut.features(lit, np.zeros((60, 4)))
        assert found.shape[0] == 60, shortcut.name


# --- networks and protocol ----------------------------------------------------------------------


def test_resnet18_starts_from_its_sibling_where_imagenet_cannot_be_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(architecture: str) -> Any:
        raise UsageError(f"no weights of {architecture}")

    monkeypatch.setattr(networks, "imagenet_weights", none)
    networks.weights_of.cache_clear()
    begun = networks.chosen_start("resnet18", ("imagenet", "sibling", "scratch"))
    assert begun.kind == "sibling"
    assert begun.missed == ("imagenet: no weights of resnet18",)
    assert networks.chosen_start("shufflenet_v2", ("imagenet", "sibling")).kind == "scratch"
    stored = networks.weights_of("resnet18", "sibling")
    assert stored is not None
    net = networks.built("resnet18", "sibling", 1)
    assert torch.equal(net.state_dict()["layer4.1.conv2.weight"], stored["layer4.1.conv2.weight"])
    assert networks.head_of(net).out_features == 2
    with pytest.raises(UsageError, match="no network 'resnet19'"):
        networks.weights_of("resnet19", "scratch")
    networks.weights_of.cache_clear()


def test_the_focal_loss_is_plain_without_a_power_and_looks_away_from_what_is_right() -> None:
    logits, labels = torch.tensor([[4.0, 0.0], [0.2, 0.0]]), torch.tensor([0, 0])
    plain = nn.functional.cross_entropy(logits, labels)
    assert float(loss_of(logits, labels, None, 0.0)) == pytest.approx(float(plain))
    sure = float(loss_of(logits[:1], labels[:1], None, 2.0))
    unsure = float(loss_of(logits[1:], labels[1:], None, 2.0))
    p = torch.softmax(logits, 1)[:, 0]
    expected = ((1 - p) ** 2 * -torch.log(p)).tolist()
    assert [sure, unsure] == pytest.approx(expected, rel=1e-4)


def test_no_batch_has_one_picture() -> None:
    for count in range(2, 70):
        made = list(batches(np.arange(count), 16))
        assert np.concatenate(made).tolist() == list(range(count))
        assert min(map(len, made)) > 1


class _Small(nn.Module):
    """Two convolutions and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 5, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2), nn.ReLU()
        )
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.features(x).mean(dim=(2, 3)))
        return out


def lesson_of(each: int) -> Lesson:
    labels = np.array([i % 2 for i in range(2 * each)], np.intp)
    pictures = np.stack([blood_picture(int(k), i, 48) for i, k in enumerate(labels)])
    every = np.arange(2 * each)
    return Lesson(
        pictures=pictures,
        labels=labels,
        shown=shown(every[: int(1.5 * each)], labels, "downsample", 1),
        validate=every[int(1.5 * each) :],
        augmentation=CONFIG.augmentation,
    )


def test_the_protocol_learns_and_keeps_the_best_epoch() -> None:
    lesson = lesson_of(48)
    config = CONFIG.training.model_copy(update={"epochs": 20, "learning_rate": 1e-2})
    torch.manual_seed(3)
    result = trained(_Small(), lesson, config, 3)
    assert len(result.curve) == 20
    best = max(result.curve, key=lambda e: (e.validate_accuracy, -e.validate_loss))
    assert result.curve[result.best - 1] == best
    held = lesson.pictures[lesson.validate]
    truth = lesson.labels[lesson.validate]
    # What is kept answers as the epoch it was kept from.
    answered = ((scores(result.net, held, 16) >= 0.5) == truth).mean()
    assert answered == pytest.approx(best.validate_accuracy)
    assert answered > 0.8


def test_one_seed_one_network() -> None:
    config = CONFIG.training.model_copy(update={"epochs": 2})
    lesson = lesson_of(12)
    answered = []
    for seed in (5, 5, 6):
        torch.manual_seed(5)
        answered.append(scores(trained(_Small(), lesson, config, seed).net, lesson.pictures, 16))
    assert np.array_equal(answered[0], answered[1])
    assert not np.array_equal(answered[0], answered[2])


def test_heat_and_plane() -> None:
    picture = blood_picture(0, 1)
    heat = np.ones((6, 6), np.float32)
    on_cells, cover = heat_on_cells(heat, picture)
    assert on_cells == pytest.approx(cover)
    assert 0.1 < cover < 0.6
    features = np.random.default_rng(1).normal(size=(30, 5)).astype(np.float32) * [9, 3, 1, 1, 1]
    plane = plane_of(features.astype(np.float32), np.arange(20))
    assert plane.shape == (30, 2)
    assert abs(np.corrcoef(plane[:, 0], features[:, 0])[0, 1]) > 0.98
    assert np.allclose(plane, plane_of(features.astype(np.float32), np.arange(20)))


# --- the whole study ----------------------------------------------------------------------------


def tiny(tmp_path: Path, **changes: Any) -> RemyaConfiguration:
    """A run of seconds: 32 px, one epoch, a light network."""
    own = tmp_path / "tiny.toml"
    own.write_text(
        """
        seeds = [1, 2]
        bootstrap_rounds = 100
        start = ["scratch"]
        run = ["plain", "image", "folds", "weights", "abroad"]
        [pictures]
        side_px = 32
        [split]
        folds = 3
        [training]
        epochs = 1
        [arms.plain]
        shows = "protocol"
        cohort = "main"
        network = "resnet18"
        explained = true
        [arms.image]
        shows = "paper_split"
        cohort = "main"
        network = "shufflenet_v2"
        split = "image"
        seeds = [1]
        [arms.folds]
        shows = "folds"
        cohort = "main"
        network = "shufflenet_v2"
        split = "folds"
        [arms.weights]
        shows = "balance"
        cohort = "main"
        network = "shufflenet_v2"
        balance = "class_weights"
        seeds = [1]
        [arms.abroad]
        shows = "protocol"
        cohort = "second"
        network = "shufflenet_v2"
        """
    )
    found = read_study_configuration(STUDIES["remya"].load(), own)
    assert isinstance(found, RemyaConfiguration)
    return found.model_copy(update=changes)


def test_a_whole_run_on_own_folders(tmp_path: Path, drawn: Path) -> None:
    study, config = STUDIES["remya"].load(), tiny(tmp_path)
    first = run_study(study, drawn, tmp_path / "a", config, quick=False)
    other = run_study(study, drawn, tmp_path / "b", config, quick=False)
    assert other.numbers_sha256 == first.numbers_sha256

    trials = {part.name for part in first.run.parts}
    assert {"plain-seed1", "plain-seed2", "image-seed1", "folds-fold3", "weights-seed1"} <= trials
    names = {(item.of, item.name) for item in first.measures}
    assert {("plain", "MCC"), ("folds", "ROC-AUC"), ("image", "accuracy")} <= names
    assert any("abroad" in note for note in first.not_comparable)
    assert any("32 pictures" in note for note in first.not_comparable)

    with (tmp_path / "a" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    folded = [row["picture"] for row in rows if row["method"] == "folds"]
    assert sorted(folded) == sorted(
        f"{name}/{name}_{number:03d}.png" for name in FOLDERS for number in range(24)
    )
    assert {row["truth"] for row in rows} == {"control-like", "anaemia-like"}

    page = (tmp_path / "a" / "index.html").read_text(encoding="utf-8")
    for title in ("Cross-validation", "Balancing", "Where the network looks", "without looking"):
        assert title in page
    drawings = {path.name for path in (tmp_path / "a" / "figures").iterdir()}
    assert {"grad-cam-main.png", "held-out-main.svg", "confusion-folds.png"} <= drawings
    kept = tomllib.loads((tmp_path / "a" / "configuration.toml").read_text(encoding="utf-8"))
    assert kept["training"]["learning_rate"] == 1e-4


def test_a_run_is_taken_up_and_other_pictures_make_every_trial_again(
    tmp_path: Path, drawn: Path
) -> None:
    study = STUDIES["remya"].load()
    config = tiny(tmp_path, run=("weights",))
    first = run_study(study, drawn, tmp_path / "a", config, quick=False)
    same = run_study(study, drawn, tmp_path / "a", config, quick=False)
    assert all(part.taken_up for part in same.run.parts)
    assert same.numbers_sha256 == first.numbers_sha256
    changed = cv2.cvtColor(blood_picture(0, 99), cv2.COLOR_RGB2BGR)
    assert cv2.imwrite(str(drawn / "control" / "control_000.png"), changed)
    again = run_study(study, drawn, tmp_path / "a", config, quick=False)
    assert not any(part.taken_up for part in again.run.parts)


def test_too_few_groups_say_which_part_lacks_a_class(tmp_path: Path, drawn: Path) -> None:
    rows = ["file,group"] + [
        f"{name}/{name}_{number:03d}.png,{name}" for name in FOLDERS for number in range(24)
    ]
    (drawn / "groups.csv").write_text("\n".join(rows))
    config = tiny(tmp_path, run=("plain",))
    with pytest.raises(UsageError, match=r"has not both classes.*more groups are needed"):
        run_study(STUDIES["remya"].load(), drawn, tmp_path / "a", config, quick=False)


# --- the shipped configuration ------------------------------------------------------------------


def test_the_shipped_configuration_is_the_papers_protocol() -> None:
    training = CONFIG.training
    assert (training.epochs, training.batch_size, training.learning_rate) == (12, 16, 1e-4)
    assert CONFIG.pictures.side_px == 224
    assert (CONFIG.split.train_share, CONFIG.split.validate_share) == (0.7, 0.2)
    protocol = {
        arm.network
        for name, arm in CONFIG.arms.items()
        if name in CONFIG.run and arm.shows == "protocol" and arm.cohort == "main"
    }
    assert {networks.title_of(name) for name in protocol} == set(paper.PAPER_ACCURACY)
    balances = {CONFIG.arms[name].balance for name in CONFIG.run}
    assert {"downsample", "class_weights", "focal", "oversample"} <= balances


def test_plans_keep_to_their_time() -> None:
    study = STUDIES["remya"].load()
    for config, minutes in ((CONFIG, 60), (shipped(quick=True), 10)):
        parts = study.plan(config)
        assert len({part.name for part in parts}) == len(parts)
        assert sum(part.seconds for part in parts) <= 60 * minutes
        assert len(parts) - 1 == len(asked_of(config))


def test_first_runs_come_before_repeats() -> None:
    asked = asked_of(CONFIG)
    first = [item.arm for item in asked if item.seed == 1]
    assert asked[: len(first)] == [item for item in asked if item.seed == 1]
    assert set(first) == set(CONFIG.run)


def test_an_arm_that_is_none_is_refused(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('run = ["resnet18", "resnet19"]\n')
    with pytest.raises(UsageError, match="arms that there are not: resnet19"):
        read_study_configuration(STUDIES["remya"].load(), own)


def test_the_quick_run_is_marked(tmp_path: Path, drawn: Path) -> None:
    config = tiny(tmp_path, run=("weights",))
    made = run_study(STUDIES["remya"].load(), drawn, tmp_path / "q", config, quick=True)
    assert made.quick
    stored = json.loads((tmp_path / "q" / "metrics.json").read_text(encoding="utf-8"))
    assert stored["quick"] is True
    with pytest.raises(UsageError, match="holds the quick run"):
        run_study(STUDIES["remya"].load(), drawn, tmp_path / "q", config, quick=False)


def test_a_study_picture_is_named_with_its_tile() -> None:
    whole = StudyPicture(Path("a.jpg"), "s", "g", 0)
    assert whole.key == "a.jpg"
    assert replace(whole, tile=(1, 0), tiles=2).key == "a.jpg#1-0"
