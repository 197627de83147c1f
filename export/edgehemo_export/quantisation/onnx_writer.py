"""Writes ONNX artefacts: see `edgehemo_export.quantisation.onnx_export` for how."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import Precision
from edgehemo_export.quantisation import onnx_export
from edgehemo_export.quantisation.graph import Files, Graph
from edgehemo_export.quantisation.int8_recipes import Int8Recipe


class OnnxWriter:
    """See `edgehemo_export.quantisation.writers.ArtefactWriter`."""

    fixed_height_px = fixed_width_px = None

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def plain(self, precision: Precision) -> Files:
        whole = onnx_export.optimised(self._graph.onnx, standard=True)
        return [(".onnx", whole if precision == "fp32" else onnx_export.to_fp16(whole))]

    def int8(self, batches: Sequence[NDArray[np.uint8]], recipe: Int8Recipe) -> Files:
        data = onnx_export.quantise_int8(
            self._graph.onnx, batches, calibrator=recipe.calibrator, keep_float=recipe.keep_float
        )
        return [(".onnx", data)]
