"""Export: three formats that answer as PyTorch does, gates that hold, bundles whole or none."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from edgehemo.bundle.bundle import Bundle, load_bundle
from edgehemo.bundle.manifest import (
    PRECISION_PREFERENCE,
    Artefact,
    InputSpec,
    ModelEntry,
    ModelTask,
    Precision,
)
from edgehemo.commands.verify import verify as verify_command
from edgehemo.errors import BundleError, MissingDependencyError, UsageError, WithheldError
from edgehemo.inference import RUNTIMES, Runner, check_graph, open_model
from edgehemo.inference.worker import WorkerRunner, peak_memory_mb

pytestmark = pytest.mark.host
pytest.importorskip("torch", reason='needs pip install "edgehemo[host]"')
pytest.importorskip("onnx", reason='needs pip install "edgehemo[host]"')

import onnx
import torch

from edgehemo_export.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from edgehemo_export.commands.export import export
from edgehemo_export.evaluation.tiled_runner import TiledRunner
from edgehemo_export.models import registry
from edgehemo_export.quantisation import formats, model_export
from edgehemo_export.quantisation.bundling import export_bundle
from edgehemo_export.quantisation.calibration_set import (
    CalibrationSet,
    manifest_files,
    read_calibration_set,
    shared_pictures,
)
from edgehemo_export.quantisation.formats import (
    ALL_PRECISIONS,
    FORMATS,
    PRECISIONS,
    calibrated_among,
    chosen_formats,
    chosen_precisions,
)
from edgehemo_export.quantisation.gates import (
    DIFFERENCES,
    FOLLOWED,
    TASK_GATES,
    Figures,
    Gate,
    problems,
)
from edgehemo_export.quantisation.graph import Graph
from edgehemo_export.quantisation.int8_recipes import (
    Int8Recipe,
    first_recipes,
    float_layers_of,
    further_recipes,
)
from edgehemo_export.quantisation.onnx_export import (
    export_fp32,
    largest_difference,
    quantise_int8,
    to_fp16,
)
from edgehemo_export.quantisation.onnx_folding import fold_normalisation
from edgehemo_export.quantisation.options import ExportOptions, ExportRow
from edgehemo_export.quantisation.parity import Reference, differences, followed_beyond, stained
from edgehemo_export.quantisation.signing import signer_for
from edgehemo_export.quantisation.subject import ExportSubject, TrainedModel
from edgehemo_export.quantisation.writers import writer_for
from tests.support.pages import faults_of_page

SIDE = 32
CLASSES = ("one", "two", "three")


class SmallNet(torch.nn.Module):
    """Codes to probabilities, with a normalisation a channel and a mirrored view where asked, run
    apart or stacked as a sample.
    """

    def __init__(
        self,
        mean: Sequence[float] = (0.8,),
        sd: Sequence[float] = (0.25,),
        mirrored: str = "",
    ) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.register_buffer("mean", torch.tensor(mean).reshape(-1, 1, 1), persistent=False)
        self.register_buffer("sd", torch.tensor(sd).reshape(-1, 1, 1), persistent=False)
        self.mirrored = mirrored
        self.body = torch.nn.Sequential(
            torch.nn.Conv2d(3, 16, 3, 2, 1), torch.nn.ReLU(), torch.nn.Conv2d(16, 16, 3, 1, 1)
        )
        self.head = torch.nn.Linear(16, len(CLASSES))

    def forward(self, codes: Any) -> Any:
        views = [codes, codes.flip(2)] if self.mirrored == "stacked" else [codes]
        seen = torch.cat(views) if len(views) > 1 else codes
        x = seen.permute(0, 3, 1, 2).to(torch.float32) / 200.0
        answers = [self.answers(x)]
        if self.mirrored == "apart":
            answers.append(self.answers(x.flip(3)))
        return torch.cat(answers).reshape(len(answers) * len(views), -1, len(CLASSES)).mean(dim=0)

    def answers(self, x: Any) -> Any:
        seen = torch.relu(self.body((x - self.mean) / self.sd)).mean(dim=(2, 3))
        return torch.softmax(8 * self.head(seen), dim=1)


def crops(count: int, seed: int = 0) -> list[NDArray[np.uint8]]:
    """Pictures with a dark spot whose size and colour vary, uint8 (1, 32, 32, 3)."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        picture = np.full((SIDE, SIDE, 3), 200, np.uint8)
        colour = tuple(int(v) for v in rng.integers(20, 190, 3))
        centre = tuple(int(v) for v in rng.integers(10, 22, 2))
        cv2.circle(picture, centre, int(rng.integers(3, 12)), colour, -1)
        out.append(picture[None])
    return out


@cache
def small_onnx() -> bytes:
    """The small network in ONNX, traced once: tracing is what takes time."""
    return export_fp32(SmallNet().eval(), crops(1)[0], multiple_of_px=None)


@pytest.fixture
def traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_onnx()
    monkeypatch.setattr(
        "edgehemo_export.quantisation.onnx_export.export_fp32", lambda *_, **__: model
    )


class SmallHeldOut:
    """Crops whose truth is what PyTorch says."""

    def __init__(self, net: Any, files: Sequence[Path] = ()) -> None:
        self.inputs = crops(60, seed=9)
        self.files = files
        with torch.inference_mode():
            self._truth = [int(net(torch.from_numpy(c)).argmax()) for c in self.inputs]

    def measure(self, runner: Runner) -> Figures:
        said = [int(runner.run(codes).argmax()) for codes in self.inputs]
        return {"accuracy": float(np.mean(np.array(said) == self._truth))}


# The small network names few pictures: one of them is already a larger share than the table allows.
ACCURACY = dataclasses.replace(TASK_GATES["nucleated"][0], limit=0.05)
# No artefact gets better by a tenth.
FAILS_IN_INT8 = dataclasses.replace(ACCURACY, limit=-0.1, precisions=("int8",))


def small_subject(**changes: Any) -> ExportSubject:
    net = SmallNet().eval()

    def entry(artefacts: list[Artefact], sha256: str) -> ModelEntry:
        spec = InputSpec(
            height_px=SIDE, width_px=SIDE, um_per_px=0.25, code_of_transmittance_1=200.0
        )
        return ModelEntry(
            name="small",
            task="nucleated",
            input=spec,
            classes=list(CLASSES),
            training_data=["none"],
            checkpoint_sha256=sha256,
            artefacts=artefacts,
        )

    subject = ExportSubject(
        name="small",
        task="nucleated",
        net=net,
        example=crops(1)[0],
        free_size_multiple=None,
        float_layers=("head",),
        calibration=lambda _: calibration_of(crops(120, seed=5)),
        held_out=lambda _: SmallHeldOut(net),
        gates=(ACCURACY,),
        entry=entry,
    )
    return dataclasses.replace(subject, **changes)


def calibration_of(
    tiles: Sequence[NDArray[np.uint8]], files: Sequence[Path] = ()
) -> CalibrationSet:
    return CalibrationSet(tuple(files), tuple(tile[0] for tile in tiles), "0" * 64, ())


@pytest.fixture
def subject_is(
    monkeypatch: pytest.MonkeyPatch, traced_once: None
) -> Callable[[ExportSubject], None]:
    """Have the task table answer with this subject, whatever the checkpoint."""

    def use(subject: ExportSubject) -> None:
        module = SimpleNamespace(export_subject=lambda _: subject)
        task = SimpleNamespace(load=lambda: module)
        monkeypatch.setattr(registry, "BY_TASK", {"nucleated": task})

    return use


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "small.safetensors"
    save_checkpoint(path, Checkpoint("nucleated", {"a": torch.zeros(1)}, {}))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "list.txt").write_text("what is here does not matter")
    return folder


def options_of(data: Path, **changes: Any) -> ExportOptions:
    options = ExportOptions(
        formats=chosen_formats(["onnx"]),
        precisions=("int8",),
        calibration=data,
        evaluation=None,
        name="small",
    )
    return dataclasses.replace(options, **changes)


def run_export(checkpoint: Path, out: Path, options: ExportOptions) -> list[ExportRow]:
    return export_bundle(
        [trained(checkpoint)], out, options, signer=signer_for(None, out), say=lambda _: None
    )


def trained(path: Path) -> TrainedModel:
    """A checkpoint as the command hands it to the exporter."""
    checkpoint = load_checkpoint(path)
    return TrainedModel(path, checkpoint, registry.subject_of(path, checkpoint))


# The table of formats


def test_the_table_knows_a_runtime_for_every_format() -> None:
    assert [item.name for item in FORMATS] == list(RUNTIMES)
    for item in FORMATS:
        assert item.suffix.startswith(".") and item.runtime.distributions
    assert [item.name for item in chosen_formats([])] == ["onnx", "openvino", "tflite"]


def test_the_documentation_agrees_with_the_table() -> None:
    page = (Path(__file__).parents[2] / "export" / "README.md").read_text()
    for item in FORMATS:
        facts = item.runtime
        packages = ", ".join(name for name, _ in facts.distributions)
        row = f"| {item.name} | {item.suffix} | {', '.join(item.precisions)} | {packages} | "
        assert row + f"{', '.join(facts.boards)} |" in page


def test_every_task_and_precision_has_its_gates_and_the_documentation_tells_them() -> None:
    page = (Path(__file__).parents[2] / "export" / "README.md").read_text()
    assert set(TASK_GATES) == set(get_args(ModelTask)) == set(registry.BY_TASK)
    for gate in DIFFERENCES:
        assert f"| every model | {', '.join(gate.precisions)} | {gate.says} |" in page
    for task, gates in TASK_GATES.items():
        assert {name for gate in gates for name in gate.precisions} == set(ALL_PRECISIONS)
        for gate in gates:
            assert f"| {task} | every | {gate.says} |" in page


@pytest.mark.parametrize(
    ("sense", "limit", "passing", "failing"),
    [
        ("fall", 0.1, (2.0, 0.95), (0.8, float("nan"))),
        ("rise", 0.1, (0.0, 1.05), (1.2, float("nan"))),
        ("move", 0.1, (0.95, 1.05), (0.8, 1.2, float("nan"))),
        ("at least", 0.5, (0.5, 2.0), (0.4, float("nan"))),
        ("at most", 0.5, (0.5, -2.0), (0.6, float("nan"))),
    ],
)
def test_a_gate_holds_a_figure_against_pytorch_or_its_limit(
    sense: Any, limit: float, passing: tuple[float, ...], failing: tuple[float, ...]
) -> None:
    gate = Gate("x", sense, limit, "{amount:g} against {limit:g}", "", ("int8",))
    for value in passing:
        assert problems([gate], {"x": 1.0}, {"x": value}, "int8") == []
    for value in failing:
        (said,) = problems([gate], {"x": 1.0}, {"x": value}, "int8")
        assert said.startswith("int8: ") and said.endswith(f" against {limit:g}")
        assert problems([gate], {"x": 1.0}, {"x": value}, "fp32") == []


@pytest.mark.parametrize(
    ("typed", "meant"), [("onx", "onnx"), ("openvno", "openvino"), ("tflight", "tflite")]
)
def test_a_mistyped_format_suggests_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean {meant}"):
        chosen_formats([typed])


def test_precisions_default_to_int8_and_come_largest_first() -> None:
    assert set(PRECISIONS) == set(get_args(Precision)) == set(PRECISION_PREFERENCE)
    assert chosen_precisions([]) == ("int8",)
    assert chosen_precisions(["int8", "fp16", "fp32"]) == ("fp32", "fp16", "int8")
    assert chosen_precisions(["fp16"]) == ("fp16",)
    assert calibrated_among(ALL_PRECISIONS) == ("int8",)


def test_what_is_not_supported_is_refused_before_torch_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from edgehemo.cli import run\n"
        "code = run(sys.argv[1:])\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
        "sys.exit(code)\n"
    )
    for arguments, said in (
        (["--format", "tflit"], "did you mean tflite"),
        (["--int8"], "--calibration"),
    ):
        command = [sys.executable, "-c", code, "export", "x.safetensors", *arguments]
        done = subprocess.run(
            [*command, "--out", str(tmp_path / "b")], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2, done.stderr
        assert said in done.stderr and "Traceback" not in done.stderr


def test_a_format_whose_tools_are_missing_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"openvino needs .*nncf.*edgehemo\[host\]"):
        formats.refuse_unsupported(chosen_formats(["openvino"]), ("int8",))


# ONNX


@pytest.mark.parametrize("mirrored", ["", "apart", "stacked"])
def test_codes_reach_the_first_convolution_untouched(mirrored: str) -> None:
    net = SmallNet(mirrored=mirrored).eval()
    model = export_fp32(net, crops(1)[0], multiple_of_px=None) if mirrored else small_onnx()
    several = np.concatenate(crops(7, seed=2))
    assert largest_difference(net, model, [several]) < 1e-5
    small = quantise_int8(model, crops(40, seed=1), keep_float=("head",))
    assert largest_difference(net, small, [several]) < 0.05
    kinds = [node.op_type for node in onnx.load_from_string(small).graph.node]
    assert kinds.count("QLinearConv") == (4 if mirrored == "apart" else 2)
    assert not {"Cast", "Sub", "QuantizeLinear"} & set(kinds)
    assert "Transpose" in kinds and "Gemm" in kinds
    whole = quantise_int8(model, crops(40, seed=1))
    graph = onnx.load_from_string(whole).graph
    signed = {item.name for item in graph.initializer if item.data_type == onnx.TensorProto.INT8}
    read = [name for node in graph.node for name in node.input if name in signed]
    assert read and len(read) == len(set(read))
    assert largest_difference(net, whole, [several]) < 0.05


def test_a_clipped_activation_is_part_of_its_convolution() -> None:
    """ReLU6 is the quantised range itself: nothing is unpacked between two convolutions."""
    net = SmallNet().eval()
    net.body[1] = torch.nn.ReLU6()
    model = export_fp32(net, crops(1)[0], multiple_of_px=None)
    assert "Clip" in [node.op_type for node in onnx.load_from_string(model).graph.node]
    small = quantise_int8(model, crops(40, seed=1), keep_float=("head",))
    kinds = [node.op_type for node in onnx.load_from_string(small).graph.node]
    assert kinds.count("QLinearConv") == 2 and not {"Clip", "QuantizeLinear"} & set(kinds)
    assert largest_difference(net, small, [np.concatenate(crops(7, seed=2))]) < 0.05


def test_a_shared_normalisation_folds_exactly() -> None:
    """X = (code / 200 - 0.8) / 0.25 is 0.02 (code - 160), whose zero point pads as zero does."""
    net = SmallNet().eval()
    model = onnx.load_from_string(small_onnx())
    (folded,) = fold_normalisation(model)
    assert folded.zero_point == 160 and folded.scale == pytest.approx(0.02)
    assert largest_difference(net, model.SerializeToString(), crops(5)) < 1e-5


def test_a_normalisation_by_channel_folds_into_the_weights_away_from_the_border() -> None:
    net = SmallNet((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)).eval()
    model = onnx.load_from_string(export_fp32(net, crops(1)[0], multiple_of_px=None))
    (folded,) = fold_normalisation(model)
    assert folded.scale == pytest.approx(1 / 200 / 0.226, rel=0.01)
    # Padding stands for the mean's code, which differs by channel: only the border feels it.
    assert 0 < largest_difference(net, model.SerializeToString(), crops(5)) < 0.03


def test_half_precision_halves_the_file_and_holds_its_gate() -> None:
    net = SmallNet().eval()
    model = small_onnx()
    half = to_fp16(model)
    weights = [t for t in onnx.load_from_string(half).graph.initializer if t.data_type == 10]
    assert weights
    assert 0 < largest_difference(net, half, crops(5)) < 1e-2


@pytest.mark.parametrize("calibrator", ["percentile", "entropy"])
def test_other_calibrators_answer_alike(calibrator: str) -> None:
    net = SmallNet().eval()
    model = small_onnx()
    small = quantise_int8(model, crops(24, seed=1), calibrator=calibrator, keep_float=("head",))
    assert largest_difference(net, small, crops(10)) < 0.2
    with pytest.raises(UsageError, match="unknown calibrator"):
        quantise_int8(model, crops(2), calibrator="magic")


# All formats


@pytest.mark.parametrize("name", [item.name for item in FORMATS])
def test_each_format_answers_as_pytorch_does_in_a_process_of_its_own(
    name: str, tmp_path: Path, traced_once: None
) -> None:
    for _, module in chosen_formats([name])[0].tools:
        pytest.importorskip(module)
    (item,) = chosen_formats([name])
    net = SmallNet().eval()
    writer = writer_for(item, Graph(net, crops(1)[0], None))
    recipe = first_recipes(item.calibrators, ("head",))[0]
    calibration = crops(30, seed=1)
    several = np.concatenate(crops(5, seed=4))
    with torch.inference_mode():
        wanted = net(torch.from_numpy(several)).numpy()
    limits = {"fp32": 1e-3, "fp16": 1e-2, "int8": 0.06}
    made = {"fp32": writer.plain("fp32"), "fp16": writer.plain("fp16")}
    made["int8"] = writer.int8(calibration, recipe)
    for precision, files in made.items():
        for suffix, content in files:
            (tmp_path / f"{precision}{suffix}").write_bytes(content)
        path = tmp_path / f"{precision}{files[0][0]}"
        assert path.suffix == item.suffix
        with WorkerRunner(path, item.name, threads=1) as runner:
            got = runner.run(several)
            assert runner.input_type == "uint8" and runner.output_shape[-1] == len(CLASSES)
            assert runner.peak_memory_mb > 10 and runner.cold_start_s > 0
        assert got.shape == wanted.shape and got.dtype == np.float32
        assert np.abs(got - wanted).max() < limits[precision], precision


@pytest.mark.parametrize("calibrator", ["mean_minmax", "quantile"])
def test_other_calibrators_of_tflite_answer_alike(calibrator: str, tmp_path: Path) -> None:
    pytest.importorskip("litert_torch")
    (item,) = chosen_formats(["tflite"])
    assert calibrator in (*item.calibrators, *item.spare_calibrators)
    net = SmallNet().eval()
    writer = writer_for(item, Graph(net, crops(1)[0], None))
    calibration = crops(24, seed=1)
    recipes = [Int8Recipe(name, ("head",)) for name in ("minmax", calibrator)]
    (widest,), (other,) = (writer.int8(calibration, recipe) for recipe in recipes)
    assert widest[1] != other[1]
    path = tmp_path / "x.tflite"
    path.write_bytes(other[1])
    several = np.concatenate(crops(10))
    with WorkerRunner(path, "tflite", threads=1) as runner, torch.inference_mode():
        wanted = net(torch.from_numpy(several)).numpy()
        assert np.abs(runner.run(several) - wanted).max() < 0.2


def test_openvino_keeps_a_head_in_float_and_halves_the_weights_range() -> None:
    """A Gemm becomes operators of other names; whole bytes saturate on x86 without VNNI."""
    pytest.importorskip("nncf")
    import openvino

    (item,) = chosen_formats(["openvino"])
    writer = writer_for(item, Graph(SmallNet().eval(), crops(1)[0], None))

    def quantised_inputs_of(recipe: Int8Recipe) -> dict[str, list[int]]:
        (_, xml), (_, weights) = writer.int8(crops(24, seed=1), recipe)
        model = openvino.Core().read_model(xml, weights)
        return {
            kind: [
                sum(
                    source.get_node().get_type_name() == "FakeQuantize"
                    for source in (value.get_source_output() for value in op.inputs())
                )
                for op in model.get_ordered_ops()
                if op.get_type_name() == kind
            ]
            for kind in ("MatMul", "Convolution")
        }

    kept = quantised_inputs_of(Int8Recipe("minmax", ("head",)))
    assert kept["MatMul"] == [0] and len(kept["Convolution"]) == 2
    assert quantised_inputs_of(Int8Recipe("minmax", ()))["MatMul"] != [0]
    (_, xml), (_, weights) = writer.int8(crops(24, seed=1), Int8Recipe("minmax", ("head",)))
    stored = [
        op.get_data()
        for op in openvino.Core().read_model(xml, weights).get_ordered_ops()
        if op.get_type_name() == "Constant" and op.get_element_type().get_type_name() == "i8"
    ]
    assert stored and all(np.abs(values.astype(int)).max() <= 64 for values in stored)


@pytest.mark.parametrize("name", [item.name for item in FORMATS])
def test_every_calibrator_of_the_table_is_known_to_its_writer(name: str) -> None:
    (item,) = chosen_formats([name])
    for _, module in item.tools:
        pytest.importorskip(module)
    wanted = {*item.calibrators, *item.spare_calibrators}
    if name == "onnx":
        from edgehemo_export.quantisation.onnx_export import CALIBRATORS

        assert wanted <= set(CALIBRATORS)
    elif name == "openvino":
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet

        from edgehemo_export.quantisation.openvino_export import RANGE_ESTIMATORS

        assert all(hasattr(RangeEstimatorParametersSet, RANGE_ESTIMATORS[c]) for c in wanted)
    else:
        from edgehemo_export.quantisation.tflite_export import REDUCTIONS

        assert wanted <= set(REDUCTIONS)


def test_a_worker_without_its_runtime_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match=r"edgehemo\[onnx\]"):
        WorkerRunner(tmp_path / "x.onnx", "onnx", threads=1)


def test_a_workers_memory_is_its_own(tmp_path: Path) -> None:
    """Not that of the process that started it, which here holds PyTorch and more."""
    held = np.ones(100_000_000, np.uint8)
    path = tmp_path / "x.onnx"
    path.write_bytes(small_onnx())
    with WorkerRunner(path, "onnx", threads=1) as runner:
        runner.run(crops(1)[0])
        assert 20 < runner.peak_memory_mb < peak_memory_mb() - held.nbytes / 1e6


def test_a_worker_says_why_it_cannot_open_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(BundleError, match=r"x\.onnx: ONNX Runtime refuses it"):
        WorkerRunner(path, "onnx", threads=1)


# The whole export


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[ExportRow]]:
    """A bundle of one small model, ONNX at three precisions, signed."""
    folder = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEHEMO_KEYS", str(tmp_path_factory.getbasetemp() / "keys"))
        model = small_onnx()
        patch.setattr(
            "edgehemo_export.quantisation.onnx_export.export_fp32", lambda *_, **__: model
        )
        module = SimpleNamespace(export_subject=lambda _: small_subject())
        patch.setattr(registry, "BY_TASK", {"nucleated": SimpleNamespace(load=lambda: module)})
        save_checkpoint(
            folder / "small.safetensors", Checkpoint("nucleated", {"a": torch.zeros(1)}, {})
        )
        (folder / "small.md").write_text("# small\n")
        (folder / "data").mkdir()
        options = options_of(folder / "data", precisions=("fp32", "fp16", "int8"))
        rows = run_export(folder / "small.safetensors", folder / "bundle", options)
    return folder, rows


def test_an_export_is_whole_signed_verified_and_described(
    exported: tuple[Path, list[ExportRow]],
) -> None:
    folder, rows = exported
    assert [row.artefact and row.artefact.precision for row in rows] == ["fp32", "fp16", "int8"]
    bundle = load_bundle(folder / "bundle")
    bundle.check_files()
    assert bundle.trust == "signed" and bundle.strangers() == []
    int8 = rows[-1].artefact
    assert int8 is not None
    assert int8.recipe["calibrator"] in ("minmax", "percentile")
    assert int8.recipe["kept_in_float"] == ["head"]
    assert int8.recipe["calibration_samples"] == 120
    assert int8.parity["accuracy"] >= int8.parity["accuracy_pytorch"] - 0.05
    assert "onnxruntime" in int8.versions
    report = json.loads((folder / "bundle" / "export.json").read_text())
    assert report["schema"] == "edgehemo.export-report/1"
    assert [row["precision"] for row in report["artefacts"]] == ["fp32", "fp16", "int8"]
    page = (folder / "bundle" / "export.html").read_text()
    assert not faults_of_page(page)
    assert page.count("data:image/png;base64,") == 3
    for row in report["artefacts"]:
        measured = row["measured"]
        assert measured["run_ms"] > 0 and measured["threads"] == 1 and measured["board"]
        apart = np.abs(np.subtract(measured["pytorch"], measured["artefact"]))
        assert apart.max() == pytest.approx(row["parity"]["largest_difference"], abs=2e-6)
    artefact, runner = open_model(bundle, "nucleated", threads=1, runtime="onnx")
    assert artefact.precision == "int8"
    assert runner.run(np.concatenate(crops(3))).shape == (3, len(CLASSES))


def test_verify_reproduces_an_export_and_names_what_was_changed(
    exported: tuple[Path, list[ExportRow]], tmp_path: Path
) -> None:
    import shutil

    folder, _ = exported
    report = tmp_path / "verify.json"

    def run(bundle: Path) -> tuple[int, dict[str, Any]]:
        done = CliRunner().invoke(
            verify_command, [str(bundle), "--json", str(report)], standalone_mode=False
        )
        assert done.exception is None, done.output
        return int(done.return_value), json.loads(report.read_text())

    code, record = run(folder / "bundle")
    assert code == 0 and record["trust"] == "signed" and record["problems"] == []
    for row in record["artefacts"]:
        assert row["gate"] == "pass" and row["parity"]["sample_difference"] < 0.1
        assert {"model", "format", "precision", "bytes", "sha256", "parity"} <= row.keys()
    for name in sorted(path.name for path in (folder / "bundle").iterdir()):
        copy = Path(shutil.copytree(folder / "bundle", tmp_path / f"changed-{name}"))
        target = copy / name
        content = bytearray(target.read_bytes())
        if name == "manifest.json":
            content = bytearray(content.replace(b'"serial": 1', b'"serial": 9'))
        elif name == "manifest.sig":
            content = bytearray(content.replace(b'"key": "', b'"key": "0'))
        else:
            content[len(content) // 2] ^= 1
        target.write_bytes(bytes(content))
        code, record = run(copy)
        assert code == 1, name
        failed = [row["gate"] for row in record["artefacts"]].count("fail")
        assert record["problems"] or failed, name


def test_a_second_run_takes_over_what_is_up_to_date(
    exported: tuple[Path, list[ExportRow]], subject_is: Callable[[ExportSubject], None]
) -> None:
    folder, first = exported
    subject_is(small_subject())
    out = folder / "bundle"
    options = options_of(folder / "data", precisions=("fp32", "int8"))
    again = run_export(folder / "small.safetensors", out, options)
    assert [row.seconds for row in again] == [0.0, 0.0]
    assert again[-1].artefact == first[-1].artefact
    bundle = load_bundle(out)
    assert bundle.manifest.serial == 2
    bundle.check_files()
    report = json.loads((out / "export.json").read_text())["artefacts"]
    assert all(row["taken_over"] and row["measured"]["seconds"] > 0 for row in report)
    assert (out / "export.html").read_text().count("data:image/png;base64,") == 2
    assert again[0].artefact is not None
    damaged = out / again[0].artefact.file
    damaged.write_bytes(b"damaged")
    mended = run_export(folder / "small.safetensors", out, options)
    assert mended[0].seconds > 0 and mended[1].seconds == 0
    load_bundle(out).check_files()


def test_a_failing_gate_leaves_the_old_bundle_and_nothing_else(
    checkpoint: Path, data: Path, tmp_path: Path, subject_is: Callable[[ExportSubject], None]
) -> None:
    out = tmp_path / "bundle"
    subject_is(small_subject())
    run_export(checkpoint, out, options_of(data, precisions=("fp32",)))
    before = load_bundle(out)
    empty = [np.full((1, SIDE, SIDE, 3), 200, np.uint8)] * 120
    subject_is(small_subject(calibration=lambda _: calibration_of(empty)))
    with pytest.raises(WithheldError, match="accuracy falls by") as caught:
        run_export(checkpoint, out, options_of(data, accuracy_control=False))
    assert caught.value.exit_code == 1 and "try without --one-recipe" in str(caught.value)
    assert load_bundle(out).digest == before.digest
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_passes_is_written_and_what_fails_is_told(
    checkpoint: Path, data: Path, tmp_path: Path, subject_is: Callable[[ExportSubject], None]
) -> None:
    subject_is(small_subject(gates=(FAILS_IN_INT8,)))
    out = tmp_path / "bundle"
    arguments = [str(checkpoint), "--fp32", "--int8", "--format", "onnx", "--calibration"]
    report = tmp_path / "report.json"
    done = CliRunner().invoke(
        export,
        [*arguments, str(data), "--one-recipe", "--out", str(out), "--json", str(report)],
        standalone_mode=False,
    )
    assert done.exception is None, done.output
    assert done.return_value == 1
    assert "1 of 2 done" in done.output and "small onnx fp32: passes its gate" in done.output
    assert "small onnx int8 fails its gate: int8: accuracy falls by " in done.output
    assert sorted(path.name for path in out.glob("*.onnx")) == ["small.fp32.onnx"]
    bundle = load_bundle(out)
    assert [a.precision for a in bundle.model("nucleated").artefacts] == ["fp32"]
    told = json.loads((out / "export.json").read_text())["artefacts"]
    assert [(row["precision"], row["gate"]) for row in told] == [("fp32", "pass"), ("int8", "fail")]
    assert told[1]["problem"].count("calibration") == 1, "one recipe was tried"
    assert "the gate is -0.1" in told[1]["problem"]
    assert "failed their gate" in (out / "export.html").read_text()
    rows = json.loads(report.read_text())["artefacts"]
    assert [row["gate"] for row in rows] == ["pass", "fail"]


def test_a_failed_gate_takes_nothing_from_an_older_bundle(
    checkpoint: Path, data: Path, tmp_path: Path, subject_is: Callable[[ExportSubject], None]
) -> None:
    subject_is(small_subject())
    out = tmp_path / "bundle"
    run_export(checkpoint, out, options_of(data, precisions=("fp32", "int8")))
    before = load_bundle(out).digest
    subject_is(small_subject(gates=(FAILS_IN_INT8,)))
    again = options_of(data, precisions=("fp32", "int8"), fresh=True, accuracy_control=False)
    with pytest.raises(WithheldError, match=r"stays what it was.* int8 fails its gate"):
        run_export(checkpoint, out, again)
    assert load_bundle(out).digest == before
    load_bundle(out).check_files()


def test_a_bundle_in_one_file_is_exported_opened_and_taken_over_from(
    checkpoint: Path, data: Path, tmp_path: Path, subject_is: Callable[[ExportSubject], None]
) -> None:
    subject_is(small_subject())
    out = tmp_path / "bundle.zip"
    options = options_of(data, precisions=("fp32",))
    run_export(checkpoint, out, options)
    assert out.is_file() and [p.name for p in tmp_path.iterdir() if p.name[0] == "."] == []
    done = CliRunner().invoke(verify_command, [str(out)], standalone_mode=False)
    assert done.exception is None and done.return_value == 0, done.output
    (again,) = run_export(checkpoint, out, options)
    assert again.seconds == 0 and load_bundle(out).manifest.serial == 2
    damaged = bytearray(out.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    out.write_bytes(damaged)
    with pytest.raises(BundleError):
        load_bundle(out).check_files()
    (tmp_path / "folder.zip").mkdir()
    with pytest.raises(UsageError, match="is not one file"):
        run_export(checkpoint, tmp_path / "folder.zip", options)


def test_a_converter_that_gives_up_is_one_line_of_one_artefact(
    checkpoint: Path,
    data: Path,
    tmp_path: Path,
    subject_is: Callable[[ExportSubject], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subject_is(small_subject())

    def broken(*_: object) -> bytes:
        raise RuntimeError("no such operator\nand much more")

    monkeypatch.setattr("edgehemo_export.quantisation.onnx_export.to_fp16", broken)
    options = options_of(data, precisions=("fp32", "fp16"))
    first, second = run_export(checkpoint, tmp_path / "bundle", options)
    assert first.gate == "pass" and second.gate == "fail"
    assert second.problem == "it could not be written (RuntimeError: no such operator)"


def test_a_precision_of_no_use_to_a_network_is_refused_before_any_work(
    checkpoint: Path, data: Path, tmp_path: Path, subject_is: Callable[[ExportSubject], None]
) -> None:
    subject_is(small_subject(precisions=("fp32",), why_not="its kernel"))
    with pytest.raises(UsageError, match=r"no int8 .*its kernel.* choose from --fp32"):
        run_export(checkpoint, tmp_path / "bundle", options_of(data))
    assert not (tmp_path / "bundle").exists()


def test_a_checkpoint_of_ours_with_other_weights_is_one_line(tmp_path: Path, data: Path) -> None:
    """Of a task this version knows, but not what it needs."""
    path = tmp_path / "odd.safetensors"
    save_checkpoint(path, Checkpoint("field_estimator", {"a": torch.zeros(1)}, {}))
    with pytest.raises(
        UsageError, match=r"odd\.safetensors: is not a whole checkpoint of field_est"
    ):
        run_export(path, tmp_path / "bundle", options_of(data))


def test_an_export_goes_on_until_the_gate_holds(
    checkpoint: Path, data: Path, tmp_path: Path, subject_is: Callable[[ExportSubject], None]
) -> None:
    net = SmallNet().eval()

    class HardToPlease(SmallHeldOut):
        """Content with PyTorch, which is asked first, and with the sixth artefact."""

        asked = 0

        def measure(self, runner: Runner) -> Figures:
            self.asked += 1
            return {"accuracy": 1.0 if self.asked in (1, 7) else 0.0}

    subject_is(small_subject(net=net, held_out=lambda _: HardToPlease(net)))
    out = tmp_path / "bundle"
    (row,) = run_export(checkpoint, out, options_of(data))
    assert row.artefact is not None
    kept = row.artefact.recipe["kept_in_float"]
    assert isinstance(kept, list) and set(kept) > {"head"}
    assert len([path for path in out.iterdir() if path.suffix == ".onnx"]) == 1


def test_a_small_head_stays_in_float_and_a_large_one_is_quantised() -> None:
    net = SmallNet()
    assert float_layers_of(net, ("body.0",)) == ("body.0", "head")
    study = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(400, 100))
    assert float_layers_of(study, ()) == ()
    assert float_layers_of(torch.nn.Conv2d(3, 4, 3), ("x",)) == ("x",)


def test_further_recipes_leave_more_and_more_in_float() -> None:
    made = [set(r.keep_float) for r in further_recipes(SmallNet(), ("minmax",), ("head",))]
    assert made[0] == {"body.0", "head"} and made[-1] >= {"body.2", "head"}
    assert all(recipe > {"head"} for recipe in made)


def test_too_few_samples_are_refused_and_few_are_warned_of(
    checkpoint: Path, data: Path, tmp_path: Path, subject_is: Callable[[ExportSubject], None]
) -> None:
    subject_is(small_subject(calibration=lambda _: calibration_of(crops(99))))
    with pytest.raises(UsageError, match="only 99 calibration samples, int8 needs at least 100"):
        run_export(checkpoint, tmp_path / "bundle", options_of(data))
    subject_is(small_subject())
    (row,) = run_export(checkpoint, tmp_path / "bundle", options_of(data))
    assert row.warnings == ("only 120 calibration samples; 300 are better",)


def test_a_calibration_that_shares_a_picture_with_the_evaluation_is_refused(
    checkpoint: Path,
    data: Path,
    tmp_path: Path,
    subject_is: Callable[[ExportSubject], None],
    write_image: Callable[..., Path],
) -> None:
    rng = np.random.default_rng(1)
    coarse = rng.integers(20, 230, (12, 16, 3)).astype(np.uint8)
    picture = cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_CUBIC)
    other = cv2.resize(coarse[::-1], (320, 240), interpolation=cv2.INTER_CUBIC)
    ours = write_image(tmp_path / "a.png", picture)
    stored_anew = write_image(tmp_path / "b.jpg", cv2.resize(picture, (256, 192)))
    unlike = write_image(tmp_path / "c.png", other)
    assert shared_pictures([ours], [unlike, stored_anew]) == [stored_anew]
    net = SmallNet().eval()
    subject_is(
        small_subject(
            calibration=lambda _: calibration_of(crops(120), [ours]),
            held_out=lambda _: SmallHeldOut(net, [stored_anew]),
        )
    )
    with pytest.raises(UsageError, match=r"b\.jpg is in the calibration and in the evaluation"):
        run_export(checkpoint, tmp_path / "bundle", options_of(data))
    assert not (tmp_path / "bundle").exists()


def test_a_full_disk_half_way_leaves_no_half_bundle(
    checkpoint: Path,
    data: Path,
    tmp_path: Path,
    subject_is: Callable[[ExportSubject], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subject_is(small_subject())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model_export, "write_bytes_atomically", full)
    with pytest.raises(UsageError, match=r"bundle: cannot be written .No space"):
        run_export(checkpoint, tmp_path / "bundle", options_of(data, precisions=("fp32",)))
    assert not (tmp_path / "bundle").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_file_size_limit_half_way_leaves_no_half_bundle(
    checkpoint: Path, data: Path, tmp_path: Path, subject_is: Callable[[ExportSubject], None]
) -> None:
    """The system itself stops the writing, as a full disk does."""
    import resource

    subject_is(small_subject())
    out = tmp_path / "bundle"
    run_export(checkpoint, out, options_of(data, precisions=("fp32",)))
    before = load_bundle(out).digest
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises((UsageError, WithheldError)):
            run_export(checkpoint, out, options_of(data, fresh=True))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert load_bundle(out).digest == before
    load_bundle(out).check_files()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_one_model_a_task_and_no_folder_that_is_no_bundle(
    checkpoint: Path, data: Path, tmp_path: Path, subject_is: Callable[[ExportSubject], None]
) -> None:
    subject_is(small_subject())
    twin = trained(checkpoint)
    with pytest.raises(UsageError, match=r"/other\.safetensors are both nucleated.* a task$"):
        export_bundle(
            [twin, dataclasses.replace(twin, path=tmp_path / "other.safetensors")],
            tmp_path / "b",
            options_of(data),
            signer=None,
            say=lambda _: None,
        )
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not a bundle"):
        run_export(checkpoint, tmp_path / "full", options_of(data))


def test_int8_without_calibration_is_an_error(checkpoint: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        export, [str(checkpoint), "--int8", "--out", str(tmp_path / "b")], standalone_mode=False
    )
    assert isinstance(done.exception, UsageError) and "--calibration" in str(done.exception)


# Parity


def test_differences_are_relative_above_one_and_infinite_for_no_number() -> None:
    wanted = [np.array([[0.5, 200.0]], np.float32)]
    got = [np.array([[0.6, 202.0]], np.float32)]
    figures = differences(wanted, got)
    assert figures["largest_difference"] == pytest.approx(0.1)
    assert figures["mean_difference"] == pytest.approx((0.1 + 0.01) / 2)
    nothing = [np.array([[np.nan, 200.0]], np.float32)]
    assert differences(wanted, nothing)["largest_difference"] == float("inf")
    assert differences(wanted, [np.zeros((1, 3), np.float32)])["largest_difference"] == float("inf")


def test_a_clipped_output_is_found_beyond_the_calibrated_range() -> None:
    """Answers of 1 to 3 were calibrated; a graph that stops at 3.2 is clipped, one at 5.9 not."""
    codes = crops(3)
    reference = Reference(
        spec=None,
        inputs=tuple(codes),
        answers=tuple(np.array([[v, 0.0]], np.float32) for v in (1.0, 2.0, 3.0)),
        figures={},
        beyond=tuple(codes[:1]),
        beyond_answers=(np.array([[6.0, 9.0]], np.float32),),
    )

    def answering(value: float) -> Any:
        return SimpleNamespace(
            name="fake", version="0", run=lambda _: np.array([[value, 0.0]], np.float32)
        )

    (gate,) = (gate for gate in TASK_GATES["field_estimator"] if gate.figure == FOLLOWED)
    share = followed_beyond(reference, answering(3.2), outputs=1)
    problem = gate.problem({}, {FOLLOWED: share})
    assert share == pytest.approx(0.2 / 3) and problem is not None and "clipped" in problem
    assert followed_beyond(reference, answering(2.0), outputs=1) == 0.0
    passing = followed_beyond(reference, answering(5.9), outputs=1)
    assert gate.problem({}, {FOLLOWED: passing}) is None


def test_a_head_quantised_on_too_narrow_a_range_is_clipped_and_one_in_float_is_not() -> None:
    """The gate meets a real int8 graph: a regression on dark pictures, calibrated on pale ones."""
    from edgehemo_export.nets.torch_runner import TorchRunner

    class Regression(SmallNet):
        def forward(self, codes: Any) -> Any:
            x = 1.0 - codes.permute(0, 3, 1, 2).to(torch.float32) / 200.0
            return 10 * self.head(torch.relu(self.body(x)).mean(dim=(2, 3)))

    net = Regression().eval()
    pale = [stained(codes, 0.3) for codes in crops(40, seed=1)]
    dark = [stained(codes, 3.0) for codes in crops(6, seed=2)]
    runner = TorchRunner(net)
    reference = Reference(
        None,
        tuple(pale),
        tuple(runner.run(codes) for codes in pale),
        {},
        tuple(dark),
        tuple(runner.run(codes) for codes in dark),
    )
    model = export_fp32(net, pale[0], multiple_of_px=None)
    import onnxruntime

    def share(data: bytes) -> float:
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        opened = SimpleNamespace(
            name="x", version="0", run=lambda codes: session.run(None, {"codes": codes})[0]
        )
        return followed_beyond(reference, opened, outputs=3)

    assert share(quantise_int8(model, pale)) < 0.5
    assert share(model) > 0.99


def test_a_fixed_size_is_covered_by_tiles_as_the_device_does() -> None:
    spec = InputSpec(
        height_px=192,
        width_px=192,
        multiple_of_px=16,
        um_per_px=0.25,
        code_of_transmittance_1=200.0,
    )

    def run(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert codes.shape == (1, 192, 192, 3)
        return codes[:, ::4, ::4, :1].astype(np.float32)

    tiled = TiledRunner(SimpleNamespace(name="x", version="0", run=run), spec)
    for height, width in ((160, 320), (64, 64), (400, 272)):
        picture = np.random.default_rng(0).integers(0, 256, (1, height, width, 3)).astype(np.uint8)
        assert np.array_equal(tiled.run(picture), picture[:, ::4, ::4, :1].astype(np.float32))


# The graph against the manifest


def test_a_graph_that_is_not_what_the_manifest_says_is_refused(
    exported: tuple[Path, list[ExportRow]],
) -> None:
    bundle: Bundle = load_bundle(exported[0] / "bundle")
    entry = bundle.model("nucleated")
    artefact, runner = open_model(bundle, "nucleated", threads=1, runtime="onnx")
    check_graph(runner, entry, artefact)
    narrow = entry.input.model_copy(update={"height_px": 16})
    with pytest.raises(BundleError, match="the manifest says uint8"):
        check_graph(runner, entry.model_copy(update={"input": narrow}), artefact)
    free = entry.input.model_copy(update={"height_px": None, "width_px": None})
    with pytest.raises(BundleError, match="the manifest says uint8"):
        check_graph(runner, entry.model_copy(update={"input": free}), artefact)
    with pytest.raises(BundleError, match="4 values in the last dimension"):
        check_graph(runner, entry.model_copy(update={"classes": [*CLASSES, "four"]}), artefact)


# Calibration sets


def test_a_manifest_lists_images(tmp_path: Path, write_image: Callable[..., Path]) -> None:
    image = write_image(tmp_path / "pictures" / "a.png", crops(1)[0][0])
    text = tmp_path / "list.txt"
    text.write_text("# ours\npictures/a.png\n\n")
    assert manifest_files(text) == [image]
    table = tmp_path / "list.csv"
    table.write_text("image,slide\npictures/a.png,1\n")
    assert manifest_files(table) == [image]
    table.write_text("picture\nx\n")
    with pytest.raises(UsageError, match="no column `image`"):
        manifest_files(table)
    text.write_text("gone.png\n")
    with pytest.raises(UsageError, match="does not exist"):
        manifest_files(text)
    text.write_text("\n")
    with pytest.raises(UsageError, match="lists no image"):
        manifest_files(text)
    with pytest.raises(UsageError, match="takes a folder of images, a data root, or a manifest"):
        read_calibration_set(tmp_path / "list.pdf")


def test_black_pictures_calibrate_nothing(tmp_path: Path, write_image: Callable[..., Path]) -> None:
    for number in range(30):
        write_image(tmp_path / f"{number}.png", np.zeros((240, 320, 3), np.uint8))
    with pytest.raises(UsageError, match="only 0 calibration samples"):
        read_calibration_set(tmp_path)


@pytest.mark.real
def test_too_small_a_calibration_set_is_refused(data_root: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted((data_root / "bccd" / "images").iterdir())[:5]:
        (few / path.name).symlink_to(path)
    with pytest.raises(UsageError, match="needs at least 100"):
        read_calibration_set(few)
