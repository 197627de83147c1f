"""Runs of `edgehemo archive reread` as processes: timed, watched, killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from edgehemo_laboratory.archive import layout
from edgehemo_laboratory.archive.place import open_archive

Said = Callable[[str], None]
_WATCH_S = 2.0
# Memory of a run is looked at in so many parts of it.
_PARTS = 10


class Watched:
    """A run, and what memory its parts held while it went."""

    def __init__(self, store: Path, out: Path, workers: int, batch: int) -> None:
        self.out = out
        with out.with_suffix(".log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "edgehemo", "archive", "reread", "--store", str(store),
                    "--workers", str(workers), "--batch", str(batch), "--json", str(out),
                ],
                stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        # What each part held at each look, MB; parts come and go as they are killed.
        self.memory: dict[str, list[float]] = {"scheduler": [], "workers": [], "readers": []}

    def watch(self) -> None:
        """Note what memory its parts hold now."""
        with contextlib.suppress(psutil.Error):
            top = psutil.Process(self.process.pid)
            self.memory["scheduler"].append(top.memory_info().rss / 1e6)
            workers, readers = [], []
            for worker in top.children():
                inner = [
                    each for each in worker.children() if "reader_process" in str(each.cmdline())
                ]
                if inner:
                    workers.append(worker.memory_info().rss / 1e6)
                    readers += [each.memory_info().rss / 1e6 for each in inner]
            if readers:
                self.memory["workers"].append(max(workers))
                self.memory["readers"].append(max(readers))

    def workers(self) -> list[Any]:
        with contextlib.suppress(psutil.Error):
            return [
                worker
                for worker in psutil.Process(self.process.pid).children()
                if any("reader_process" in str(each.cmdline()) for each in worker.children())
            ]
        return []

    def until(self, there: Callable[[], bool]) -> bool:
        """Watch until something is so; False where the run ended before."""
        while not there():
            if self.process.poll() is not None:
                return False
            self.watch()
            time.sleep(_WATCH_S)
        return True

    def kill(self) -> None:
        """The run with its scheduler, as by `kill -9`; what it began ends by itself."""
        below = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait()
        psutil.wait_procs(below, timeout=60)

    def ends(self) -> dict[str, Any]:
        self.until(lambda: False)
        if self.process.wait() != 0:
            raise SystemExit(self.out.with_suffix(".log").read_text()[-2000:])
        found: dict[str, Any] = json.loads(self.out.read_text())
        return found


def parts(store: Path) -> int:
    """Parts with fields that an archive holds."""
    archive = open_archive(str(store))
    return sum("/fields/parts/" in key for key in archive.store.keys(layout.READINGS))


def _reached(store: Path, wanted: float) -> bool:
    return parts(store) >= wanted


def rate(store: Path, batch: int, workers: int) -> float:
    """Fields a second between the first parts and the last: without starting and ending."""
    files = sorted(
        (store / "readings").glob("*/fields/parts/*/*.parquet"),
        key=lambda path: path.stat().st_mtime,
    )
    times = [path.stat().st_mtime for path in files]
    return batch * (len(files) - workers) / (times[-1] - times[workers - 1])


def killed_run(
    store: Path, out: Path, *, fields: int, workers: int, batch: int, said: Said
) -> dict[str, Any]:
    """Read an archive while a worker, then the run with its scheduler, then another worker are
    killed: at a quarter, a half and three quarters.
    """
    total = -(-fields // batch)
    begun_s = time.monotonic()
    memory: dict[str, list[float]] = {"scheduler": [], "workers": [], "readers": []}
    kills = {"workers": 0, "runs": 0}
    run = Watched(store, out, workers, batch)
    for share, what in ((0.25, "workers"), (0.5, "runs"), (0.75, "workers")):
        if not run.until(partial(_reached, store, share * total)):
            break
        if what == "workers" and (found := run.workers()):
            found[0].send_signal(signal.SIGKILL)
            kills["workers"] += 1
            said(f"a worker is killed at {parts(store)} of {total} parts")
        elif what == "runs":
            run.kill()
            kills["runs"] += 1
            said(f"the run and its scheduler are killed at {parts(store)} of {total} parts")
            _join(memory, run.memory)
            run = Watched(store, out, workers, batch)
    told = run.ends()
    _join(memory, run.memory)
    reading = told["reading"]
    return {
        "fields": fields,
        "read": reading["read"],
        "unreadable": reading["unreadable"],
        "set_aside": reading["set_aside"],
        "waiting": reading["waiting"],
        "twice": reading["twice"],
        "samples": reading["samples"],
        "samples_read": reading["samples_read"],
        "workers": workers,
        "workers_killed": kills["workers"],
        "runs_killed": kills["runs"],
        "batches_begun_again": told["lost"],
        "seconds": round(time.monotonic() - begun_s, 1),
        "memory_mb": {name: _by_part(values) for name, values in memory.items()},
    }


def _join(memory: dict[str, list[float]], more: dict[str, list[float]]) -> None:
    for name, values in more.items():
        memory[name] += values


def _by_part(values: list[float]) -> list[float]:
    """The most in each tenth of the time, MB."""
    if not values:
        return []
    size = max(1, len(values) // _PARTS)
    return [round(max(values[at : at + size]), 1) for at in range(0, len(values), size)][:_PARTS]


@contextlib.contextmanager
def timed(into: dict[str, Any], name: str, count: int = 1) -> Iterator[None]:
    """Note how long something takes, a part of ``count``, in milliseconds; and how much of that
    this process worked (``..._cpu_ms``), which others on the machine do not lengthen.
    """
    begun_s, cpu_s = time.perf_counter(), time.process_time()
    yield
    into[name] = round(1000 * (time.perf_counter() - begun_s) / count, 3)
    into[f"{name.removesuffix('_ms')}_cpu_ms"] = round(
        1000 * (time.process_time() - cpu_s) / count, 3
    )
