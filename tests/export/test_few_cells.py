"""Few cells of one's own: the last layer of an earlier network is fitted, own classes answered."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

pytestmark = pytest.mark.host
torch = pytest.importorskip("torch", reason='needs pip install ".[host]"')

from edgehemo.bundle.manifest import ConformalRule
from edgehemo.errors import UsageError
from edgehemo_export.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from edgehemo_export.commands.evaluate import evaluate
from edgehemo_export.commands.train import train
from edgehemo_export.models.classifiers.few_cells import FEW_CELLS, fit_on_few, learns_head
from edgehemo_export.models.classifiers.head_fit import Head, fit_head, folds_of
from edgehemo_export.models.classifiers.own_cells import for_data
from edgehemo_export.models.classifiers.run import train_classifier
from edgehemo_export.models.registry import BY_NAME
from edgehemo_export.training.task import Run
from tests.support.classifier_crops import CLASSES, discs, small_config, spec_of

COLOURS = {"round_cell": (170, 60, 70), "long_cell": (80, 60, 160), "not_a_cell": None}
TOML = (
    'name = "own_lab"\npixels = "canonical"\num_per_px = 0.5\nlicence = "drawn"\n'
    'own_classes = ["round_cell", "long_cell", "not_a_cell"]\n'
)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A network that learnt discs, all layers of it."""
    work = tmp_path_factory.mktemp("earlier")
    crops = discs(240)
    return train_classifier(spec_of(crops), work, small_config(familiarity=True), work, Run())


def own_set(folder: Path, count: int = 30, samples: int = 10) -> Path:
    """Cells of three classes of one's own, in folders, of so many samples."""
    rng = np.random.default_rng(5)
    for name, colour in COLOURS.items():
        (folder / "cells" / name).mkdir(parents=True)
        for number in range(count):
            codes = np.full((64, 64, 3), 200.0)
            if colour is not None:
                middle = (31.5, 31.5)
                y, x = np.mgrid[:64, :64]
                codes[np.hypot(y - middle[0], x - middle[1]) < rng.uniform(6, 9)] = colour
            codes = np.clip(codes + rng.normal(0, 3, codes.shape), 0, 255).astype(np.uint8)
            file = folder / "cells" / name / f"S{number % samples}_{number}.png"
            assert cv2.imwrite(str(file), codes[..., ::-1])
    (folder / "dataset.toml").write_text(TOML)
    return folder


def test_a_layer_pulled_hard_stays_and_one_let_go_learns() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = rng.normal(0, 0.3, (2, 60, 5)).astype(np.float32)
    features[:, np.arange(60), labels] += 2.0
    start = Head(rng.normal(0, 1, (4, 5)), np.zeros(4))
    stays = fit_head(features, labels, start, class_balance=0.5, pull=1e6)
    assert np.allclose(stays.weight, start.weight, atol=1e-4)
    learnt = fit_head(features, labels, start, class_balance=0.5, pull=0.01)
    assert (learnt.logits(features[0]).argmax(axis=1) == labels).all()
    again = fit_head(features, labels, start, class_balance=0.5, pull=0.01)
    assert np.array_equal(learnt.weight, again.weight)
    # The class that no cell bears hardly moves beside those that some do.
    moved = np.abs(learnt.weight - start.weight).max(axis=1)
    assert moved[3] < moved[:3].max()


def test_samples_stay_whole_in_folds() -> None:
    labels = np.arange(40) % 2
    groups = np.array([f"g{i // 5}" for i in range(40)])
    folds = folds_of(labels, groups)
    assert len(set(folds.tolist())) == 5
    assert all(len(set(folds[groups == g].tolist())) == 1 for g in set(groups.tolist()))


def test_the_layers_below_stay_and_thresholds_stand_on_cells_not_learnt_from(
    earlier: Checkpoint,
) -> None:
    # Red and blue have changed places: what a laboratory that stains otherwise would see.
    crops = discs(120, seed=7)
    swapped = crops.labels.copy()
    swapped[crops.labels == 0], swapped[crops.labels == 1] = 1, 0
    few = replace(crops, labels=swapped)
    spec, config = spec_of(few), small_config(familiarity=True)
    run = fit_on_few(spec, few, config, earlier)
    kept = run.net.state_dict()
    body = [name for name in earlier.weights if name.startswith("net.") and "head" not in name]
    assert body and all(torch.equal(kept[n].half(), earlier.weights[n].half()) for n in body)
    named = run.answers.probabilities.argmax(axis=1)
    assert (named == few.labels).mean() > 0.95
    assert run.answers.familiarity is not None
    assert 0.85 <= (run.answers.familiarity >= 0.5).mean() <= 0.99
    # What is not learnt cannot be told apart: answers to cells that were learnt from would.
    chance = np.random.default_rng(0).integers(0, 2, len(few))
    lost = fit_on_few(spec, replace(few, labels=chance), config, earlier)
    assert (lost.answers.probabilities.argmax(axis=1) == chance).mean() < 0.75


def test_when_the_last_layer_alone_is_learnt(earlier: Checkpoint) -> None:
    config = small_config()
    assert learns_head(config, earlier, own_alone=True, cells=FEW_CELLS)
    assert not learns_head(config, earlier, own_alone=True, cells=FEW_CELLS + 1)
    assert not learns_head(config, earlier, own_alone=False, cells=20)
    assert not learns_head(config, None, own_alone=True, cells=20)
    other = small_config(model={"architecture": "red_cell_small"})
    assert not learns_head(other, earlier, own_alone=True, cells=20)
    assert learns_head(small_config(learn="head"), earlier, own_alone=False, cells=9999)
    with pytest.raises(UsageError, match="give it with --init shipped"):
        learns_head(small_config(learn="head"), None, own_alone=True, cells=20)
    with pytest.raises(UsageError, match="is the configured one"):
        fit_on_few(spec_of(discs(30)), discs(30), other, earlier)


def test_own_classes_from_folders_to_a_measured_checkpoint(
    earlier: Checkpoint, tmp_path: Path
) -> None:
    folder = own_set(tmp_path / "own")
    start = tmp_path / "earlier.safetensors"
    save_checkpoint(start, earlier)
    config = tmp_path / "small.toml"
    config.write_text(
        "familiarity = true\ncoverage = 0.9\n[crop]\nside_px = 32\nmargin_px = 8\n"
        'um_per_px = 0.5\n[model]\narchitecture = "compact"\nflip_average = 2\nfrozen_stages = 0\n'
    )
    out = tmp_path / "own.safetensors"
    said = CliRunner().invoke(
        train,
        f"nucleated --data {folder} --init {start} --config {config} --out {out} --json -",
        catch_exceptions=False,
    )
    assert said.exit_code == 0 and json.loads(said.stdout)["task"] == "nucleated"
    made = load_checkpoint(out)
    assert made.record["learnt"] == "head" and made.record["own_classes"]
    assert made.record["classes"] == ["round_cell", "long_cell", "not_a_cell"]
    assert made.record["training_data"] == ["own_lab: own cells, drawn"]
    rule = ConformalRule.model_validate(made.record["conformal"])
    assert set(rule.thresholds) == set(COLOURS) and rule.cells < 90
    told = CliRunner().invoke(
        evaluate,
        [str(out), "--data", str(folder), "--save", "--json", str(tmp_path / "figures.json")],
        catch_exceptions=False,
    )
    assert told.exit_code == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    accuracy = next(m for m in figures["metrics"] if m["name"] == "accuracy")
    assert accuracy["value"] > 0.9
    card = out.with_suffix(".md").read_text()
    assert "own cells, drawn" in card and "last layer" in card
    assert "--init shipped" in card and "batch" not in card.split("## ")[0]
    subject = BY_NAME["nucleated"].load().export_subject(load_checkpoint(out))
    entry = subject.entry([], "0" * 64)
    assert entry.classes == ["round_cell", "long_cell", "not_a_cell"]
    assert entry.rejects == ["not_a_cell"]
    assert len(subject.held_out(folder).files) >= 3
    assert subject.net(torch.from_numpy(subject.example)).shape[1] == entry.output_values


def test_own_classes_are_one_list_and_alone(tmp_path: Path) -> None:
    root = tmp_path / "root"
    one = own_set(root / "one", count=3)
    spec = spec_of(discs(3))
    assert for_data(spec, root).classes == tuple(COLOURS)
    other = own_set(root / "two", count=3)
    (other / "dataset.toml").write_text('name = "own_two"\n')
    with pytest.raises(UsageError, match=r"two/dataset.toml: own_classes is another list"):
        for_data(spec, root)
    (root / "pbc").mkdir()
    (other / "dataset.toml").unlink()
    with pytest.raises(UsageError, match="cannot be learnt beside public sets"):
        for_data(spec, root)
    (one / "cells" / "round_cell").rename(one / "cells" / "round_cel")
    crops = for_data(spec, one)
    with pytest.raises(UsageError, match="did you mean round_cell"):
        crops.build(one, small_config(), None)
    assert spec.classes == CLASSES


def test_all_layers_learn_own_classes_where_that_is_asked(tmp_path: Path) -> None:
    folder = own_set(tmp_path / "own")
    config = small_config(learn="all")
    checkpoint = train_classifier(spec_of(discs(3)), folder, config, tmp_path / "work", Run())
    assert "learnt" not in checkpoint.record and checkpoint.record["own_classes"]
    assert checkpoint.record["configuration"]["learn"] == "all"
    assert checkpoint.weights["net.head.weight"].shape[0] == len(COLOURS)
