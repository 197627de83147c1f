"""Training a classifier: batches, whole runs from training to card and export, configurations."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch")

import torch
from click.testing import CliRunner

from edgehemo.errors import UsageError
from edgehemo_export.commands.train import train
from edgehemo_export.configuration import CONFIGS
from edgehemo_export.data.splits import EARLIER_SPLIT
from edgehemo_export.models.classifiers.card import classifier_card
from edgehemo_export.models.classifiers.checkpoint import classifier_net
from edgehemo_export.models.classifiers.evaluation import evaluated
from edgehemo_export.models.classifiers.export import classifier_subject
from edgehemo_export.models.classifiers.nucleated import run as nucleated_run
from edgehemo_export.models.classifiers.predictions import predict_net
from edgehemo_export.models.classifiers.run import train_classifier, unnamed_crops
from edgehemo_export.models.classifiers.training import ClassifierTask, UnnamedCrops
from edgehemo_export.nets.architecture_table import BY_NAME
from edgehemo_export.quantisation.gates import problems
from edgehemo_export.training.task import LoopConfig, Run

pytestmark = pytest.mark.host
from tests.support.classifier_crops import SIDE, discs, small_config, spec_of


def test_a_batch_is_the_same_from_the_same_seeds() -> None:
    crops = discs(60)
    masks = crops.codes[..., 1] < 130
    config = small_config(augment={"shift_px": 4, "exchange_share": 0.5}, mixup_share=1.0)
    task = ClassifierTask(crops, crops.where(crops.sources == "odd"), config, masks)

    def draw() -> tuple[torch.Tensor, torch.Tensor]:
        batch = task.batch(8, np.random.default_rng(1), torch.Generator().manual_seed(1))
        return batch.light, batch.target

    (light, target), (again, _) = draw(), draw()
    assert torch.equal(light, again)
    assert torch.allclose(target.sum(1), torch.ones(8))
    with pytest.raises(UsageError, match="exchange_share"):
        ClassifierTask(crops, crops, config, None)


def test_mixing_keeps_every_target_whole() -> None:
    crops = discs(60)
    config = small_config(unnamed_share=0.25, mixup_share=1.0, mixup_alpha=0.4)
    unnamed = UnnamedCrops.among(crops, crops.classes[:2])
    task = ClassifierTask(crops, crops, config, unnamed=unnamed)
    for seed in range(5):
        batch = task.batch(16, np.random.default_rng(seed), torch.Generator().manual_seed(seed))
        assert torch.allclose(batch.target.sum(dim=1) + batch.unnamed.sum(dim=1), torch.ones(16))
        assert batch.possible.shape == (16, 2, 3), "each of two mixed crops brings its own"


def test_a_run_learns_from_cells_without_a_name_unless_their_source_is_left_out(
    tmp_path: Path,
) -> None:
    crops = discs(150)
    asked = small_config(unnamed_share=0.25)
    with pytest.raises(UsageError, match="no cells without a name"):
        train_classifier(spec_of(crops), tmp_path, asked, tmp_path / "none", Run())
    spec = dataclasses.replace(
        spec_of(crops), unnamed=lambda *_: UnnamedCrops.among(crops, crops.classes[:2])
    )
    found = unnamed_crops(spec, tmp_path, asked, None)
    assert found is not None and (found.possible == [True, True, False]).all()
    checkpoint = train_classifier(spec, tmp_path, asked, tmp_path / "work", Run())
    assert checkpoint.record["steps"] == 16
    assert checkpoint.record["training_data"] == ["drawn here", "odd"]
    training = (crops.parts() == "train") & (crops.sources == "even")
    told = checkpoint.record["images"]["even, types unknown"]
    assert told == training.sum(), "the training part alone"
    without = train_classifier(spec, tmp_path, asked, tmp_path / "less", Run(leave_out="odd"))
    assert not any("odd" in name for name in without.record["images"])
    nothing = crops.where(np.zeros(len(crops), np.bool_))
    empty = dataclasses.replace(spec, unnamed=lambda *_: UnnamedCrops.among(nothing, crops.classes))
    with pytest.raises(UsageError, match="set unnamed_share to 0"):
        unnamed_crops(empty, tmp_path, asked, None)


def test_training_to_card_and_export(tmp_path: Path) -> None:
    """A tiny run end to end: it learns, its rule and temperature are inside, the card says it."""
    crops = discs(150)
    spec = spec_of(crops)
    checkpoint = train_classifier(spec, tmp_path, small_config(), tmp_path / "work", Run())
    again = train_classifier(spec, tmp_path, small_config(), tmp_path / "work", Run())
    assert all(torch.equal(v, again.weights[k]) for k, v in checkpoint.weights.items())
    net = classifier_net(spec, checkpoint)
    assert float(net.temperature) == pytest.approx(checkpoint.record["temperature"], rel=1e-5)
    # Nothing is recorded of these pictures: whether older weights saw them cannot be told.
    older = dataclasses.replace(checkpoint, record={**checkpoint.record, "split": EARLIER_SPLIT})
    with pytest.raises(UsageError, match="no crop of that part"):
        evaluated(spec, older, net, crops, "test")
    _, found = evaluated(spec, checkpoint, net, crops, "test")
    accuracy = {m.source: m for m in found.metrics if m.name == "accuracy"}
    assert accuracy["all"].value > 0.8
    assert accuracy["all"].low is not None and accuracy["all"].low < accuracy["all"].value
    # Drawn predictions show the data itself: they are no part of what is stored.
    assert set(found.pictures) == {"reliability", "confusion"}
    assert found.sheets["predictions"].startswith(b"\x89PNG")
    assert all(png.startswith(b"\x89PNG") for png in found.pictures.values())
    record = {
        **checkpoint.record,
        "metrics": [m.model_dump() for m in found.metrics],
        "tables": found.tables,
        "pictures": ["discs.reliability.png"],
    }
    card = classifier_card(spec, type(checkpoint)(checkpoint.task, checkpoint.weights, record))
    for said in ("# Discs", "macro F1", "uncertain", "discs.reliability.png", "Never tested on"):
        assert said in card
    subject = classifier_subject(spec, checkpoint)
    kept = subject.held_out(tmp_path)

    class Same:
        name, version = "same", "1"

        def run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
            return predict_net(net, codes)

    figures = kept.measure(Same())
    assert figures["agreement"] == 1.0 and not problems(subject.gates, figures, figures, "int8")
    worse = {**figures, "accuracy": figures["accuracy"] - 0.02, "agreement": 0.9}
    assert len(problems(subject.gates, figures, worse, "int8")) == 2
    assert kept.inputs[0].shape == (1, SIDE, SIDE, 3)
    entry = subject.entry([], "0" * 64)
    assert entry.rejects == ["other"] and entry.conformal is not None
    assert entry.input.um_per_px == 0.5 and entry.input.height_px == SIDE


def test_a_source_left_out_is_neither_trained_nor_tuned_on(tmp_path: Path) -> None:
    crops = discs(120)
    spec = spec_of(crops)
    short = {**small_config().model_dump()["loop"], "steps": 2, "validate_every": 0}
    config = small_config(loop=LoopConfig(**short))
    run = train_classifier(spec, tmp_path, config, tmp_path / "w", Run(leave_out="odd"))
    assert set(run.record["crops"]["train"]) == set(run.record["crops"]["tune"]) == {"even"}
    _, found = evaluated(spec, run, classifier_net(spec, run), crops, "test")
    assert {m.source for m in found.metrics} == {"odd"}
    with pytest.raises(UsageError, match="the data root holds even, odd"):
        train_classifier(spec, tmp_path, config, tmp_path / "w", Run(leave_out="mars"))
    study = small_config(model={"architecture": "study_cnn"})
    with pytest.raises(UsageError, match="takes crops of 400 px"):
        train_classifier(spec, tmp_path, study, tmp_path / "w", Run())


def test_shipped_configurations_are_whole() -> None:
    shipped = nucleated_run.read_config()
    assert shipped.model.architecture == "efficientnet_lite0" and shipped.init == "imagenet"
    study = nucleated_run.read_config(CONFIGS / "three_class_study.toml")
    assert study.sets == ("three_class",)
    assert BY_NAME[study.model.architecture].side_px == study.crop.side_px == 400
    with pytest.raises(UsageError, match="unknown architecture 'vgg'; there are compact"):
        nucleated_run.read_config(None, {"model": {"architecture": "vgg"}})


def test_init_imagenet_is_refused_where_there_are_no_such_weights(tmp_path: Path) -> None:
    out = str(tmp_path / "a.safetensors")
    given = ["cell-finder", "--data", str(tmp_path), "--out", out, "--init", "imagenet"]
    result = CliRunner().invoke(train, given)
    assert isinstance(result.exception, UsageError)
    assert "no such weights for cell-finder" in str(result.exception)


def test_a_teacher_is_refused_where_nothing_learns_from_one(tmp_path: Path) -> None:
    teacher = tmp_path / "teacher.safetensors"
    teacher.write_bytes(b"")
    out = str(tmp_path / "a.safetensors")
    given = ["cell-finder", "--data", str(tmp_path), "--out", out, "--teacher", str(teacher)]
    result = CliRunner().invoke(train, given)
    assert isinstance(result.exception, UsageError)
    assert "cell-finder is not learned from a teacher" in str(result.exception)
