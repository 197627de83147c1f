"""How long screening one sample takes from the command to the report, and where the time goes.

``python benchmarks/screening_time.py FOLDER [--fields 20] [--repeats 3] [--json FILE]``: screens
so many fields, evenly chosen from the folder, with `edgehemo screen` in a fresh process; then in
this process, warm, without and with the report; then times every stage field by field. Run it on
an otherwise idle machine: nothing here can tell a busy one.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edgehemo.api import screen
from edgehemo.bench.stages import NETWORK_STAGE, StageTime, machine, stage_times
from edgehemo.device.equipment import open_equipment
from edgehemo.files.atomic import write_json_atomically
from edgehemo.images.reading import images_in

# What the command must import whatever it does: its start is measured against this.
BARE_IMPORT = "import onnxruntime, cv2"
# Exit codes of a screening that ran: a result, or one withheld.
RAN = (0, 1)


@dataclass(frozen=True)
class ScreeningTime:
    """Medians, seconds. command_s: whole fresh process. report_s: drawing and writing.

    start_s: what the fresh process takes over the warm one. stages: of the median field.
    """

    fields: int
    command_s: float
    bare_import_s: float
    warm_s: float
    report_s: float
    start_s: float
    stages: dict[str, float]


def main(folder: Path, fields: int, repeats: int, json_file: Path | None) -> None:
    """Measure and print; write JSON where asked."""
    images = chosen(images_in([folder]), fields)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        command = median_of(repeats, lambda: run_command(images, out / "command"))
        bare = median_of(repeats, lambda: run_python(BARE_IMPORT))
        screen(images[:2])  # fills caches
        silent = median_of(repeats, lambda: timed(lambda: screen(images)))
        written = median_of(repeats, lambda: timed(lambda: screen(images, out / "warm")))
    equipment = open_equipment(None, None)
    stages = stage_times(
        [path.read_bytes() for path in images],
        equipment.reader(),
        runs=repeats,
    )
    result = ScreeningTime(
        fields=len(images),
        command_s=command,
        bare_import_s=bare,
        warm_s=written,
        report_s=max(0.0, written - silent),
        start_s=max(0.0, command - written),
        stages={stage.stage: stage.median_ms / 1e3 for stage in stages},
    )
    tell(result, stages)
    if json_file is not None:
        runner = equipment.finder.runner
        write_json_atomically(
            json_file,
            {
                "machine": machine(),
                "runtime": f"{runner.name} {runner.version}",
                "threads": equipment.device.inference.threads,
                "bundle_sha256": equipment.bundle.digest,
                "repeats": repeats,
                **asdict(result),
            },
        )


def tell(result: ScreeningTime, stages: Sequence[StageTime]) -> None:
    """Print the times and their shares of the whole command."""
    whole = result.command_s
    print(f"{machine()['board']}, {result.fields} fields")
    print(f"{'part':<28}{'seconds':>9}{'share':>8}")
    rows = [("start and opening", result.start_s)]
    rows += [(stage.stage, result.fields * stage.median_ms / 1e3) for stage in stages]
    rows.append(("pictures, JSON and report", result.report_s))
    for name, seconds in rows:
        print(f"{name:<28}{seconds:>9.2f}{seconds / whole:>8.0%}")
    print(f"{'whole command':<28}{whole:>9.2f}")
    field_s = sum(result.stages.values())
    print(f"one field {1e3 * field_s:.1f} ms, network {result.stages[NETWORK_STAGE] / field_s:.0%}")
    print(f"warm, in one process: {result.warm_s:.2f} s")
    print(f"start over `{BARE_IMPORT}` ({result.bare_import_s:.2f} s): ", end="")
    print(f"{result.start_s / result.bare_import_s:.1f} times")


def chosen(images: Sequence[Path], fields: int) -> list[Path]:
    """So many of the images, evenly spread; all where there are fewer."""
    count = min(fields, len(images))
    return [images[i * len(images) // count] for i in range(count)]


def run_command(images: Sequence[Path], out: Path) -> float:
    """Seconds of `edgehemo screen` in a fresh process."""
    arguments = [sys.executable, "-m", "edgehemo", "screen", *map(str, images), "--out", str(out)]
    start = time.perf_counter()
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode not in RAN:
        raise SystemExit(done.stderr.strip() or f"edgehemo screen ended with {done.returncode}")
    return seconds


def run_python(code: str) -> float:
    """Seconds of a fresh Python that runs ``code``."""
    return timed(lambda: subprocess.run([sys.executable, "-c", code], check=True))


def timed(work: Callable[[], object]) -> float:
    """Seconds that ``work`` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def median_of(repeats: int, measure: Callable[[], float]) -> float:
    """Median of so many measurements."""
    return statistics.median(measure() for _ in range(repeats))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fields", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, dest="json_file")
    given = parser.parse_args()
    main(given.folder, given.fields, given.repeats, given.json_file)
