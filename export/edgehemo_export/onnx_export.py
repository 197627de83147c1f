"""PyTorch to ONNX, and ONNX to static int8, each reopened and compared before it counts.

int8 is QDQ with unsigned activations and signed per-channel weights: signed activations run
almost three times slower on x86 (measured for this project: 12.6 against 4.7 ms for ResNet18).
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edgehemo.errors import UsageError, WithheldError

# ONNX opset: lower ones are silently raised to this by the exporter.
OPSET = 18
INPUT_NAME = "codes"
OUTPUT_NAME = "maps"
# fp32 must follow PyTorch this closely, in the units of the output.
FP32_GATE = 1e-3


def export_fp32(
    net: torch.nn.Module, example: NDArray[np.uint8], *, multiple_of_px: int | None
) -> bytes:
    """An ONNX model of ``net`` in fp32.

    example: uint8 (1, height, width, 3). With ``multiple_of_px`` height and width stay free, in
    steps of it. Raises WithheldError when the graph does not follow PyTorch within `FP32_GATE`
    on the example.
    """
    tensor = torch.from_numpy(example)
    shapes = None
    if multiple_of_px is not None:
        rows = torch.export.Dim("rows", min=2, max=128)
        columns = torch.export.Dim("columns", min=2, max=128)
        shapes = ({1: multiple_of_px * rows, 2: multiple_of_px * columns},)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "model.onnx"
        exporter_log = logging.getLogger("torch.onnx")
        level = exporter_log.level
        exporter_log.setLevel(logging.ERROR)
        try:
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
        finally:
            exporter_log.setLevel(level)
        data = path.read_bytes()
    worst = largest_difference(net, data, [example])
    if worst > FP32_GATE:
        raise WithheldError(
            f"fp32 ONNX differs from PyTorch by {worst:.2e}, the gate is {FP32_GATE:.0e}"
        )
    return data


def largest_difference(
    net: torch.nn.Module, model: bytes, inputs: Iterable[NDArray[np.uint8]]
) -> float:
    """Largest absolute difference between PyTorch and an ONNX model over inputs."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    worst = 0.0
    with torch.inference_mode():
        for codes in inputs:
            wanted = net(torch.from_numpy(codes)).numpy()
            (got,) = session.run(None, {INPUT_NAME: codes})
            worst = max(worst, float(np.abs(np.asarray(got) - wanted).max()))
    return worst


def quantise_int8(
    model: bytes,
    calibration: Iterable[NDArray[np.uint8]],
    *,
    calibrator: str = "minmax",
    keep_float: tuple[str, ...] = (),
) -> bytes:
    """Static int8 QDQ of an fp32 ONNX model.

    calibration: batches uint8 (1, h, w, 3), canonical codes by the device's own function.
    calibrator: minmax, entropy or percentile. keep_float: substrings of node names left in float.
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    if calibrator not in methods:
        raise UsageError(f"unknown calibrator {calibrator}; it is one of {', '.join(methods)}")

    class Reader:
        def __init__(self) -> None:
            self._batches: Iterator[NDArray[np.uint8]] = iter(calibration)

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            batch = next(self._batches, None)
            return None if batch is None else {INPUT_NAME: batch}

    with tempfile.TemporaryDirectory() as folder:
        source, prepared, target = (Path(folder) / name for name in ("a.onnx", "b.onnx", "c.onnx"))
        source.write_bytes(model)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        nodes = [node.name for node in onnx.load(prepared).graph.node]
        excluded = [name for name in nodes if any(part in name for part in keep_float)]
        root = logging.getLogger()
        level = root.level
        root.setLevel(logging.ERROR)  # the quantiser advises on every call
        try:
            quantize_static(
                prepared,
                target,
                Reader(),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                calibrate_method=methods[calibrator],
                nodes_to_exclude=excluded,
                op_types_to_quantize=["Conv", "Add", "MaxPool", "Gemm", "MatMul", "Resize"],
                extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
            )
        finally:
            root.setLevel(level)
        return target.read_bytes()
