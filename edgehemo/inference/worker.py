"""One artefact in a process of its own, as a device would run it.

The parent sends inputs and reads outputs as plain records (no pickles) over the child's pipes. What
a check in the exporting process could share with it (weights in memory, a library that only the
workstation has) is not there; cold start and peak memory are the artefact's own.

`python -P -m edgehemo.inference.worker FORMAT PATH THREADS DIGESTS` is the child.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import BundleError, EdgeHemoError, MissingDependencyError
from edgehemo.inference import format_named, open_runner

if TYPE_CHECKING:
    from edgehemo.bundle.manifest import ArtefactFormat
    from edgehemo.inference.content import Digests

PROCESS_STATUS = Path("/proc/self/status")
# Before the child's last words: why it cannot go on, and what is not installed.
_REASON, _MISSING = "edgehemo-worker: ", "edgehemo-worker-needs: "


class WorkerRunner:
    """A runner whose artefact lives in a fresh process; see `edgehemo.inference.DescribedRunner`.

    cold_start_s: from starting the process to the first answer's readiness (library imported,
    model opened). Raises BundleError with the runtime's own line where it cannot be opened,
    MissingDependencyError where there is no such runtime.
    """

    def __init__(
        self,
        path: Path,
        format: ArtefactFormat,
        *,
        threads: int,
        digests: Digests | None = None,
    ) -> None:
        started = time.perf_counter()
        stated = json.dumps(dict(digests or {}))
        # A file, not a pipe: what libraries say may be longer than a pipe holds.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        self._process = subprocess.Popen(
            # -P: nothing is imported from the folder that the user happens to be in.
            [sys.executable, "-P", "-m", __name__, format, str(path), str(threads), stated],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
        )
        told = self._told()
        self.cold_start_s = time.perf_counter() - started
        self.name: str = told["name"]
        self.version: str = told["version"]
        self.input_type: str = told["input_type"]
        self.input_shape = tuple(told["input_shape"])
        self.output_shape = tuple(told["output_shape"])
        self._timing: dict[str, Any] = told

    @property
    def peak_memory_mb(self) -> float:
        """Largest resident set of the process up to its last answer, MB."""
        return float(self._timing["peak_memory_mb"])

    @property
    def last_run_s(self) -> float:
        """What the last run took inside the process, transport not counted."""
        return float(self._timing["run_s"])

    def run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            write_record(self._process.stdin, codes)
            self._timing = self._told()
            return np.asarray(read_record(self._process.stdout), dtype=np.float32)
        except (BrokenPipeError, EOFError) as error:
            raise self._failure() from error

    def close(self) -> None:
        if self._process.stdin is not None and not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):  # what an ended process did not take
                self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._said.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _told(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._failure()
        told: dict[str, Any] = json.loads(line)
        return told

    def _failure(self) -> EdgeHemoError:
        """What the ended process said last."""
        code = self._process.wait()
        self._said.seek(0)
        lines = self._said.read().decode("utf-8", "replace").splitlines()
        self.close()
        for line in reversed(lines):
            if line.startswith(_MISSING):
                return MissingDependencyError(line.removeprefix(_MISSING))
            if line.startswith(_REASON):
                return BundleError(line.removeprefix(_REASON))
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        return BundleError(f"the runtime's process ended with {code} ({last})")


def write_record(pipe: IO[bytes], array: NDArray[Any]) -> None:
    """One array: a line of JSON (type, shape) and its bytes in C order."""
    header = {"dtype": array.dtype.str, "shape": array.shape}
    pipe.write(json.dumps(header).encode() + b"\n")
    pipe.write(np.ascontiguousarray(array).tobytes())
    pipe.flush()


def read_record(pipe: IO[bytes]) -> NDArray[Any]:
    """The next record of `write_record`; EOFError where the pipe has ended."""
    line = pipe.readline()
    if not line:
        raise EOFError
    header = json.loads(line)
    dtype, shape = np.dtype(header["dtype"]), tuple(header["shape"])
    size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    data = pipe.read(size)
    if len(data) != size:
        raise EOFError
    return np.frombuffer(data, dtype).reshape(shape)


def peak_memory_mb() -> float:
    """Largest resident set of this program so far, MB.

    The kernel's own record of it: what getrusage says begins with that of the process that started
    this one.
    """
    with contextlib.suppress(OSError):
        for line in PROCESS_STATUS.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def serve(format: ArtefactFormat, path: Path, threads: int, digests: Digests) -> None:
    """Open the artefact, then answer records until the input ends."""
    # Libraries write to standard output as they please: the records get a descriptor of their own.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    runner = open_runner(path, format, threads=threads, digests=digests)
    tell = {
        "name": runner.name,
        "version": runner.version,
        "input_type": runner.input_type,
        "input_shape": list(runner.input_shape),
        "output_shape": list(runner.output_shape),
    }
    run_s = 0.0
    out: NDArray[np.float32] | None = None
    while True:
        record = {**tell, "peak_memory_mb": peak_memory_mb(), "run_s": run_s}
        answers.write(json.dumps(record).encode() + b"\n")
        if out is not None:
            write_record(answers, out)
        answers.flush()
        try:
            codes = read_record(sys.stdin.buffer)
        except EOFError:
            return
        started = time.perf_counter()
        out = runner.run(codes)
        run_s = time.perf_counter() - started


def main() -> None:
    """The child process: ``FORMAT PATH THREADS DIGESTS``.

    What stops it is told in one marked line.
    """
    format, path, threads, digests = sys.argv[1:5]
    try:
        serve(format_named(format), Path(path), int(threads), json.loads(digests))
    except EdgeHemoError as error:
        mark = _MISSING if isinstance(error, MissingDependencyError) else _REASON
        sys.stderr.write(f"{mark}{error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
