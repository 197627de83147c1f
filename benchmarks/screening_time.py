"""How long screening one sample takes, beside its cells and beside what a start must import.

``python benchmarks/screening_time.py FOLDER... [--fields 20] [--repeats 5] [--memory-fields 300]
[--beside TREE] [--json FILE]``: of so many fields, evenly chosen from each folder:

- `edgehemo cells` and `edgehemo screen` as whole commands in fresh processes, in turn, and the
  ratio of the two;
- `edgehemo cells` of one picture over ``python -c "import onnxruntime, cv2"``: the cold start;
- every stage of a field, warm, in this process;
- the memory of this process after 30 fields and at the end of ``--memory-fields``.

What is told first is processor time (user and system, of the process and what it starts): other
work on the machine lengthens it far less than it does the clock's. Measurements take turns, so that
what slows the machine for a while slows all of them, and medians are told. Threads are those of the
device configuration; for one thread set EDGEHEMO_DEVICE to one that says so and OMP_NUM_THREADS=1.
``--beside``: another working tree, measured in turn with this one.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edgehemo.bench.stages import CELLS_STAGES, NETWORK_STAGE, StageTime, machine, stage_times
from edgehemo.device.equipment import Equipment, open_equipment
from edgehemo.files.atomic import write_json_atomically
from edgehemo.images.reading import images_in, read_frame
from edgehemo.inference.processor import byte_dot_products

# What the command must import whatever it does: its start is measured against this.
BARE_IMPORT = "import onnxruntime, cv2"
# Exit codes of a command that ran: a result, or one withheld.
RAN = (0, 1)
# After so many fields everything is loaded and every cache is full.
SETTLED_FIELDS = 30
# Of the commands: a screening should take at most so many times its cells, and the cells of one
# picture so many times the imports.
MOST_OVER_CELLS = 1.4
MOST_OVER_IMPORTS = 2.0


@dataclass(frozen=True)
class Taken:
    """Medians, seconds: of the processor, and by the clock."""

    cpu_s: float
    wall_s: float


@dataclass(frozen=True)
class FolderTime:
    """Of one folder's fields. cells, screening: whole commands. over_cells: of their processor
    time. stages: medians of a field, ms.
    """

    folder: str
    fields: int
    cells: Taken
    screening: Taken
    over_cells: float
    stages: dict[str, float]

    @property
    def cells_ms(self) -> float:
        """Until the cells of the median field are found and named, warm."""
        return sum(self.stages[stage] for stage in CELLS_STAGES)


def main(
    folders: Sequence[Path],
    fields: int,
    repeats: int,
    memory_fields: int,
    beside: Path | None,
    json_file: Path | None,
) -> None:
    """Measure and print; write JSON where asked."""
    chosen_images = {folder: chosen(images_in([folder]), fields) for folder in folders}
    trees: dict[str, Path | None] = {} if beside is None else {str(beside): beside}
    trees["here"] = None
    first = next(iter(chosen_images.values()))[0]
    with tempfile.TemporaryDirectory() as scratch:
        jobs: dict[str, Callable[[], tuple[float, float]]] = {
            "bare": lambda: python(["-c", BARE_IMPORT])
        }
        for name, tree in trees.items():
            jobs[f"start {name}"] = command(tree, "cells", [first], ["--json", os.devnull])
            for folder, images in chosen_images.items():
                jobs[f"cells {name} {folder}"] = command(
                    tree, "cells", images, ["--json", os.devnull]
                )
                jobs[f"screen {name} {folder}"] = screening(tree, images, Path(scratch))
        taken = in_turn(jobs, repeats)
    equipment = open_equipment(None, None)
    print(told_machine(equipment))
    rows = []
    for folder, images in chosen_images.items():
        for name in trees:
            tell_commands(name, folder, len(images), taken)
        rows.append(folder_time(folder, images, taken, equipment, repeats))
    for name in trees:
        tell_start(name, taken)
    memory = memory_over([i for images in chosen_images.values() for i in images], memory_fields)
    print(
        f"memory: {memory[0]:.0f} MB after {SETTLED_FIELDS} fields, {memory[1]:.0f} MB after "
        f"{memory_fields}"
    )
    if json_file is not None:
        runner = equipment.finder.runner
        write_json_atomically(
            json_file,
            {
                "machine": machine(),
                "byte_dot_products": byte_dot_products(),
                "runtime": f"{runner.name} {runner.version}",
                "threads": equipment.device.inference.threads,
                "bundle_sha256": equipment.bundle.digest,
                "repeats": repeats,
                "folders": [{**asdict(row), "cells_ms": row.cells_ms} for row in rows],
                "cold_start": asdict(taken["start here"]),
                "bare_import": asdict(taken["bare"]),
                "cold_start_over_imports": taken["start here"].cpu_s / taken["bare"].cpu_s,
                "memory_mb": {"settled": memory[0], "after": memory[1], "fields": memory_fields},
            },
        )


def chosen(images: Sequence[Path], count: int) -> list[Path]:
    """So many of the images, evenly; all where there are no more."""
    if len(images) <= count:
        return list(images)
    return [images[place * len(images) // count] for place in range(count)]


def in_turn(
    jobs: Mapping[str, Callable[[], tuple[float, float]]], repeats: int
) -> dict[str, Taken]:
    """Medians of every job, all of them once a round; the round before the first fills caches."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    for round_ in range(repeats + 1):
        for name, job in jobs.items():
            taken = job()
            if round_:
                found[name].append(taken)
    return {
        name: Taken(*(statistics.median(values) for values in zip(*rows, strict=True)))
        for name, rows in found.items()
    }


def command(
    tree: Path | None, name: str, images: Sequence[Path], options: Sequence[str]
) -> Callable[[], tuple[float, float]]:
    """Runs an `edgehemo` command of a working tree (None: of this one) in a fresh process."""
    arguments = ["-m", "edgehemo", name, *(str(path.resolve()) for path in images), *options]
    return lambda: python(arguments, tree)


def screening(
    tree: Path | None, images: Sequence[Path], scratch: Path
) -> Callable[[], tuple[float, float]]:
    """Runs `edgehemo screen` of a working tree, each time into a new folder."""

    def run() -> tuple[float, float]:
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            return command(tree, "screen", images, ["--out", str(Path(folder) / "out")])()

    return run


def python(arguments: Sequence[str], tree: Path | None = None) -> tuple[float, float]:
    """Processor and clock seconds of a fresh Python."""
    environment = dict(os.environ)
    # Users' Pythons keep what they compiled.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if tree is not None:
        environment["PYTHONPATH"] = str(tree.resolve())
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        cwd=tempfile.gettempdir(),  # else the working folder's tree would come before the other
        capture_output=True,
        text=True,
        check=False,
    )
    wall_s, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in RAN:
        raise SystemExit(done.stderr.strip() or f"it ended with {done.returncode}")
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return cpu_s, wall_s


def folder_time(
    folder: Path,
    images: Sequence[Path],
    taken: Mapping[str, Taken],
    equipment: Equipment,
    repeats: int,
) -> FolderTime:
    """The commands' times of this tree, and the stages, told."""
    cells, screening = taken[f"cells here {folder}"], taken[f"screen here {folder}"]
    stages = stage_times(
        [path.read_bytes() for path in images],
        equipment.reader(),
        runs=repeats,
        clock=time.process_time,
    )
    tell_stages(stages)
    return FolderTime(
        folder=str(folder),
        fields=len(images),
        cells=cells,
        screening=screening,
        over_cells=screening.cpu_s / cells.cpu_s,
        stages={stage.stage: stage.median_ms for stage in stages},
    )


def memory_over(images: Sequence[Path], fields: int) -> tuple[float, float]:
    """MB that this process holds after `SETTLED_FIELDS` fields and after ``fields``, each read
    wholly; the images come again until there are enough.
    """
    reader = open_equipment(None, None).reader()
    settled = held = 0.0
    for number in range(fields):
        reader.read(read_frame(images[number % len(images)]))
        held = resident_mb()
        if number + 1 == min(SETTLED_FIELDS, fields):
            settled = held
    return settled, held


def resident_mb() -> float:
    """MB of this process that lie in memory now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def told_machine(equipment: Equipment) -> str:
    """The machine and what runs on it, in one line."""
    runner = equipment.finder.runner
    dots = {True: "with", False: "without", None: "unknown:"}[byte_dot_products()]
    return (
        f"{machine()['board']}, {dots} dot products of bytes; {runner.name} {runner.version}, "
        f"{equipment.device.inference.threads} thread(s)"
    )


def tell_commands(name: str, folder: Path, fields: int, taken: Mapping[str, Taken]) -> None:
    """Both commands over one folder, and their ratio."""
    cells, screening = taken[f"cells {name} {folder}"], taken[f"screen {name} {folder}"]
    print(
        f"{folder}, {name}: cells {1e3 * cells.cpu_s / fields:.1f} ms a field "
        f"(whole command, {fields} fields), screening {1e3 * screening.cpu_s / fields:.1f} ms; "
        f"{screening.cpu_s / cells.cpu_s:.2f} times its cells (goal {MOST_OVER_CELLS:g}); by the "
        f"clock {cells.wall_s:.2f} and {screening.wall_s:.2f} s"
    )


def tell_stages(stages: Sequence[StageTime]) -> None:
    """The stages of the median field and their shares."""
    for stage in stages:
        if not stage.median_ms:
            continue
        print(f"  {stage.stage:<22}{stage.median_ms:>8.2f} ms{stage.share:>6.0%}")
    cells_ms = sum(stage.median_ms for stage in stages if stage.stage in CELLS_STAGES)
    finder = next(stage for stage in stages if stage.stage == NETWORK_STAGE)
    print(f"  {'its cells, warm':<22}{cells_ms:>8.2f} ms, finder {finder.median_ms / cells_ms:.0%}")


def tell_start(name: str, taken: Mapping[str, Taken]) -> None:
    """The cold start over the imports."""
    start, bare = taken[f"start {name}"], taken["bare"]
    print(
        f"cold start, {name}: {start.cpu_s:.3f} s, {start.cpu_s / bare.cpu_s:.2f} times "
        f"`{BARE_IMPORT}` ({bare.cpu_s:.3f} s; goal {MOST_OVER_IMPORTS:g}); by the clock "
        f"{start.wall_s:.2f} s, {start.wall_s / bare.wall_s:.2f} times"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--fields", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory-fields", type=int, default=300)
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--json", type=Path, dest="json_file")
    given = parser.parse_args()
    main(
        given.folders,
        given.fields,
        given.repeats,
        given.memory_fields,
        given.beside,
        given.json_file,
    )
