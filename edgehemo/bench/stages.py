"""How long each stage of a screening takes on this machine, and which share is the network's."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import ModelTask
from edgehemo.cells.finder import CellFinder
from edgehemo.cells.typing import CellClassifier, CellTyper
from edgehemo.estimate.indices import field_indices
from edgehemo.field.canonical import canonical_field, scale_from_cells
from edgehemo.images.reading import decode_frame
from edgehemo.inference import Runner
from edgehemo.profile.profile import CalibrationProfile
from edgehemo.quality import check_field

# In the order of a screening.
STAGES = (
    "decode",
    "canonical field",
    "scale",
    "finder network",
    "finder rest",
    "morphology network",
    "nucleated network",
    "types rest",
    "quality",
    "indices",
)
NETWORK_STAGE = "finder network"
# What finds the cells of a field and names them, `quality` and `indices` left aside.
CELLS_STAGES = STAGES[: STAGES.index("quality")]
# The stage that a classifier's network takes.
STAGE_OF_TASK: Mapping[ModelTask, str] = {
    "morphology": "morphology network",
    "nucleated": "nucleated network",
}
# The first runs fill caches and allocate; they are not counted.
WARM_UP_RUNS = 2
DEVICE_TREE_MODEL = Path("/proc/device-tree/model")
CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class StageTime:
    """Median and 95th percentile of one stage over the runs, ms; share: of the median field."""

    stage: str
    median_ms: float
    p95_ms: float
    share: float

    def as_json(self) -> dict[str, Any]:
        return {
            "stage": self.stage,
            "median_ms": round(self.median_ms, 3),
            "p95_ms": round(self.p95_ms, 3),
            "share": round(self.share, 4),
        }


@dataclass(slots=True)
class TimedRunner:
    """A runner that adds up the time its network takes, seconds."""

    runner: Runner
    clock: Callable[[], float]
    seconds: float = 0.0
    name: str = field(init=False)
    version: str = field(init=False)

    def __post_init__(self) -> None:
        self.name, self.version = self.runner.name, self.runner.version

    def run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        start = self.clock()
        out = self.runner.run(codes)
        self.seconds += self.clock() - start
        return out


def stage_times(
    images: Sequence[bytes],
    finder: CellFinder,
    *,
    runs: int,
    typer: CellTyper | None = None,
    profile: CalibrationProfile | None = None,
    um_per_px: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[StageTime]:
    """Times of every stage over ``runs`` passes through the encoded images.

    typer: names all cells of every field; without it those stages take no time.
    The models' own runners are replaced while they are timed and put back. Raises ImageError for
    bytes that are no image.
    """
    seconds: dict[str, list[float]] = {stage: [] for stage in STAGES}
    owners: dict[str, CellFinder | CellClassifier] = {NETWORK_STAGE: finder}
    for task, classifier in (typer.classifiers if typer is not None else {}).items():
        owners[STAGE_OF_TASK[task]] = classifier
    timed = {stage: TimedRunner(owner.runner, clock) for stage, owner in owners.items()}
    for stage, owner in owners.items():
        owner.runner = timed[stage]
    try:
        for run in range(WARM_UP_RUNS + runs):
            for number, data in enumerate(images):
                name = f"image {number + 1}"
                taken = _one_field(data, name, finder, typer, timed, profile, um_per_px, clock)
                if run >= WARM_UP_RUNS:
                    for stage, value in taken.items():
                        seconds[stage].append(value)
    finally:
        for stage, owner in owners.items():
            owner.runner = timed[stage].runner
    return summarised(seconds)


def summarised(seconds: Mapping[str, Sequence[float]]) -> list[StageTime]:
    """Median, 95th percentile and share of the summed medians, from seconds by stage."""
    medians = {stage: statistics.median(values) for stage, values in seconds.items()}
    whole = sum(medians.values())
    return [
        StageTime(
            stage=stage,
            median_ms=1e3 * medians[stage],
            p95_ms=1e3 * float(np.quantile(values, 0.95)),
            share=medians[stage] / whole if whole > 0 else 0.0,
        )
        for stage, values in seconds.items()
    ]


def machine() -> dict[str, str]:
    """The board or processor, system and Python a time belongs to."""
    return {
        "board": _board(),
        "architecture": platform.machine(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _one_field(
    data: bytes,
    name: str,
    finder: CellFinder,
    typer: CellTyper | None,
    timed: Mapping[str, TimedRunner],
    profile: CalibrationProfile | None,
    um_per_px: float | None,
    clock: Callable[[], float],
) -> dict[str, float]:
    before_field = {stage: runner.seconds for stage, runner in timed.items()}
    marks = [clock()]
    frame = decode_frame(data, name)
    marks.append(clock())
    canonical = canonical_field(frame, um_per_px=um_per_px, profile=profile)
    marks.append(clock())
    cells = finder.find(canonical)
    marks.append(clock())
    if typer is not None:
        cells = typer.typed(canonical, cells)
    marks.append(clock())
    check_field(canonical, frame, cells=cells, profile=profile)
    marks.append(clock())
    field_indices(canonical, cells)
    marks.append(clock())
    decode, canonical_s, finder_s, types, quality, indices = np.diff(marks).tolist()
    # Part of the canonical field, and the only part that not every field needs: once more, alone.
    scale = 0.0
    if canonical.scale_source in ("red_cells", "assumed"):
        before = clock()
        scale_from_cells(frame.pixels, canonical.illumination)
        scale = clock() - before
    networks = {stage: runner.seconds - before_field[stage] for stage, runner in timed.items()}
    classifying = {stage: networks.get(stage, 0.0) for stage in STAGE_OF_TASK.values()}
    return {
        "decode": decode,
        "canonical field": max(0.0, canonical_s - scale),
        "scale": scale,
        NETWORK_STAGE: networks[NETWORK_STAGE],
        "finder rest": finder_s - networks[NETWORK_STAGE],
        **classifying,
        "types rest": types - sum(classifying.values()),
        "quality": quality,
        "indices": indices,
    }


def _board() -> str:
    try:
        return DEVICE_TREE_MODEL.read_text(encoding="utf-8").strip("\0 \n")
    except OSError:
        pass
    try:
        for line in CPU_INFO.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
