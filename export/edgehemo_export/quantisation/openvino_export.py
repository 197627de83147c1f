"""ONNX to OpenVINO: fp32, half-precision weights, int8 by NNCF.

OpenVINO reads the ONNX form of the network, so that there is one conversion from PyTorch to keep
right. The runtime must compute in f32 around int8 layers: see `edgehemo.inference.openvino`.

What is read from ONNX works out at run time how each convolution's bias is shaped, where the number
of samples is free. Every such constant is worked out here, once: OpenVINO 2026.4 merges a bias that
is none into the quantisation after it and gives all channels that of the first (ResNet18: the
output of the first convolution off by 0.47 in the mean, of 0.42), on any processor; and NNCF sees
no bias in it.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import Precision
from edgehemo.errors import UsageError
from edgehemo_export.quantisation.graph import Files, Graph
from edgehemo_export.quantisation.int8_recipes import Int8Recipe
from edgehemo_export.quantisation.onnx_folding import FoldedInput, fold_normalisation

if TYPE_CHECKING:
    from onnx import GraphProto

# Steps of a quantised activation.
ACTIVATION_LEVELS = 256
# NNCF's names of how ranges are drawn.
RANGE_ESTIMATORS = {
    "minmax": "MINMAX",
    "mean_minmax": "MEAN_MINMAX",
    "mean_quantile": "MEAN_QUANTILE",
}


class OpenVinoWriter:
    """See `edgehemo_export.quantisation.writers.ArtefactWriter`."""

    fixed_height_px = fixed_width_px = None

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def plain(self, precision: Precision) -> Files:
        return _stored(read_onnx(self._graph.onnx), half=precision == "fp16")

    def int8(self, batches: Sequence[NDArray[np.uint8]], recipe: Int8Recipe) -> Files:
        nncf = _quiet_nncf()
        import onnx
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet

        if recipe.calibrator not in RANGE_ESTIMATORS:
            raise UsageError(f"unknown calibrator {recipe.calibrator}")
        source = onnx.load_from_string(self._graph.onnx)
        inputs = fold_normalisation(source)
        model = read_onnx(source.SerializeToString())
        estimator = getattr(RangeEstimatorParametersSet, RANGE_ESTIMATORS[recipe.calibrator])
        advanced = nncf.AdvancedQuantizationParameters(
            activations_range_estimator_params=estimator,
            # x86 processors without VNNI saturate products of whole bytes, and answers come out too
            # small: half the weights' range is right on every board.
            overflow_fix=nncf.OverflowFix.ENABLE,
            # The fast kind looks at each layer alone, and what it adds runs up over those of a
            # ResNet: HGB 1.3 g/L too high, 0.05 too low without.
            disable_bias_correction=True,
        )
        kept = self._names(source.graph, model, recipe.keep_float)
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            quantised = nncf.quantize(
                model,
                nncf.Dataset(list(batches)),
                subset_size=len(batches),
                ignored_scope=nncf.IgnoredScope(names=kept) if kept else None,
                advanced_parameters=advanced,
            )
        _quantise_as_codes(quantised, inputs)
        return _stored(quantised, half=False)

    def _names(self, graph: GraphProto, model: Any, modules: Sequence[str]) -> list[str]:
        """Names of OpenVINO's operations that come from modules of the network."""
        if not modules:
            return []
        from edgehemo_export.quantisation.onnx_export import nodes_of

        wanted = set(nodes_of(graph, modules))
        names = {
            name for node in graph.node if node.name in wanted for name in (node.name, *node.output)
        }
        present = [op.get_friendly_name() for op in model.get_ordered_ops()]
        # What one ONNX operator becomes in several is named after it: a Gemm's "x/WithoutBiases".
        return [name for name in present if name in names or name.partition("/")[0] in names]


def read_onnx(onnx: bytes) -> Any:
    """An OpenVINO model of an ONNX one, in which all that is constant is a constant."""
    import openvino
    from openvino.passes import ConstantFolding, Manager

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(onnx)
        model = openvino.Core().read_model(str(path))
    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(model)
    return model


def _quantise_as_codes(model: Any, inputs: Sequence[FoldedInput]) -> None:
    """Give what a first convolution takes the steps of the codes themselves.

    NNCF would lay its own steps over them, and an even background, which is one code, would be off
    by the same everywhere.
    """
    from openvino import opset13

    scales = {entry.tensor: entry for entry in inputs}
    for op in model.get_ordered_ops():
        if op.get_type_name() != "FakeQuantize":
            continue
        source = op.input_value(0)
        entry = next((scales[name] for name in source.get_names() if name in scales), None)
        if entry is None:
            continue
        ends = [
            opset13.constant(np.full((1, 1, 1, 1), entry.scale * step, np.float32))
            for step in (-entry.zero_point, ACTIVATION_LEVELS - 1 - entry.zero_point)
        ]
        exact = opset13.fake_quantize(source, *ends, *ends, ACTIVATION_LEVELS)
        exact.set_friendly_name(op.get_friendly_name())
        for taker in op.output(0).get_target_inputs():
            taker.replace_source_output(exact.output(0))


def _stored(model: Any, *, half: bool) -> Files:
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        openvino.save_model(model, str(path), compress_to_fp16=half)
        return [(".xml", path.read_bytes()), (".bin", path.with_suffix(".bin").read_bytes())]


def _quiet_nncf() -> Any:
    # NNCF would report its use to its maker over the network; this is its own switch against it.
    os.environ.setdefault("NNCF_CI", "1")
    import nncf

    nncf.set_log_level(logging.ERROR)
    return nncf
