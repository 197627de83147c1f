"""ONNX to OpenVINO: fp32, half-precision weights, int8 by NNCF.

OpenVINO reads the ONNX form of the network, so that there is one conversion from PyTorch to keep
right. The runtime must compute in f32 around int8 layers: see `edgehemo.inference.openvino`.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import Precision
from edgehemo.errors import UsageError
from edgehemo_export.quantisation.graph import Files, Graph
from edgehemo_export.quantisation.int8_recipes import Int8Recipe

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
        return _stored(self._model(), half=precision == "fp16")

    def int8(self, batches: Sequence[NDArray[np.uint8]], recipe: Int8Recipe) -> Files:
        nncf = _quiet_nncf()
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet

        if recipe.calibrator not in RANGE_ESTIMATORS:
            raise UsageError(f"unknown calibrator {recipe.calibrator}")
        model = self._model()
        estimator = getattr(RangeEstimatorParametersSet, RANGE_ESTIMATORS[recipe.calibrator])
        advanced = nncf.AdvancedQuantizationParameters(
            activations_range_estimator_params=estimator,
            # x86 processors without VNNI saturate products of whole bytes, and answers come out too
            # small: half the weights' range is right on every board.
            overflow_fix=nncf.OverflowFix.ENABLE,
        )
        kept = self._names(model, recipe.keep_float)
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            quantised = nncf.quantize(
                model,
                nncf.Dataset(list(batches)),
                subset_size=len(batches),
                ignored_scope=nncf.IgnoredScope(names=kept) if kept else None,
                advanced_parameters=advanced,
            )
        return _stored(quantised, half=False)

    def _model(self) -> Any:
        import openvino

        core = openvino.Core()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            path.write_bytes(self._graph.onnx)
            return core.read_model(str(path))

    def _names(self, model: Any, modules: Sequence[str]) -> list[str]:
        """Names of OpenVINO's operations that come from modules of the network."""
        if not modules:
            return []
        import onnx

        from edgehemo_export.quantisation.onnx_export import nodes_of

        graph = onnx.load_from_string(self._graph.onnx).graph
        wanted = set(nodes_of(graph, modules))
        names = {
            name for node in graph.node if node.name in wanted for name in (node.name, *node.output)
        }
        present = [op.get_friendly_name() for op in model.get_ordered_ops()]
        # What one ONNX operator becomes in several is named after it: a Gemm's "x/WithoutBiases".
        return [name for name in present if name in names or name.partition("/")[0] in names]


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
