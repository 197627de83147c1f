"""What writes each format, behind one protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import Precision
from edgehemo_export.quantisation.formats import ExportFormat
from edgehemo_export.quantisation.graph import Files, Graph
from edgehemo_export.quantisation.int8_recipes import Int8Recipe


class ArtefactWriter(Protocol):
    """Writes one format of one network."""

    @property
    def fixed_height_px(self) -> int | None:
        """The height of its artefacts where it fixes what the model leaves free."""
        ...

    @property
    def fixed_width_px(self) -> int | None: ...

    def plain(self, precision: Precision) -> Files:
        """fp32 or fp16."""
        ...

    def int8(self, batches: Sequence[NDArray[np.uint8]], recipe: Int8Recipe) -> Files:
        """int8, calibrated on batches uint8 (1, h, w, 3)."""
        ...


class OnnxWriter:
    """See `edgehemo_export.quantisation.onnx_export`."""

    fixed_height_px = fixed_width_px = None

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def plain(self, precision: Precision) -> Files:
        from edgehemo_export.quantisation.onnx_export import optimised, to_fp16

        whole = optimised(self._graph.onnx, standard=True)
        return [(".onnx", whole if precision == "fp32" else to_fp16(whole))]

    def int8(self, batches: Sequence[NDArray[np.uint8]], recipe: Int8Recipe) -> Files:
        from edgehemo_export.quantisation.onnx_export import quantise_int8

        data = quantise_int8(
            self._graph.onnx, batches, calibrator=recipe.calibrator, keep_float=recipe.keep_float
        )
        return [(".onnx", data)]


def writer_for(item: ExportFormat, graph: Graph) -> ArtefactWriter:
    """The writer of a format."""
    if item.name == "onnx":
        return OnnxWriter(graph)
    if item.name == "openvino":
        from edgehemo_export.quantisation.openvino_export import OpenVinoWriter

        return OpenVinoWriter(graph)
    from edgehemo_export.quantisation.tflite_export import TfliteWriter

    return TfliteWriter(graph)
