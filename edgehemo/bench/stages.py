"""How long each stage of a screening takes on this machine, and which share is the network's."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import ModelTask
from edgehemo.device.board import described
from edgehemo.device.machine import this_machine
from edgehemo.estimate.network import NETWORK_TASKS, FieldNetwork, NetworkTask
from edgehemo.field.canonical import scale_from_cells
from edgehemo.images.reading import decode_frame
from edgehemo.inference import Runner
from edgehemo.screening.field import FieldReader, Stage

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
    "field estimator",
    "anaemia screen",
    "field networks rest",
)
NETWORK_STAGE = "finder network"
# What finds the cells of a field and names them, what comes after it left aside.
CELLS_STAGES = STAGES[: STAGES.index("quality")]
# The stage that a classifier's network takes.
STAGE_OF_TASK: Mapping[ModelTask, str] = {
    "morphology": "morphology network",
    "nucleated": "nucleated network",
}
# The stage that a network takes which reads whole fields.
STAGE_OF_NETWORK: Mapping[NetworkTask, str] = {
    "field_estimator": "field estimator",
    "anaemia_screen": "anaemia screen",
}
# The first runs fill caches and allocate; they are not counted.
WARM_UP_RUNS = 2


@dataclass(frozen=True, slots=True)
class StageTime:
    """Median and 95th percentile of one stage over the runs, ms; share: of the median field."""

    stage: str
    median_ms: float
    p95_ms: float
    share: float

    def rounded(self) -> StageTime:
        """As files hold it."""
        return StageTime(
            self.stage, round(self.median_ms, 3), round(self.p95_ms, 3), round(self.share, 4)
        )


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


@dataclass(slots=True)
class _StageClock:
    """Seconds of each of a reader's stages, added up."""

    clock: Callable[[], float]
    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def __call__(self, stage: Stage) -> Iterator[None]:
        start = self.clock()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + self.clock() - start


def stage_times(
    images: Sequence[bytes],
    reader: FieldReader,
    *,
    runs: int,
    clock: Callable[[], float] = time.perf_counter,
    tell: Callable[[], object] = lambda: None,
) -> list[StageTime]:
    """Times of every stage over ``runs`` passes through the encoded images.

    reader: as a screening has it; fields that quality refuses are named and measured as well, so
    that every run takes every stage. What the reader has not got takes no time. tell: called after
    each pass, `passes` of them.

    The models' own runners are replaced while they are timed and put back. Raises ImageError for
    bytes that are not an image.
    """
    seconds: dict[str, list[float]] = {stage: [] for stage in STAGES}
    owners = _owners(reader)
    timed = {stage: TimedRunner(owner.runner, clock) for stage, owner in owners.items()}
    reader, of_fields = _with_timed_networks(reader, clock)
    for stage, owner in owners.items():
        owner.runner = timed[stage]
    try:
        for run in range(passes(runs)):
            for number, data in enumerate(images):
                every = timed | of_fields
                taken = _one_field(data, f"image {number + 1}", reader, every, clock)
                if run >= WARM_UP_RUNS:
                    for stage, value in taken.items():
                        seconds[stage].append(value)
            tell()
    finally:
        for stage, owner in owners.items():
            owner.runner = timed[stage].runner
    return summarised(seconds)


def passes(runs: int) -> int:
    """How often `stage_times` goes through the images for so many runs that count."""
    return WARM_UP_RUNS + runs


def _owners(reader: FieldReader) -> dict[str, Any]:
    """Stage -> what holds the runner of that stage's network."""
    owners: dict[str, Any] = {} if reader.finder is None else {NETWORK_STAGE: reader.finder}
    for task, classifier in (reader.typer.classifiers if reader.typer is not None else {}).items():
        owners[STAGE_OF_TASK[task]] = classifier
    return owners


def _with_timed_networks(
    reader: FieldReader, clock: Callable[[], float]
) -> tuple[FieldReader, dict[str, TimedRunner]]:
    """The reader with networks of fields that are timed, and their runners by stage."""
    networks = reader.networks
    if networks is None:
        return reader, {}
    timed: dict[str, TimedRunner] = {}
    watching: dict[int, TimedRunner] = {}

    def watched(network: FieldNetwork | None, task: NetworkTask) -> FieldNetwork | None:
        if network is None:
            return None
        # One graph that answers for several is the first one's time: the others come with it.
        key = id(network.runner)
        if key not in watching:
            watching[key] = TimedRunner(network.runner, clock)
            timed[STAGE_OF_NETWORK[task]] = watching[key]
        return replace(network, runner=watching[key])

    networks = replace(
        networks,
        estimator=watched(networks.estimator, "field_estimator"),
        screen=watched(networks.screen, "anaemia_screen"),
    )
    return replace(reader, networks=networks), timed


def on_request(
    images: Sequence[bytes],
    reader: FieldReader,
    *,
    field_ms: float,
    runs: int,
    clock: Callable[[], float] = time.perf_counter,
    tell: Callable[[], object] = lambda: None,
) -> list[StageTime]:
    """Times of the networks of ``reader`` that read whole fields: what they would add to a field.

    field_ms: what a field takes without them; the shares are of that. Of the reader nothing else
    runs than what its networks need. Where one graph answers for both, either adds all of it.
    """
    if reader.networks is None:
        return []
    bare = replace(reader, finder=None, typer=None)
    held = {"field_estimator": reader.networks.estimator, "anaemia_screen": reader.networks.screen}
    rows = {
        row.stage: replace(row, share=row.median_ms / field_ms if field_ms > 0 else 0.0)
        for row in stage_times(images, bare, runs=runs, clock=clock, tell=tell)
    }
    # The first network of each graph is the one that was timed.
    timed: dict[int, StageTime] = {}
    found = []
    for task in NETWORK_TASKS:
        network = held[task]
        if network is not None:
            own = STAGE_OF_NETWORK[task]
            found.append(replace(timed.setdefault(id(network.runner), rows[own]), stage=own))
    return found


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
    return described(this_machine())


def _one_field(
    data: bytes,
    name: str,
    reader: FieldReader,
    timed: Mapping[str, TimedRunner],
    clock: Callable[[], float],
) -> dict[str, float]:
    before_field = {stage: runner.seconds for stage, runner in timed.items()}
    start = clock()
    frame = decode_frame(data, name)
    decode = clock() - start
    watch = _StageClock(clock)
    _, canonical = replace(reader, on_stage=watch, keep_refused=True).read_canonical(frame)
    taken = watch.seconds
    # Part of the canonical field, and the only part that not every field needs: once more, alone.
    scale = 0.0
    if canonical.scale_source in ("red_cells", "assumed"):
        before = clock()
        scale_from_cells(frame.pixels, canonical.illumination)
        scale = clock() - before
    networks = {stage: runner.seconds - before_field[stage] for stage, runner in timed.items()}
    finding = networks.get(NETWORK_STAGE, 0.0)
    classifying = {stage: networks.get(stage, 0.0) for stage in STAGE_OF_TASK.values()}
    of_fields = {stage: networks.get(stage, 0.0) for stage in STAGE_OF_NETWORK.values()}
    return {
        "decode": decode,
        "canonical field": max(0.0, taken["canonical field"] - scale),
        "scale": scale,
        NETWORK_STAGE: finding,
        "finder rest": taken.get("cells", 0.0) - finding,
        **classifying,
        "types rest": taken.get("types", 0.0) - sum(classifying.values()),
        "quality": taken["quality"],
        "indices": taken.get("indices", 0.0),
        **of_fields,
        "field networks rest": taken.get("networks", 0.0) - sum(of_fields.values()),
    }
