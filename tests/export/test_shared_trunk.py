"""One trunk, two heads: checkpoints, graph, bundle and reading of what stands on another model."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason='needs pip install ".[host]"')

import torch

from edgehemo.bundle.bundle import load_bundle
from edgehemo.bundle.manifest import Artefact, Metric, ModelEntry, ModelTask
from edgehemo.cli import run
from edgehemo.errors import UsageError
from edgehemo.inference import Runner, open_model
from edgehemo.inference.verification import verify_artefacts
from edgehemo_export.checkpoints import (
    Checkpoint,
    as_trunk,
    load_checkpoint,
    save_checkpoint,
)
from edgehemo_export.evaluation.evaluation import Evaluation
from edgehemo_export.models.heads import JoinedHeldOut, trained_models
from edgehemo_export.models.registry import BY_TASK
from edgehemo_export.nets.resnet_fields import AnaemiaScreenNet, FieldEstimatorNet, FieldTrunkNet
from edgehemo_export.nets.torch_runner import TorchRunner
from edgehemo_export.quantisation.bundling import export_bundle
from edgehemo_export.quantisation.fingerprints import content_digest
from edgehemo_export.quantisation.signing import signer_for
from edgehemo_export.quantisation.subject import ExportSubject, TrainedModel
from tests.support.small_export import CLASSES, options_of, small_onnx, small_subject

pytestmark = pytest.mark.host

RECORD: dict[str, object] = {
    "training_envelope": {
        "features": ["a"],
        "mean": [0.0],
        "precision": [[1.0]],
        "warn_above": 3.0,
        "fail_above": 4.0,
        "fields": 20,
    },
    "training_data": ["made up"],
    "operating_point": {
        "threshold": 0.5,
        "calibration": {"slope": 1.0, "intercept": 0.0},
        "count_relative_sd": 0.0,
    },
}


def estimator_file(folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    path = folder / "field_estimator.safetensors"
    weights = {name: value.half() for name, value in FieldEstimatorNet().state_dict().items()}
    save_checkpoint(path, Checkpoint("field_estimator", weights, RECORD))
    return path


def screen_on(estimator: Path, path: Path) -> Path:
    trunk, weights = as_trunk(load_checkpoint(estimator))
    torch.manual_seed(1)
    net = AnaemiaScreenNet()
    net.load_state_dict({**net.state_dict(), **weights})
    save_checkpoint(path, Checkpoint("anaemia_screen", net.state_dict(), RECORD, trunk))
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A field estimator and a screen on it, in two folders."""
    folder = tmp_path_factory.mktemp("trunk")
    (folder / "runs").mkdir()
    estimator = estimator_file(folder)
    return estimator, screen_on(estimator, folder / "runs" / "screen.safetensors")


def tiles(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(60, 210, (count, 224, 224, 3), dtype=np.uint8)


def test_a_head_stores_nothing_of_its_trunk(files: tuple[Path, Path]) -> None:
    estimator, screen = files
    assert screen.stat().st_size < 20_000 < estimator.stat().st_size / 500
    found = load_checkpoint(screen)
    assert found.trunk is not None and found.trunk.path.samefile(estimator)
    net = AnaemiaScreenNet()
    net.load_state_dict(found.weights)
    own = load_checkpoint(estimator).weights
    assert torch.equal(net.trunk.backbone.conv1.weight, own["backbone.conv1.weight"].float())


def test_an_evaluated_head_still_stores_nothing_of_its_trunk(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = tmp_path / "screen.safetensors"
    save_checkpoint(screen, load_checkpoint(files[1]))
    figure = Metric(name="AUROC by field", source="made up", value=0.5)
    module = SimpleNamespace(
        evaluate=lambda *_: Evaluation([figure]), card=lambda checkpoint: checkpoint.task
    )
    face = SimpleNamespace(load=lambda: module)
    monkeypatch.setitem(BY_TASK, "anaemia_screen", face)
    assert run(["evaluate", str(screen), "--data", str(tmp_path), "--save"]) == 0
    assert screen.stat().st_size < 20_000
    found = load_checkpoint(screen)
    assert found.record["metrics"][0]["source"] == "made up" and "head.weight" in found.weights
    assert screen.with_suffix(".md").read_text() == "anaemia_screen"


def test_a_trunk_that_is_missing_or_another_one_is_told(tmp_path: Path) -> None:
    screen = screen_on(estimator_file(tmp_path), tmp_path / "screen.safetensors")
    estimator_file(tmp_path, seed=9)
    with pytest.raises(UsageError, match="stands on other weights than those in field_estimator"):
        load_checkpoint(screen)
    (tmp_path / "field_estimator.safetensors").unlink()
    with pytest.raises(UsageError, match="which is not there; put that checkpoint into"):
        load_checkpoint(screen)


def test_one_graph_answers_as_both_networks_do(files: tuple[Path, Path]) -> None:
    own, head = (load_checkpoint(path).weights for path in files)
    estimator, screen = FieldEstimatorNet(), AnaemiaScreenNet()
    estimator.load_state_dict(own)
    screen.load_state_dict(head)
    codes = tiles(2)
    both = TorchRunner(FieldTrunkNet(estimator, screen)).run(codes)
    assert both.shape == (2, 8)
    assert np.allclose(both[:, :6], TorchRunner(estimator).run(codes), rtol=1e-4, atol=1e-5)
    assert np.allclose(both[:, 6:], TorchRunner(screen).run(codes), atol=1e-5)


def test_learning_a_head_leaves_the_trunk_as_it_is() -> None:
    net = AnaemiaScreenNet().train()
    before = {name: value.clone() for name, value in net.trunk.state_dict().items()}
    learnt = [p for p in net.parameters() if p.requires_grad]
    assert {id(p) for p in learnt} == {id(p) for p in net.head.parameters()}
    loss = net.logits(torch.rand(2, 3, 64, 64)).square().sum()
    torch.autograd.backward(loss)
    torch.optim.SGD(learnt, lr=0.1).step()
    assert all(torch.equal(before[name], value) for name, value in net.trunk.state_dict().items())


def test_only_what_stands_on_a_given_trunk_joins_its_graph(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    loaded = [(path, load_checkpoint(path)) for path in files]
    (model,) = trained_models(loaded[::-1])
    assert model.subject.task == "field_estimator"
    assert [head.subject.task for head in model.heads] == ["anaemia_screen"]
    assert isinstance(model.subject.net, FieldTrunkNet)
    assert {gate.figure for gate in model.subject.gates} >= {"HGB_MAE_g_per_l", "agreement"}
    assert model.subject.entry([], "0" * 64).heads == ["anaemia_screen"]
    # Without its trunk, and beside another estimator, it brings a whole graph.
    (alone,) = trained_models(loaded[1:])
    assert isinstance(alone.subject.net, AnaemiaScreenNet) and alone.heads == ()
    other = estimator_file(tmp_path, seed=5)
    apart = trained_models([(other, load_checkpoint(other)), loaded[1]])
    assert [model.heads for model in apart] == [(), ()]


def test_an_artefact_hangs_on_its_heads_as_well(files: tuple[Path, Path]) -> None:
    estimator, screen = (load_checkpoint(path) for path in files)
    changed = dataclasses.replace(screen, weights={**screen.weights, "head.bias": torch.ones(2)})
    alone = content_digest(estimator)
    assert len({alone, content_digest(estimator, screen), content_digest(estimator, changed)}) == 3


def test_the_figures_of_both_are_measured_on_the_one_graph() -> None:
    class Seen:
        inputs: tuple[NDArray[np.uint8], ...] = ()
        files = ()

        def __init__(self, name: str) -> None:
            self.name = name

        def measure(self, runner: Runner) -> dict[str, float]:
            answer = runner.run(np.zeros((1, 2, 2, 3), np.uint8))
            return {self.name: float(answer[0, 0])}

    class Graph:
        name, version = "graph", "1"

        def run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.arange(8, dtype=np.float32)[None]

    joined = JoinedHeldOut(Seen("trunk"), Seen("head"), 6)
    assert joined.measure(Graph()) == {"trunk": 0.0, "head": 6.0}


@pytest.fixture
def small_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainedModel:
    """The small network as a trunk of two classes and a head of one."""
    model = small_onnx()
    monkeypatch.setattr(
        "edgehemo_export.quantisation.onnx_export.export_fp32", lambda *_, **__: model
    )
    whole = small_subject()

    def entry(task: ModelTask, classes: tuple[str, ...], **more: object) -> ExportSubject:
        def made(artefacts: list[Artefact], sha256: str) -> ModelEntry:
            changes = {"name": task, "task": task, "classes": list(classes), **more}
            return whole.entry(artefacts, sha256).model_copy(update=changes)

        return dataclasses.replace(whole, name=task, task=task, entry=made)

    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for path in paths:
        save_checkpoint(path, Checkpoint("nucleated", {"a": torch.zeros(1)}, {}))
        path.with_suffix(".md").write_text("# small\n")
    first, second = (load_checkpoint(path) for path in paths)
    head = TrainedModel(paths[1], second, entry("anaemia_screen", CLASSES[2:]))
    trunk = entry("field_estimator", CLASSES[:2], heads=["anaemia_screen"])
    return TrainedModel(paths[0], first, trunk, (head,))


def test_a_bundle_holds_one_graph_for_both(small_models: TrainedModel, tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "bundle"
    data.mkdir()
    options = options_of(data, precisions=("fp32",))
    signer = signer_for(None, out)
    export_bundle([small_models], out, options, signer=signer, say=lambda _: None)
    bundle = load_bundle(out)
    own, head = bundle.model("field_estimator"), bundle.model("anaemia_screen")
    assert own.heads == ["anaemia_screen"] and head.trunk == "field_estimator"
    assert head.artefacts == [] and head.model_card == "anaemia_screen.md"
    assert bundle.graph("field_estimator") == (own, 0, 3)
    assert bundle.graph("anaemia_screen") == (own, 2, 3)
    _, runner = open_model(bundle, "anaemia_screen", threads=1, runtime="onnx")
    assert runner.output_shape[-1] == 3
    assert [row.gate for row in verify_artefacts(bundle, threads=1)] == ["pass"]

    # Neither is replaced without the other: they are one file.
    alone = dataclasses.replace(small_models, heads=())
    keeping = dataclasses.replace(options, keep_others=True)
    with pytest.raises(UsageError, match="field_estimator and anaemia_screen are one graph"):
        export_bundle([alone], out, keeping, signer=signer, say=lambda _: None)
    export_bundle([small_models], out, keeping, signer=signer, say=lambda _: None)
    assert load_bundle(out).manifest.serial == 2
