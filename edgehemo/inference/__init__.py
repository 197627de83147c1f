"""The edge runtimes behind one protocol, each imported only when a model is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle import ArtefactFormat
from edgehemo.errors import MissingDependencyError


class Runner(Protocol):
    """A loaded model. ``name`` and ``version`` are the runtime's."""

    name: str
    version: str

    def run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run one batch: uint8 (n, height, width, 3) canonical codes, RGB; float32 output."""
        ...


def open_runner(path: Path, format: ArtefactFormat, *, threads: int) -> Runner:
    """Open an artefact in its runtime, with a fixed number of threads.

    Raises MissingDependencyError where this installation has no such runtime, BundleError where
    the runtime refuses the file.
    """
    if format == "onnx":
        from edgehemo.inference.onnx import OnnxRunner

        return OnnxRunner(path, threads=threads)
    raise MissingDependencyError(
        f"this version runs {format} artefacts nowhere yet; use the bundle's onnx artefact"
    )
