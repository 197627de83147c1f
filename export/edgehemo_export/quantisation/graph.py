"""A network to be written in one format or several, and what is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

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
        from edgehemo_export.quantisation.onnx_export import export_fp32

        return export_fp32(self.net, self.example, multiple_of_px=self.free_size_multiple)
