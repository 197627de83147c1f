"""How fast each artefact of a bundle runs on this board, each in a process of its own.

Cold start and peak memory are the artefact's: its process imports nothing but the runtime. A time
belongs to the board, the runtime, its version and the number of threads it was measured with, and
every row says them.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgehemo.bench.stages import WARM_UP_RUNS
from edgehemo.bundle.bundle import Bundle
from edgehemo.bundle.manifest import (
    PRECISION_PREFERENCE,
    Artefact,
    ArtefactFormat,
    ModelEntry,
    Precision,
)
from edgehemo.device.board import BoardState
from edgehemo.device.machine import this_machine
from edgehemo.errors import BundleError, EdgeHemoError
from edgehemo.inference.processor import Family
from edgehemo.inference.verification import read_samples, sample_difference, too_far
from edgehemo.inference.worker import WorkerRunner

# Side of the input where neither the artefact nor a sample fixes one, px.
FREE_SIDE_PX = 384
# A faster choice must be faster by this share to be worth a change.
WORTH_CHANGING = 0.05


@dataclass(frozen=True, slots=True)
class ArtefactTime:
    """One artefact at one number of threads; ms of one sample. problem: why it was not timed."""

    model: str
    format: ArtefactFormat
    precision: Precision
    threads: int
    bytes: int
    input_shape: tuple[int, ...] = ()
    runtime: str | None = None
    median_ms: float = 0.0
    p95_ms: float = 0.0
    cold_start_ms: float = 0.0
    peak_memory_mb: float = 0.0
    celsius: float | None = None
    throttled: int | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to run here: the runtime, precision and threads whose models together take least."""

    format: ArtefactFormat
    precision: Precision
    threads: int
    total_ms: float


def time_artefacts(
    bundle: Bundle, *, threads: Sequence[int], runs: int, tell: Callable[[str], None]
) -> list[ArtefactTime]:
    """Every artefact at every number of threads; one whose runtime is missing says so."""
    out = []
    for entry in bundle.manifest.models:
        for artefact in entry.artefacts:
            for count in threads:
                tell(artefact.file)
                try:
                    out.append(_timed(bundle, entry, artefact, count, runs))
                except EdgeHemoError as error:
                    out.append(
                        ArtefactTime(
                            entry.name,
                            artefact.format,
                            artefact.precision,
                            count,
                            artefact.total_bytes,
                            problem=str(error),
                        )
                    )
    return out


def recommended(
    times: Iterable[ArtefactTime], models: Collection[str] | None = None
) -> Recommendation | None:
    """The runtime, precision and threads that serve every model fastest; None where none does.

    models: names of those that a screening runs, None for all that were timed. A model that the
    bundle does not hold in a precision is reckoned in the one that runs instead (`open_model`).
    Between choices that are alike the one with fewer threads leaves a core to the camera and page.
    """
    rows = [row for row in times if row.problem is None]
    if models is not None:
        rows = [row for row in rows if row.model in models]
    wanted = {row.model for row in rows}
    places: dict[tuple[ArtefactFormat, int], dict[Precision, dict[str, float]]] = {}
    for row in rows:
        held = places.setdefault((row.format, row.threads), {})
        held.setdefault(row.precision, {})[row.model] = row.median_ms
    whole = []
    for (runtime, threads), held in places.items():
        for precision in held:
            by_model: dict[str, float] = {}
            for each in (*reversed(PRECISION_PREFERENCE), precision):
                by_model |= held.get(each, {})
            if by_model.keys() == wanted:
                total = sum(by_model.values())
                whole.append(Recommendation(runtime, precision, threads, total))
    if not whole:
        return None
    fastest = min(item.total_ms for item in whole)
    alike = [item for item in whole if item.total_ms <= fastest * (1 + WORTH_CHANGING)]
    return min(alike, key=lambda item: (item.threads, item.total_ms))


@dataclass(frozen=True, slots=True)
class Lacking:
    """A precision that a model does not come in, and why it is likely faster on this processor."""

    model: str
    format: ArtefactFormat
    precision: Precision
    reason: str


def lacking(
    bundle: Bundle,
    format: ArtefactFormat,
    models: Collection[str],
    *,
    family: Family,
    dot_products: bool | None,
) -> list[Lacking]:
    """What of a bundle would likely be faster here and is not in it.

    format: what runs here. models: names of those that a screening runs. family, dot_products: of
    the processor (`edgehemo.inference.processor`); where they are not known nothing is lacking.
    """
    if dot_products is None:
        return []
    wanted: Precision
    if dot_products:
        wanted, reason = "int8", "this processor has dot products of bytes: int8 is likely faster"
    elif family == "x86":
        wanted = "fp32"
        reason = "this processor has no dot products of bytes (VNNI): fp32 is likely faster"
    else:
        wanted = "fp32"
        reason = "this processor has no dot products of bytes (asimddp): fp32 may be faster"
    found = []
    for entry in bundle.manifest.models:
        held = {artefact.precision for artefact in entry.artefacts if artefact.format == format}
        if entry.name in models and held and wanted not in held:
            found.append(Lacking(entry.name, format, wanted, reason))
    return found


def _timed(
    bundle: Bundle, entry: ModelEntry, artefact: Artefact, threads: int, runs: int
) -> ArtefactTime:
    path = bundle.checked_file(artefact.file, artefact.sha256)
    codes = _input(bundle, entry, artefact)
    with WorkerRunner(path, artefact.format, threads=threads, digests=artefact.digests) as runner:
        _refuse_wrong(runner, bundle, entry, artefact)
        seconds = []
        for run in range(WARM_UP_RUNS + runs):
            runner.run(codes)
            if run >= WARM_UP_RUNS:
                seconds.append(runner.last_run_s)
        board = BoardState.read(this_machine())
        return ArtefactTime(
            entry.name,
            artefact.format,
            artefact.precision,
            threads,
            artefact.total_bytes,
            input_shape=codes.shape,
            runtime=f"{runner.name} {runner.version}",
            median_ms=1e3 * statistics.median(seconds),
            p95_ms=1e3 * float(np.quantile(seconds, 0.95)),
            cold_start_ms=1e3 * runner.cold_start_s,
            peak_memory_mb=runner.peak_memory_mb,
            celsius=board.celsius,
            throttled=board.throttled,
        )


def _refuse_wrong(
    runner: WorkerRunner, bundle: Bundle, entry: ModelEntry, artefact: Artefact
) -> None:
    """BundleError where an artefact answers otherwise on this processor than where it was made:
    however fast, it is not to be recommended.
    """
    samples = read_samples(bundle, entry)
    if samples and artefact.reproduction is not None:
        problem = too_far(sample_difference(runner, samples), artefact)
        if problem is not None:
            raise BundleError(f"{artefact.file}: {problem}")


def _input(bundle: Bundle, entry: ModelEntry, artefact: Artefact) -> NDArray[np.uint8]:
    """The bundle's own sample, else a clear field of the size the artefact takes."""
    samples = read_samples(bundle, entry)
    if samples:
        return samples[0][0]
    spec = entry.input_of(artefact)
    height, width = spec.height_px or FREE_SIDE_PX, spec.width_px or FREE_SIDE_PX
    return np.full((1, height, width, 3), int(spec.code_of_transmittance_1), np.uint8)
