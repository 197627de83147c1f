"""Each format's writer: its artefact answers as PyTorch does, in a process of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgehemo.inference.worker import WorkerRunner

pytestmark = pytest.mark.host
pytest.importorskip("torch", reason='needs pip install "edgehemo[host]"')
pytest.importorskip("onnx", reason='needs pip install "edgehemo[host]"')

import torch

from edgehemo_export.quantisation.formats import FORMATS, chosen_formats
from edgehemo_export.quantisation.graph import Graph
from edgehemo_export.quantisation.int8_recipes import Int8Recipe, first_recipes
from edgehemo_export.quantisation.writers import writer_for
from tests.support.small_export import CLASSES, SmallNet, crops, small_onnx


@pytest.fixture
def traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_onnx()
    monkeypatch.setattr(
        "edgehemo_export.quantisation.onnx_export.export_fp32", lambda *_, **__: model
    )


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
