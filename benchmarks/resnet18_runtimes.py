"""Size and speed of a ResNet18 at 224x224 in every runtime and precision, beside eager PyTorch.

``python benchmarks/resnet18_runtimes.py [--bundle DIR | --keep DIR]`` prints Markdown. Without a
bundle it makes the nine artefacts from the shipped field estimator, calibrated on simulated tiles
(some minutes; speed and size do not hang on the weights). All artefacts stay open, each in a
process of its own, and take turns, so that what else the machine does meets all alike. A time
belongs to the board, runtime and version it is printed with.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edgehemo.bench.stages import machine
from edgehemo.bundle.bundle import load_bundle
from edgehemo.bundle.manifest import ArtefactFormat, ModelTask, Precision
from edgehemo.field.tiles import TILE_PX
from edgehemo.files.atomic import write_bytes_atomically
from edgehemo.inference.worker import WorkerRunner
from edgehemo_export.checkpoints import load_checkpoint
from edgehemo_export.data.simulated.tiles import simulated_one
from edgehemo_export.evaluation.card_parts import section, table
from edgehemo_export.models.field_estimator.checkpoint import estimator_net
from edgehemo_export.nets.resnet_fields import FLOAT_LAYERS
from edgehemo_export.quantisation.formats import ALL_PRECISIONS, FORMATS
from edgehemo_export.quantisation.graph import Graph
from edgehemo_export.quantisation.int8_recipes import first_recipes, float_layers_of
from edgehemo_export.quantisation.writers import writer_for

CHECKPOINT = (
    Path(__file__).resolve().parents[1] / "export" / "checkpoints" / "field_estimator.safetensors"
)
TASK: ModelTask = "field_estimator"
CALIBRATION_TILES = 100
WARM_UP_RUNS, ROUNDS, RUNS_A_ROUND = 3, 8, 3
STATED_RATIO = 3.5  # int8 files are to be at least so many times smaller than fp32
# What a process must do before it answers with eager PyTorch.
EAGER_START = """
import json, sys, time
started = time.perf_counter()
import torch
from edgehemo_export.checkpoints import load_checkpoint
from edgehemo_export.models.field_estimator.run import estimator_net
from pathlib import Path
torch.set_num_threads(1)
net = estimator_net(load_checkpoint(Path(sys.argv[1]))).eval()
ready_s = time.perf_counter() - started
with torch.inference_mode():
    net(torch.full((1, 224, 224, 3), 200, dtype=torch.uint8))
from edgehemo.inference.worker import peak_memory_mb
print(json.dumps({"cold_start_s": ready_s, "peak_memory_mb": peak_memory_mb()}))
"""


@dataclass(frozen=True)
class Made:
    """An artefact; bytes: of all its files."""

    format: ArtefactFormat
    precision: Precision
    path: Path
    bytes: int


@dataclass
class Contender:
    """One way to run the network. run: a sample, returns the seconds the network took."""

    name: str
    precision: Precision
    bytes: int
    run: Callable[[NDArray[np.uint8]], float]
    cold_start_s: float
    peak_memory_mb: Callable[[], float]
    seconds: list[float] = field(default_factory=list)

    @property
    def median_ms(self) -> float:
        return 1e3 * statistics.median(self.seconds)


def main(files: Sequence[Made], thread_counts: Sequence[int]) -> None:
    """Print the table."""
    torch.set_grad_enabled(False)
    sample = np.ascontiguousarray(simulated_one(0, seed=1).codes[:1, :TILE_PX, :TILE_PX])
    here = machine()
    print(f"{here['board']}, {here['architecture']}, {here['system']}, Python {here['python']}")
    timed = {count: contest(files, sample, count) for count in thread_counts}
    first = timed[thread_counts[0]]
    heads = ["runtime", "precision", "MB", "fp32 / this", "cold ms", "MB held"]
    for count in thread_counts:
        heads += [f"{count} thr. ms", "p95", "fp32 / this", "eager / this"]
    rows = []
    for index, one in enumerate(first):
        row = [
            one.name,
            one.precision,
            f"{one.bytes / 1e6:.2f}",
            f"{whole(first, one).bytes / one.bytes:.2f}",
            f"{1e3 * one.cold_start_s:.0f}",
            f"{one.peak_memory_mb():.0f}",
        ]
        for count in thread_counts:
            own, eager = timed[count][index], timed[count][-1]
            row += [
                f"{own.median_ms:.2f}",
                f"{1e3 * float(np.quantile(own.seconds, 0.95)):.2f}",
                f"{whole(timed[count], own).median_ms / own.median_ms:.2f}",
                f"{eager.median_ms / own.median_ms:.2f}",
            ]
        rows.append(tuple(row))
    print("\n".join(section("ResNet18, one tile of 224x224", table(tuple(heads), rows))))
    short = [
        f"{one.name} is {whole(first, one).bytes / one.bytes:.2f}"
        for one in first
        if one.precision == "int8" and whole(first, one).bytes < STATED_RATIO * one.bytes
    ]
    verdict = f"all int8 files are at least {STATED_RATIO} times smaller than fp32"
    print(f"Not {STATED_RATIO} times smaller in int8: {'; '.join(short)}" if short else verdict)


def whole(contenders: Sequence[Contender], one: Contender) -> Contender:
    """The fp32 contender of the same runtime."""
    return next(c for c in contenders if c.name == one.name and c.precision == "fp32")


def contest(files: Sequence[Made], sample: NDArray[np.uint8], threads: int) -> list[Contender]:
    """Open everything, eager PyTorch last, and time it in turns."""
    with ExitStack() as opened:
        contenders = []
        for made in files:
            runner = opened.enter_context(WorkerRunner(made.path, made.format, threads=threads))
            contenders.append(
                Contender(
                    f"{runner.name} {runner.version}",
                    made.precision,
                    made.bytes,
                    _run_of(runner),
                    runner.cold_start_s,
                    _peak_of(runner),
                )
            )
        contenders.append(eager_pytorch(threads))
        for one in contenders:
            for _ in range(WARM_UP_RUNS):
                one.run(sample)
        for _ in range(ROUNDS):
            for one in contenders:
                one.run(sample)  # brings its weights back into the caches
                one.seconds += [one.run(sample) for _ in range(RUNS_A_ROUND)]
        for one in contenders:  # while the processes still live
            held = one.peak_memory_mb()
            one.peak_memory_mb = partial(float, held)
    return contenders


def _run_of(runner: WorkerRunner) -> Callable[[NDArray[np.uint8]], float]:
    def run(codes: NDArray[np.uint8]) -> float:
        runner.run(codes)
        return runner.last_run_s

    return run


def _peak_of(runner: WorkerRunner) -> Callable[[], float]:
    return lambda: runner.peak_memory_mb


def eager_pytorch(threads: int) -> Contender:
    """The checkpoint as PyTorch runs it; cold start and memory of a process of its own."""
    torch.set_num_threads(threads)
    net = estimator_net(load_checkpoint(CHECKPOINT)).eval()
    told = subprocess.run(
        [sys.executable, "-c", EAGER_START, str(CHECKPOINT)],
        capture_output=True,
        text=True,
        check=True,
    )
    start = json.loads(told.stdout.splitlines()[-1])

    def run(codes: NDArray[np.uint8]) -> float:
        begun = time.perf_counter()
        net(torch.from_numpy(codes))
        return time.perf_counter() - begun

    weights = sum(p.numel() * p.element_size() for p in net.parameters())
    peak = float(start["peak_memory_mb"])
    return Contender(
        f"PyTorch {torch.__version__} eager",
        "fp32",
        weights,
        run,
        start["cold_start_s"],
        lambda: peak,
    )


def of_bundle(path: Path) -> list[Made]:
    """The artefacts of a bundle's field estimator."""
    loaded = load_bundle(path, trust="files-only")
    loaded.check_files()
    return [
        Made(item.format, item.precision, loaded.path / item.file, item.total_bytes)
        for item in loaded.model(TASK).artefacts
    ]


def of_checkpoint(folder: Path) -> list[Made]:
    """The nine artefacts in a folder, made from the shipped checkpoint where they are missing."""
    out = []
    net = estimator_net(load_checkpoint(CHECKPOINT)).eval()
    tiles: list[NDArray[np.uint8]] = []
    for item in FORMATS:
        writer = None
        recipe = first_recipes(item.calibrators, float_layers_of(net, FLOAT_LAYERS))[0]
        for precision in ALL_PRECISIONS:
            path = folder / f"resnet18.{precision}{item.suffix}"
            if not path.is_file():
                tiles = tiles or simulated_tiles()
                writer = writer or writer_for(item, Graph(net, tiles[0], None))
                int8 = precision == "int8"
                made = writer.int8(tiles, recipe) if int8 else writer.plain(precision)
                for suffix, data in reversed(made):  # what is looked for comes last
                    write_bytes_atomically(path.with_suffix(suffix), data)
            files = [path, path.with_suffix(".bin")] if item.name == "openvino" else [path]
            size = sum(file.stat().st_size for file in files)
            out.append(Made(item.name, precision, path, size))
    return out


def simulated_tiles() -> list[NDArray[np.uint8]]:
    """Tiles for calibration, uint8 (1, 224, 224, 3)."""
    fields = (simulated_one(index, seed=2).codes[0] for index in range(CALIBRATION_TILES))
    return [np.ascontiguousarray(codes[None, :TILE_PX, :TILE_PX]) for codes in fields]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, help="one whose field estimator is timed")
    parser.add_argument("--keep", type=Path, help="folder to keep the made artefacts in")
    parser.add_argument("--threads", type=int, action="append")
    parser.add_argument("--only-make", action="store_true", help="with --keep: time nothing")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        if arguments.bundle is not None:
            found = of_bundle(arguments.bundle)
        else:
            found = of_checkpoint(arguments.keep or Path(temporary))
        if not arguments.only_make:
            main(found, arguments.threads or (1, 2))
