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
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgehemo.errors import UsageError
from edgehemo.inference.onnx import OnnxRunner

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

# ONNX opset: lower ones are silently raised to this by the exporter.
OPSET = 18
INPUT_NAME = "codes"
OUTPUT_NAME = "maps"
CALIBRATORS = ("minmax", "percentile", "entropy")
# What is quantised. Relu is named so that the quantiser merges it into the convolution before it;
# without it every activation would be unpacked to float and packed again.
QUANTISED_OPERATORS = (
    "Conv",
    "Relu",
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
# A zero point this near to a whole code is one: x = scale * (code - zero point) then holds exactly.
WHOLE_CODE_TOLERANCE = 1e-3


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


def largest_difference(
    net: torch.nn.Module, model: bytes, inputs: Iterable[NDArray[np.uint8]]
) -> float:
    """Largest absolute difference over inputs between PyTorch and an ONNX model, run as a device
    runs it."""
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        path = Path(folder) / "model.onnx"
        path.write_bytes(model)
        runner = OnnxRunner(path, threads=1)
        for codes in inputs:
            wanted = net(torch.from_numpy(codes)).numpy()
            worst = max(worst, float(np.abs(runner.run(codes) - wanted).max()))
    return worst


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
            _join_input(quantised.graph, entry.tensor)
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


@dataclass(frozen=True)
class FoldedInput:
    """tensor = scale * (code - zero_point), float, what a first convolution takes."""

    tensor: str
    scale: float
    zero_point: int


def fold_normalisation(model: ModelProto) -> list[FoldedInput]:
    """Replace the arithmetic between the input codes and the first convolutions, in place.

    The chain of Cast, Sub, Mul, ... before each becomes one DequantizeLinear over the codes, moved
    (transposed, mirrored) as they are. Where all channels share one scale and a whole code is the
    zero, this is exact, padding included, since the zero point pads. Else scales and offsets per
    channel go into the convolution's weights and bias, which is exact but for the border, where
    padding then stands for a slightly different code. A convolution with anything else before it
    is left as it is.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    made: list[NodeProto] = []
    folded: dict[str, FoldedInput] = {}
    for entry in _entries(graph):
        values = _quantised_entry(graph, entry)
        if values is None:
            continue
        scale, point = values
        name = entry.conv.name or entry.conv.output[0]
        tensor = f"{name}.codes"
        if tensor in folded:
            continue
        codes = entry.codes
        for step, node in enumerate(entry.moves):
            moved = f"{tensor}.moved{step}"
            copied = helper.make_node(
                node.op_type, [codes, *node.input[1:]], [moved], name=f"{moved}.node"
            )
            copied.attribute.extend(node.attribute)
            made.append(copied)
            codes = moved
        graph.initializer.extend(
            [
                numpy_helper.from_array(np.array(scale, np.float32), f"{tensor}.scale"),
                numpy_helper.from_array(np.array(point, np.uint8), f"{tensor}.zero_point"),
            ]
        )
        made.append(
            helper.make_node(
                "DequantizeLinear",
                [codes, f"{tensor}.scale", f"{tensor}.zero_point"],
                [tensor],
                name=f"{tensor}.node",
            )
        )
        entry.conv.input[0] = tensor
        folded[tensor] = FoldedInput(tensor, scale, point)
    kept = list(graph.node)
    del graph.node[:]
    graph.node.extend([*made, *kept])
    _drop_unused(graph)
    return list(folded.values())


@dataclass(frozen=True)
class _Entry:
    """A convolution that takes scale * code + offset (per channel) of codes moved so.

    codes: the uint8 tensor that the moves begin with.
    """

    codes: str
    conv: NodeProto
    scale: NDArray[np.float64]
    offset: NDArray[np.float64]
    moves: tuple[NodeProto, ...]


def _entries(graph: GraphProto) -> list[_Entry]:
    """Every convolution that the codes reach through elementwise constants and moves alone."""
    found: list[_Entry] = []
    nodes = list(graph.node)
    begun = ""

    def follow(
        tensor: str,
        scale: NDArray[np.float64],
        offset: NDArray[np.float64],
        moves: tuple[NodeProto, ...],
    ) -> None:
        for node in nodes:
            if not len(node.input) or (node.input[0] != tensor and tensor not in node.input):
                continue
            channels_last = not any(move.op_type == "Transpose" for move in moves)
            first = node.input[0] == tensor
            output = node.output[0]
            if node.op_type == "Conv" and first and not channels_last:
                found.append(_Entry(begun, node, scale, offset, moves))
            elif node.op_type in ("Cast", "Identity"):
                follow(output, scale, offset, moves)
            elif node.op_type == "Slice" and first and _mirrors(graph, node):
                follow(output, scale, offset, (*moves, node))
            elif node.op_type == "Transpose" and channels_last:
                if [i for a in node.attribute if a.name == "perm" for i in a.ints] == [0, 3, 1, 2]:
                    follow(output, scale, offset, (*moves, node))
            elif node.op_type in ("Add", "Sub", "Mul", "Div"):
                value = _per_channel(graph, node, tensor, channels_last=channels_last)
                if value is None:
                    continue
                if node.op_type == "Mul":
                    follow(output, scale * value, offset * value, moves)
                elif node.op_type == "Add":
                    follow(output, scale, offset + value, moves)
                elif first and node.op_type == "Sub":
                    follow(output, scale, offset - value, moves)
                elif first:
                    follow(output, scale / value, offset / value, moves)

    for begun in (graph.input[0].name, *_stacked_codes(graph)):
        follow(begun, np.ones(3), np.zeros(3), ())
    return found


def _stacked_codes(graph: GraphProto) -> list[str]:
    """What stacks the codes and mirror images of them as samples: codes still."""
    views = {graph.input[0].name}
    out = []
    for node in graph.node:
        if node.op_type == "Slice" and node.input[0] in views and _mirrors(graph, node):
            views.add(node.output[0])
        axis = next((a.i for a in node.attribute if a.name == "axis"), None)
        if node.op_type == "Concat" and axis == 0 and set(node.input) <= views:
            out.append(node.output[0])
    return out


def _mirrors(graph: GraphProto, node: NodeProto) -> bool:
    """Whether a Slice turns its picture round and drops nothing."""
    from onnx import numpy_helper

    if len(node.input) < 5:
        return False
    stored = [_initializer(graph, name) for name in (node.input[1], node.input[4])]
    if any(tensor is None for tensor in stored):
        return False
    starts, steps = (numpy_helper.to_array(tensor) for tensor in stored)
    return bool((steps == -1).all() and (starts == -1).all())


def _quantised_entry(graph: GraphProto, entry: _Entry) -> tuple[float, int] | None:
    """Scale and zero point of an entry's codes; weights and bias adapted where channels differ."""
    from onnx import numpy_helper

    scale, offset, conv = entry.scale, entry.offset, entry.conv
    if (scale <= 0).any():
        return None
    zero = -offset / scale
    point = round(float(zero.mean()))
    if not 0 <= point <= 255:
        return None
    common = float(scale.mean())
    even = np.ptp(scale) <= 1e-6 * common and np.ptp(zero) <= WHOLE_CODE_TOLERANCE
    if even and abs(float(zero.mean()) - point) <= WHOLE_CODE_TOLERANCE:
        return common, point
    weights = _initializer(graph, conv.input[1])
    bias = _initializer(graph, conv.input[2]) if len(conv.input) > 2 else None
    grouped = any(a.name == "group" and a.i != 1 for a in conv.attribute)
    if weights is None or grouped or (len(conv.input) > 2 and bias is None):
        return None
    values = numpy_helper.to_array(weights).astype(np.float64)
    extra = (values * (scale * point + offset)[None, :, None, None]).sum(axis=(1, 2, 3))
    base = np.zeros(len(values)) if bias is None else numpy_helper.to_array(bias).astype(np.float64)
    scaled = values * (scale / common)[None, :, None, None]
    stem = conv.name or conv.output[0]
    graph.initializer.extend(
        [
            numpy_helper.from_array(scaled.astype(np.float32), f"{stem}.folded.weight"),
            numpy_helper.from_array((base + extra).astype(np.float32), f"{stem}.folded.bias"),
        ]
    )
    inputs = [conv.input[0], f"{stem}.folded.weight", f"{stem}.folded.bias"]
    del conv.input[:]
    conv.input.extend(inputs)
    return common, point


def _drop_unused(graph: GraphProto) -> None:
    """Remove nodes and constants that nothing reads any more."""
    while True:
        read = {name for node in graph.node for name in node.input}
        read |= {output.name for output in graph.output}
        dead = [node for node in graph.node if not any(name in read for name in node.output)]
        if not dead:
            break
        for node in dead:
            graph.node.remove(node)
    constants = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(constants)


def _per_channel(
    graph: GraphProto, node: NodeProto, tensor: str, *, channels_last: bool
) -> NDArray[np.float64] | None:
    """The constant operand beside ``tensor`` as (3,); None where it is not constant a channel."""
    from onnx import numpy_helper

    other = node.input[1] if node.input[0] == tensor else node.input[0]
    stored = _initializer(graph, other)
    if stored is None:
        return None
    value = numpy_helper.to_array(stored).astype(np.float64)
    if value.size == 1:
        return np.full(3, value.item())
    shape = (1,) * (4 - value.ndim) + value.shape if value.ndim <= 4 else ()
    return value.reshape(3) if shape == ((1, 1, 1, 3) if channels_last else (1, 3, 1, 1)) else None


def _initializer(graph: GraphProto, name: str) -> Any:
    return next((tensor for tensor in graph.initializer if tensor.name == name), None)


def _join_input(graph: GraphProto, tensor: str) -> None:
    """Drop the pair that packs the dequantised codes again, with the same scale and zero point."""
    before = next(node for node in graph.node if node.output[0] == tensor)
    packed = [n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] == tensor]
    for packing in packed:
        for unpacking in [n for n in graph.node if packing.output[0] in n.input]:
            for node in graph.node:
                for index, name in enumerate(node.input):
                    if name == unpacking.output[0]:
                        node.input[index] = before.output[0]
            graph.node.remove(unpacking)
        graph.node.remove(packing)


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
