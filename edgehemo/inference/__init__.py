"""The edge runtimes behind one protocol, each imported only when a model is opened."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edgehemo.errors import BundleError
from edgehemo.inference.runtimes import RUNTIMES, RuntimeFacts, format_named

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgehemo.bundle.bundle import Bundle
    from edgehemo.bundle.manifest import Artefact, ArtefactFormat, ModelEntry, ModelTask, Precision
    from edgehemo.inference.content import Digests

__all__ = [
    "RUNTIMES",
    "DescribedRunner",
    "Runner",
    "RuntimeFacts",
    "Shape",
    "check_graph",
    "format_named",
    "open_model",
    "open_runner",
]

log = logging.getLogger(__name__)

Shape = tuple[int | None, ...]


class Runner(Protocol):
    """A loaded model. ``name`` and ``version`` are the runtime's."""

    name: str
    version: str

    def run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run one batch: uint8 (n, height, width, 3) canonical codes, RGB; float32 output."""
        ...


class DescribedRunner(Runner, Protocol):
    """A runner that tells what its graph takes and gives; None stands for a free dimension."""

    input_shape: Shape
    input_type: str
    output_shape: Shape


def open_runner(
    path: Path, format: ArtefactFormat, *, threads: int, digests: Digests | None = None
) -> DescribedRunner:
    """Open an artefact in its runtime, with a fixed number of threads.

    digests: SHA-256 of its files by their names; the very bytes that have them are opened.

    Raises MissingDependencyError where this installation has no such runtime, BundleError where
    the runtime refuses the file.
    """
    if format == "onnx":
        from edgehemo.inference.onnx import OnnxRunner

        return OnnxRunner(path, threads=threads, digests=digests)
    if format == "openvino":
        from edgehemo.inference.openvino import OpenVinoRunner

        return OpenVinoRunner(path, threads=threads, digests=digests)
    from edgehemo.inference.tflite import TfliteRunner

    return TfliteRunner(path, threads=threads, digests=digests)


def open_model(
    bundle: Bundle,
    task: ModelTask,
    *,
    threads: int,
    runtime: ArtefactFormat,
    precision: Precision | None = None,
) -> tuple[Artefact, DescribedRunner]:
    """Open a bundle's model for a task, its file's digest and its graph checked.

    precision: what is preferred; another serves where the bundle lacks it. Raises BundleError
    where the bundle has nothing for the runtime or the graph is not what the manifest says.
    """
    entry, _, values = bundle.graph(task)
    held = {item.precision for item in entry.artefacts if item.format == runtime}
    artefact, path = bundle.artefact(
        task, runtime, precision if precision in held else None, checked=False
    )
    runner = open_runner(path, runtime, threads=threads, digests=artefact.digests)
    check_graph(runner, entry, artefact, values)
    log.debug("%s opened: %s %s, %d threads", task, runtime, artefact.precision, threads)
    return artefact, runner


def check_graph(
    runner: DescribedRunner, entry: ModelEntry, artefact: Artefact, values: int | None = None
) -> None:
    """BundleError where a graph takes or gives something else than the manifest says.

    values: in the last dimension of its answer, its heads' among them (`Bundle.graph`); None for a
    model without heads.
    """
    values = entry.output_values if values is None else values
    spec = entry.input_of(artefact)
    wanted = (None, spec.height_px, spec.width_px, spec.channels)
    if runner.input_type != spec.dtype or not _fits(runner.input_shape, wanted):
        raise BundleError(
            f"{artefact.file}: takes {runner.input_type} {_shape_text(runner.input_shape)}, "
            f"the manifest says {spec.dtype} {_shape_text(wanted)}; export the bundle again"
        )
    if not runner.output_shape or not _fits(runner.output_shape[-1:], (values,)):
        raise BundleError(
            f"{artefact.file}: answers {_shape_text(runner.output_shape)}, the manifest says "
            f"{values} values in the last dimension; export the bundle again"
        )


def _fits(have: Shape, wanted: Shape) -> bool:
    """Whether shapes agree where both are fixed; a wanted None must be free, batches aside."""
    if len(have) != len(wanted):
        return False
    if len(wanted) == 4 and (have[1] is None) != (wanted[1] is None):
        return False
    return all(a is None or b is None or a == b for a, b in zip(have, wanted, strict=True))


def _shape_text(shape: Shape) -> str:
    return "(" + ", ".join("any" if side is None else str(side) for side in shape) + ")"
