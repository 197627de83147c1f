"""PyTorch to ONNX: fp32, half-precision weights, static int8.

int8 is QDQ with unsigned activations and signed per-channel weights: signed activations run
almost three times slower on x86 (measured for this project: 12.6 against 4.7 ms for ResNet18).
The input's normalisation is folded into the quantisation of the first convolution's input, so that
the codes reach it untouched; and the graph is stored as ONNX Runtime's portable optimisations leave
it, which halves the time it takes to open.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgehemo.errors import UsageError
from edgehemo_export.quantisation.onnx_folding import fold_normalisation, join_input

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

# ONNX opset: lower ones are silently raised to this by the exporter.
OPSET = 18
INPUT_NAME = "codes"
OUTPUT_NAME = "maps"
CALIBRATORS = ("minmax", "percentile", "entropy")
# What is quantised. Relu and Clip (ReLU6) are named so that the quantiser merges them into the
# convolution before them; without it every activation would be unpacked to float and packed again.
QUANTISED_OPERATORS = (
    "Conv",
    "Relu",
    "Clip",
    "Add",
    "Concat",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "Gemm",
    "MatMul",
    "Resize",
    "Transpose",
    "Reshape",
    "Flatten",
)
# Operators that carry most of the arithmetic; what no such one follows is postprocessing.
HEAVY_OPERATORS = ("Conv", "Gemm", "MatMul", "ConvTranspose")
# Histogram calibrators keep every activation of this many samples in memory at a time.
SAMPLES_AT_A_TIME = 8
# They need the bulk of the values, not the extremes, and take some ten times as long: of the
# samples they see this many, evenly.
HISTOGRAM_SAMPLES = 96
# Only weights of this many values or more are worth halving.
HALVED_FROM_VALUES = 256


def export_fp32(
    net: torch.nn.Module, example: NDArray[np.uint8], *, multiple_of_px: int | None
) -> bytes:
    """An ONNX model of ``net`` in fp32.

    example: uint8 (1, height, width, 3). With ``multiple_of_px`` height and width stay free, in
    steps of it; else the number of samples does.
    """
    tensor = torch.from_numpy(example)
    if multiple_of_px is None:
        # Traced with two samples: the tracer takes one for a constant.
        tensor = tensor.expand(2, -1, -1, -1).contiguous()
        shapes = ({0: torch.export.Dim("samples", min=1, max=4096)},)
    else:
        rows = torch.export.Dim("rows", min=2, max=128)
        columns = torch.export.Dim("columns", min=2, max=128)
        shapes = ({1: multiple_of_px * rows, 2: multiple_of_px * columns},)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "model.onnx"
        with _quiet("torch.onnx"):
            torch.onnx.export(
                net.eval(),
                (tensor,),
                path,
                dynamo=True,
                opset_version=OPSET,
                external_data=False,
                input_names=[INPUT_NAME],
                output_names=[OUTPUT_NAME],
                dynamic_shapes=shapes,
                verbose=False,
            )
        return path.read_bytes()


def to_fp16(model: bytes) -> bytes:
    """The model with its weights stored in half precision, half as large.

    The arithmetic stays float32: ONNX Runtime has no half-precision convolution on most boards and
    would convert around every one of them. The weights are widened once, when the model is opened.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph_model = onnx.load_from_string(model)
    graph = graph_model.graph
    widened: list[NodeProto] = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < HALVED_FROM_VALUES:
            continue
        name = tensor.name
        half = numpy_helper.from_array(values.astype(np.float16), f"{name}.half")
        tensor.CopyFrom(half)
        widened.append(helper.make_node("Cast", [half.name], [name], to=TensorProto.FLOAT))
    kept = list(graph.node)
    del graph.node[:]
    graph.node.extend([*widened, *kept])
    out: bytes = graph_model.SerializeToString()
    return out


def quantise_int8(
    model: bytes,
    calibration: Iterable[NDArray[np.uint8]],
    *,
    calibrator: str = "minmax",
    keep_float: tuple[str, ...] = (),
) -> bytes:
    """Static int8 of an fp32 ONNX model of `export_fp32`.

    calibration: batches uint8 (1, h, w, 3), canonical codes by the device's own function, all of
    one size. calibrator: one of `CALIBRATORS`. keep_float: names of modules of the network (as in
    its ``named_modules``), or of ONNX operators, left in float.
    """
    import onnx
    import onnxruntime
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    onnxruntime.set_default_logger_severity(3)  # it warns of what its own steps leave behind
    if calibrator not in CALIBRATORS:
        raise UsageError(f"unknown calibrator {calibrator}; it is one of {', '.join(CALIBRATORS)}")
    with tempfile.TemporaryDirectory() as folder, _quiet(None):
        source, prepared, ranges, target = (
            Path(folder) / name for name in ("a.onnx", "b.onnx", "ranges.json", "c.onnx")
        )
        source.write_bytes(model)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        loaded = onnx.load(prepared)
        folded = fold_normalisation(loaded)
        onnx.save(loaded, prepared)
        excluded = nodes_of(loaded.graph, keep_float)
        excluded += _postprocessing(loaded.graph, excluded)
        _measure_ranges(prepared, ranges, calibration, calibrator)
        overrides = {
            entry.tensor: [
                {
                    "quant_type": QuantType.QUInt8,
                    "scale": np.array(entry.scale, np.float32),
                    "zero_point": np.array(entry.zero_point, np.uint8),
                }
            ]
            for entry in folded
        }
        quantize_static(
            prepared,
            target,
            None,
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            calibrate_method=_methods()[calibrator],
            nodes_to_exclude=excluded,
            op_types_to_quantize=list(QUANTISED_OPERATORS),
            extra_options={
                "ActivationSymmetric": False,
                "WeightSymmetric": True,
                "TensorQuantOverrides": overrides,
            },
            calibration_cache_path=ranges,
        )
        quantised = onnx.load(target)
        for entry in folded:
            join_input(quantised.graph, entry.tensor)
        return _with_own_weights(optimised(quantised.SerializeToString()))


def _with_own_weights(model: bytes) -> bytes:
    """The model with signed weights (and their zero points) of which each serves one node.

    ONNX Runtime makes them unsigned on x86 without VNNI and fails where two nodes share them.
    """
    import onnx
    from onnx import TensorProto

    loaded = onnx.load_from_string(model)
    graph = loaded.graph
    signed = {item.name: item for item in graph.initializer if item.data_type == TensorProto.INT8}
    used: set[str] = set()
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in used:
                own = TensorProto()
                own.CopyFrom(signed[name])
                own.name = f"{name}.of.{node.name or node.output[0]}"
                graph.initializer.append(own)
                node.input[index] = own.name
            elif name in signed:
                used.add(name)
    out: bytes = loaded.SerializeToString()
    return out


def optimised(model: bytes, *, standard: bool = False) -> bytes:
    """The model as ONNX Runtime's optimisations of the extended level leave it.

    Those are the portable ones; layouts that suit one processor are left to the device. Weights
    stay signed, which some x86 processors would rather have otherwise: the runtime sees to it.
    standard: only those of the basic level, which leave standard ONNX operators.
    """
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "optimised.onnx"
        options = onnxruntime.SessionOptions()
        level = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = (
            level.ORT_ENABLE_BASIC if standard else level.ORT_ENABLE_EXTENDED
        )
        options.optimized_model_filepath = str(target)
        options.log_severity_level = 3
        onnxruntime.set_default_logger_severity(3)
        onnxruntime.InferenceSession(
            model,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["Avx2WeightS8ToU8Transformer"],
        )
        return target.read_bytes()


def nodes_of(graph: GraphProto, names: Sequence[str]) -> list[str]:
    """ONNX nodes that belong to modules of these names, or are named or typed so."""
    out = []
    for node in graph.node:
        scopes = next(
            (p.value for p in node.metadata_props if p.key == "pkg.torch.onnx.name_scopes"), "[]"
        )
        inside = {part.strip(" '\"[]") for part in scopes.split(",")}
        weights = {name.rpartition(".")[0] for name in node.input}
        for name in names:
            within = any(
                item == name or item.startswith(f"{name}.") for item in inside | weights if item
            )
            if within or node.op_type == name or node.name == name:
                out.append(node.name)
                break
    return out


def _postprocessing(graph: GraphProto, excluded: Sequence[str]) -> list[str]:
    """Nodes that no quantised convolution or matrix product follows.

    They stay in float: a probability in 256 steps would be all that a device gets. What merges
    into the convolution before it (Relu) or joins two branches (Add) is no postprocessing.
    """
    constants = {tensor.name for tensor in graph.initializer}
    followed: set[str] = set()  # tensors that reach a heavy operator
    out = []
    for node in reversed(graph.node):
        heavy = node.op_type in HEAVY_OPERATORS and node.name not in excluded
        if heavy or any(name in followed for name in node.output):
            followed.update(node.input)
            continue
        joins = node.op_type == "Add" and not any(name in constants for name in node.input)
        if node.op_type != "Relu" and not joins:
            out.append(node.name)
    return out


def _methods() -> dict[str, Any]:
    from onnxruntime.quantization import CalibrationMethod

    return {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }


def _measure_ranges(
    model: Path, ranges: Path, calibration: Iterable[NDArray[np.uint8]], calibrator: str
) -> None:
    """Run the calibration samples and store the range of every activation as JSON.

    In portions: the histogram calibrators otherwise keep all activations of all samples at once.
    """
    from onnxruntime.quantization.calibrate import create_calibrator, save_tensors_data

    class Reader:
        def __init__(self, batches: Iterable[NDArray[np.uint8]]) -> None:
            self._batches = iter(batches)

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            batch = next(self._batches, None)
            return None if batch is None else {INPUT_NAME: batch}

    with redirect_stdout(StringIO()):  # the histogram calibrators print as they go
        measuring = create_calibrator(
            model,
            list(QUANTISED_OPERATORS),
            augmented_model_path=str(ranges.with_suffix(".augmented.onnx")),
            calibrate_method=_methods()[calibrator],
        )
        samples = list(calibration)
        if calibrator != "minmax" and len(samples) > HISTOGRAM_SAMPLES:
            chosen = np.linspace(0, len(samples) - 1, HISTOGRAM_SAMPLES).astype(int)
            samples = [samples[int(i)] for i in chosen]
        batches = iter(samples)
        while portion := list(islice(batches, SAMPLES_AT_A_TIME)):
            measuring.collect_data(Reader(portion))
        save_tensors_data(measuring.compute_data(), ranges)


class _quiet:  # noqa: N801
    """Silences a logger (None: the root's) while libraries that advise on every call run."""

    def __init__(self, name: str | None) -> None:
        self._log = logging.getLogger(name)

    def __enter__(self) -> None:
        self._level = self._log.level
        self._log.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        self._log.setLevel(self._level)
