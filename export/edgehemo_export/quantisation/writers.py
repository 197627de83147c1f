"""What writes each format, behind one protocol."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import Precision
from edgehemo_export.quantisation.formats import ExportFormat
from edgehemo_export.quantisation.graph import Files, Graph
from edgehemo_export.quantisation.int8_recipes import Int8Recipe


class ArtefactWriter(Protocol):
    """Writes one format of one network; made with its `Graph`."""

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


def writer_for(item: ExportFormat, graph: Graph) -> ArtefactWriter:
    """The writer of a format, its libraries imported only now."""
    module, _, name = item.writer.partition(":")
    made = getattr(importlib.import_module(f"edgehemo_export.quantisation.{module}"), name)
    return cast(ArtefactWriter, made(graph))
