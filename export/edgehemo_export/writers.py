"""What writes each format, behind one protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from edgehemo.bundle import Precision
from edgehemo_export.formats import ExportFormat
from edgehemo_export.int8_recipes import Int8Recipe

# Suffix and content of an artefact's files; the first is the one a runtime opens.
Files = Sequence[tuple[str, bytes]]


# Height and width where a format fixes what the model leaves free: a field of 640x480 px at 0.2
# um/px, canonical, with what its sides are padded to.
FREE_SIZE_PX = (384, 512)


@dataclass(frozen=True)
class Graph:
    """A network to be written; its ONNX form is made once for the formats that start from it.

    net, example, free_size_multiple: see `ExportSubject`.
    """

    net: torch.nn.Module
    example: NDArray[np.uint8]
    free_size_multiple: int | None

    @cached_property
    def onnx(self) -> bytes:
        from edgehemo_export.onnx_export import export_fp32

        return export_fp32(self.net, self.example, multiple_of_px=self.free_size_multiple)


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
    """See `edgehemo_export.onnx_export`."""

    fixed_height_px = fixed_width_px = None

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def plain(self, precision: Precision) -> Files:
        from edgehemo_export.onnx_export import optimised, to_fp16

        whole = optimised(self._graph.onnx, standard=True)
        return [(".onnx", whole if precision == "fp32" else to_fp16(whole))]

    def int8(self, batches: Sequence[NDArray[np.uint8]], recipe: Int8Recipe) -> Files:
        from edgehemo_export.onnx_export import quantise_int8

        data = quantise_int8(
            self._graph.onnx, batches, calibrator=recipe.calibrator, keep_float=recipe.keep_float
        )
        return [(".onnx", data)]


def writer_for(item: ExportFormat, graph: Graph) -> ArtefactWriter:
    """The writer of a format."""
    if item.name == "onnx":
        return OnnxWriter(graph)
    if item.name == "openvino":
        from edgehemo_export.openvino_export import OpenVinoWriter

        return OpenVinoWriter(graph)
    from edgehemo_export.tflite_export import TfliteWriter

    return TfliteWriter(graph)
