"""The study of Lateef et al. 2025 on drawn cells, and the parts that it stands on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="needs the [host] extra")

from torch import Tensor

from edgehemo.errors import UsageError
from edgehemo_export.nets.architecture_table import BY_NAME
from edgehemo_export.nets.fourier_scattering import FourierScattering, scales_below
from edgehemo_export.nets.scattering import Scattering
from edgehemo_export.studies.lateef import paper
from edgehemo_export.studies.lateef.configuration import SvmOptions
from edgehemo_export.studies.lateef.data import (
    RIM_PX,
    find_data,
    split_of,
    with_disc,
)
from edgehemo_export.studies.lateef.features import (
    COLOUR_NAMES,
    SHAPE_NAMES,
    colour_features,
    shape_features,
)
from edgehemo_export.studies.lateef.findings import figures_of
from edgehemo_export.studies.lateef.networks import (
    TURNS,
    Begun,
    parameters_as_keras_counts,
    train_network,
    turned,
)
from edgehemo_export.studies.lateef.study import STUDY
from edgehemo_export.studies.lateef.svm import (
    coding_matrix,
    fit_svm,
    out_of_fold,
    threshold_keeping,
)
from edgehemo_export.studies.run import read_study_configuration, run_study
from tests.support.kymatio_numbers import CASES

pytestmark = pytest.mark.host

CUBIC = SvmOptions(
    degree=3, box_constraint=314.0, kernel_scale=1.0, folds=5, coding="one_vs_one", kept_share=0.95
)
TINY = """
seeds = [1, 2]
[data]
pictures_a_class = 12
side_px = 64
others = 4
[scattering]
invariance_px = 8.0
[cnn]
runs = 0
[resnet50]
runs = 0
[transfer]
runs = 1
epochs = 2
side_px = 32
start = ["scratch"]
scratch_epochs = 2
batch_size = 6
"""


def noise(case: dict[str, Any]) -> Tensor:
    drawn = np.random.default_rng(case["seed"]).random((case["side"], case["side"]))
    picture: Tensor = torch.from_numpy(drawn.astype(np.float32))[None, None]
    return picture


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['side']}-{c['qualities'][0]}")
def test_scattering_has_kymatios_numbers(case: dict[str, Any]) -> None:
    turns = case["rotations"]
    ours = FourierScattering(
        case["side"],
        invariance_px=case["invariance_px"],
        qualities=tuple(case["qualities"]),
        rotations=(turns, turns),
    )
    # Kymatio's list: by order, scales, then turns.
    order = sorted(
        range(ours.count),
        key=lambda i: (
            len(ours.paths[i]),
            [scale for scale, _ in ours.paths[i]],
            [turn for _, turn in ours.paths[i]],
        ),
    )
    found = ours(noise(case))[0, 0].numpy()[order]
    assert found == pytest.approx(np.array(case["coefficients"]), rel=2e-4)


def test_both_transforms_are_one() -> None:
    """The one that edge runtimes run, and the one that makes features."""
    x = torch.rand(2, 3, 60, 60, generator=torch.Generator().manual_seed(0))
    slow = Scattering(60, octaves=3, rotations=2)(x).reshape(2, 3, -1)
    fast = FourierScattering(60, invariance_px=8)(x)
    assert torch.allclose(slow.sort(dim=2).values, fast.sort(dim=2).values, rtol=1e-3, atol=1e-5)


def test_the_papers_scattering_has_its_scales() -> None:
    assert scales_below(40, 2) == tuple(k / 2 for k in range(11))
    assert scales_below(40, 1) == (0, 1, 2, 3, 4, 5)
    assert scales_below(32, 1) == (0, 1, 2, 3, 4)
    transform = FourierScattering(400, invariance_px=40, qualities=(2, 1))
    # 1 mean, 11 scales of 2 turns, 30 pairs of scales of 4 turns.
    assert transform.count == 1 + 22 + 120


def test_the_kernel_is_matlabs() -> None:
    """(1 + x.y / s^2)^3 by hand; with it the machine's decision is the sum over its supports."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 5))
    labels = np.repeat([0, 1], 20)
    x[labels == 1] += 1.5
    options = CUBIC.model_copy(update={"kernel_scale": 2.0})
    machine = fit_svm(x, labels, 2, options)
    standard = (x - x.mean(axis=0)) / x.std(axis=0, ddof=1)
    own = machine.machines[0]
    kernel = (1 + standard @ own.support_vectors_.T / 4) ** 3
    by_hand = kernel @ own.dual_coef_[0] + own.intercept_[0]
    assert own.decision_function(standard) == pytest.approx(by_hand)
    assert machine.bound_vectors <= machine.support_vectors


def test_machines_are_decoded_by_their_losses() -> None:
    rng = np.random.default_rng(1)
    centres = np.array([[0, 4], [4, 0], [-4, -4]])
    labels = np.repeat([0, 1, 2], 15)
    x = centres[labels] + rng.normal(size=(45, 2))
    for coding in ("one_vs_one", "one_vs_rest"):
        options = CUBIC.model_copy(update={"coding": coding})
        machine = fit_svm(x, labels, 3, options)
        scores = machine.scores(x)
        assert scores.sum(axis=1) == pytest.approx(1.0)
        assert (scores.argmax(axis=1) == labels).mean() > 0.95
        sides = np.stack([m.decision_function((x - machine.mean) / machine.spread)
                          for m in machine.machines], axis=1)  # fmt: skip
        code = coding_matrix(3, coding)
        first = [max(0.0, 1 - code[0, j] * sides[0, j]) / 2 for j in range(3) if code[0, j]]
        assert machine.losses(x)[0, 0] == pytest.approx(np.mean(first))
    held, fold = out_of_fold(x, labels, 3, CUBIC, seed=3)
    assert sorted(np.bincount(fold)) == [9] * 5 and held.shape == (45, 3)
    with pytest.raises(ValueError, match="every class"):
        fit_svm(x[:30], labels[:30], 3, CUBIC)


def test_a_threshold_keeps_so_many_of_the_right_answers() -> None:
    best = np.linspace(0.5, 1.0, 101)
    scores = np.stack([best, 1 - best], axis=1)
    labels = np.zeros(101, np.intp)
    limit = threshold_keeping(scores, labels, 0.9)
    assert (best >= limit).mean() == pytest.approx(0.9, abs=0.01)


def test_the_cnns_parameters_are_the_papers() -> None:
    assert parameters_as_keras_counts(BY_NAME["study_cnn"].builder(3)) == paper.PARAMETERS


def test_the_papers_figures_follow_from_its_charts() -> None:
    told = {"scattering + SVM": 0.989, "the paper's CNN": 0.956, "ResNet-50": 0.967}
    for name, accuracy in told.items():
        found = figures_of(paper.REPORTED[name].counts, paper.CLASSES)
        assert found["accuracy"] == pytest.approx(accuracy, abs=5e-4)
    cnn = figures_of(paper.REPORTED["the paper's CNN"].counts, paper.CLASSES)
    assert cnn["precision basophil"] == pytest.approx(0.882, abs=5e-4)
    assert cnn["recall erythroblast"] == pytest.approx(0.867, abs=5e-4)


def test_figures_by_hand() -> None:
    found = figures_of(np.array([[3, 1], [0, 0]]), ("a", "b"))
    assert found["accuracy"] == 0.75
    assert (found["precision a"], found["recall a"]) == (1.0, 0.75)
    assert found["F1 a"] == pytest.approx(6 / 7)
    assert (found["precision b"], found["recall b"], found["F1 b"]) == (0.0, 0.0, 0.0)


def test_a_disc_hides_the_same_place_in_every_picture() -> None:
    rng = np.random.default_rng(0)
    one, other = (rng.integers(0, 256, (80, 80, 3)).astype(np.uint8) for _ in range(2))
    shown = [with_disc(picture, 0.9) for picture in (one, other)]
    y, x = np.mgrid[:80, :80] - 39.5
    inside = np.hypot(y, x) < 36 - RIM_PX
    assert (shown[0][inside] == shown[1][inside]).all() and np.ptp(shown[0][inside]) == 0
    beyond = np.hypot(y, x) > 36
    assert (shown[0][beyond] == one[beyond]).all()


def test_shape_and_colour_of_a_drawn_cell() -> None:
    picture = np.full((200, 200, 3), (240, 225, 215), np.uint8)
    cv2.circle(picture, (100, 100), 60, (190, 160, 200), -1)
    cv2.circle(picture, (100, 100), 30, (80, 40, 140), -1)
    shape = dict(zip(SHAPE_NAMES, shape_features(picture), strict=True))
    assert shape["nucleus_share"] == pytest.approx(np.pi * 30**2 / 200**2, rel=0.1)
    assert shape["nucleus_of_cell"] == pytest.approx(0.25, rel=0.15)
    assert shape["nucleus_roundness"] > 0.85 and shape["nucleus_parts"] == 1
    colour = dict(zip(COLOUR_NAMES, colour_features(picture), strict=True))
    assert sum(v for k, v in colour.items() if k.startswith("hue")) == pytest.approx(1.0)
    assert colour["mean_g"] == pytest.approx(picture[..., 1].mean() / 255, rel=1e-3)
    assert not shape_features(np.full((64, 64, 3), 255, np.uint8))[2:].any()


def test_there_are_eight_ways_to_turn_a_square() -> None:
    one = torch.arange(9.0).reshape(1, 3, 3)
    ways = {tuple(turned(one, turn).flatten().tolist()) for turn in range(TURNS)}
    assert len(ways) == 8


def test_a_longer_training_goes_on_from_a_shorter_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (16, 32, 32, 3)).astype(np.uint8)
    labels = np.arange(16) % 2
    train, test = np.arange(12), np.arange(12, 16)
    config = read_study_configuration(STUDY)
    options = config.transfer.model_copy(update={"batch_size": 6})

    def trained(work: str, epochs: int) -> NDArray[np.float64]:
        how = Begun("scratch", "", None, 0, epochs)
        (tmp_path / work).mkdir(exist_ok=True)
        network = train_network(
            "efficientnet_lite0",
            lambda index: pictures[index],
            train,
            test,
            labels,
            options,
            how,
            1,
            tmp_path / work,
            lambda says: None,
        )
        assert len(network.loss) == epochs
        return network.loss

    whole = trained("whole", 7)
    trained("parts", 5)
    assert trained("parts", 7) == pytest.approx(whole, abs=0)


def draw_cells(root: Path, classes: dict[str, tuple[int, tuple[int, int, int]]]) -> None:
    rng = np.random.default_rng(5)
    for name, (radius, ground) in classes.items():
        (root / name).mkdir(parents=True)
        for number in range(14):
            picture = np.full((80, 84, 3), ground, np.int16)
            picture += rng.integers(-4, 5, picture.shape, np.int16)
            drawn = np.clip(picture, 0, 255).astype(np.uint8)
            at = (42 + int(rng.integers(-3, 4)), 40 + int(rng.integers(-3, 4)))
            cv2.circle(drawn, at, radius + 6, (200, 170, 205), -1)
            cv2.circle(drawn, at, radius, (90, 50, 150), -1)
            cv2.imwrite(str(root / name / f"{name}_{number:02d}.png"), drawn[..., ::-1])


def test_the_study_on_ones_own_folders(tmp_path: Path) -> None:
    """From data to page; the third class differs by its background alone."""
    data = tmp_path / "cells"
    same = (238, 224, 214)
    draw_cells(
        data,
        {"basophil": (9, same), "erythroblast": (18, same), "myeloblast": (9, (200, 215, 240))},
    )
    own = tmp_path / "own.toml"
    own.write_text(TINY)
    config = read_study_configuration(STUDY, own)
    output = run_study(STUDY, data, tmp_path / "out", config, quick=False)
    by_name = {(m.of, m.on, m.name): m for m in output.measures}
    whole = by_name["scattering + SVM", "held out", "accuracy"]
    hidden = by_name["scattering + SVM", "held out, cell hidden", "recall myeloblast"]
    assert whole.value is not None and whole.value > 0.9 and set(whole.seeds) == {"1", "2"}
    assert hidden.value == 1.0, "the background tells this class"
    alone = by_name["scattering + SVM", "held out, cell hidden", "accuracy"]
    assert alone.value is not None and alone.value < 0.95, "and not the other two"
    assert any(row.what == "the CNN's parameters" for row in output.comparison)
    again = run_study(STUDY, data, tmp_path / "again", config, quick=False)
    assert again.numbers_sha256 == output.numbers_sha256
    page = (tmp_path / "out" / "index.html").read_text()
    assert "The trap" in page and "zirconium" in page
    assert "third microscope" not in page, "there are no further sets here"


def test_folders_of_another_shape_are_told(tmp_path: Path) -> None:
    draw_cells(tmp_path, {"basophil": (9, (240, 240, 240))})
    config = read_study_configuration(STUDY)
    with pytest.raises(UsageError, match="erythroblast 0, myeloblast 0") as told:
        find_data(tmp_path, config.data)
    assert "\n" not in str(told.value)


def test_a_split_takes_as_many_of_each_class_and_keeps_parts_apart(tmp_path: Path) -> None:
    ground = (240, 240, 240)
    draw_cells(tmp_path, dict.fromkeys(paper.CLASSES, (9, ground)))
    options = read_study_configuration(STUDY).data
    data = find_data(tmp_path, options)
    split = split_of(data, options, 3)
    assert np.bincount(split.train_labels).tolist() == [10, 10, 10]
    assert np.bincount(split.test_labels).tolist() == [4, 4, 4]
    assert not set(split.train.tolist()) & set(split.test.tolist())
    assert (split_of(data, options, 3).test == split.test).all()
    assert (split_of(data, options, 4).test != split.test).any()


def test_the_papers_configuration_is_the_shipped_one() -> None:
    config = read_study_configuration(STUDY).model_dump()
    assert (config["data"]["pictures_a_class"], config["data"]["train_share"]) == (100, 0.7)
    assert config["data"]["side_px"] == 400
    assert config["scattering"] == {
        "invariance_px": 40.0,
        "qualities": (2, 1),
        "rotations": (2, 2),
    }
    assert (config["svm"]["box_constraint"], config["svm"]["degree"]) == (314.0, 3)
    assert (config["svm"]["kernel_scale"], config["svm"]["folds"]) == (1.0, 5)
    for name in ("cnn", "resnet50"):
        assert config[name]["learning_rate"] == 1e-4 and config[name]["batch_size"] == 10
