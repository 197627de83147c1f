"""A process of ours that is talked to over pipes, and never waited for longer than it was given.

Wire format, both ways: a line of JSON, and the bytes that it announces.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from io import RawIOBase
from pathlib import Path
from typing import Any

# Python and the libraries from a slow card.
START_S = 60.0
_MAX_LINE_BYTES = 10_000
_CHUNK_BYTES = 1 << 20


class ChildEndedError(Exception):
    """The process is gone."""


class ChildLateError(Exception):
    """The process did not answer in time."""


class Child:
    """One process that runs a module of ours; it has begun once it told its first line.

    module: its dotted name. arguments: of its command line. pass_fds: open files that it inherits
    under their numbers. environment: variables beside this process's own. Raises OSError or
    MemoryError where none can be started, ChildEndedError or ChildLateError where it does not
    begin.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str] = (),
        *,
        pass_fds: Sequence[int] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, os.environ.get("PYTHONPATH", "")]
        self.owner = os.getpid()
        self._process = subprocess.Popen(
            # -P: nothing is imported from the folder the user happens to be in.
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=tuple(pass_fds),
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(path for path in paths if path),
                **(environment or {}),
            },
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._to, self._from = self._process.stdin.fileno(), self._process.stdout.fileno()
        try:
            os.set_blocking(self._to, False)
            os.set_blocking(self._from, False)
            self.read_line(time.monotonic() + START_S)
        except BaseException:
            self.end()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def exit_status(self, wait_s: float) -> int | None:
        """How it ended, a signal's number below 0; None where it has not within that time."""
        try:
            return self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            return None

    def write_line(self, told: dict[str, Any], until: float) -> None:
        self.write(json.dumps(told).encode() + b"\n", until)

    def write(self, data: bytes, until: float) -> None:
        """until: of the monotonic clock, as everywhere here."""
        view = memoryview(data)
        while view:
            _wait_for(until, writing=self._to)
            try:
                view = view[os.write(self._to, view[:_CHUNK_BYTES]) :]
            except BlockingIOError:
                continue
            except OSError:
                raise ChildEndedError from None

    def read_line(self, until: float) -> dict[str, Any]:
        line = bytearray()
        one = memoryview(bytearray(1))
        while not line.endswith(b"\n"):
            self.read_into(one, until)
            line += one
            if len(line) > _MAX_LINE_BYTES:
                raise ChildEndedError
        told: dict[str, Any] = json.loads(line)
        return told

    def read_into(self, into: memoryview, until: float) -> None:
        while into:
            _wait_for(until, reading=self._from)
            try:
                count = os.readv(self._from, [into])
            except BlockingIOError:
                continue
            if not count:
                raise ChildEndedError
            into = into[count:]

    def end(self) -> None:
        """Kill it, where this is the process that began it and none that was forked since."""
        if self.owner != os.getpid():
            return
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _wait_for(until: float, *, reading: int | None = None, writing: int | None = None) -> None:
    left = until - time.monotonic()
    if left <= 0:
        raise ChildLateError
    poll = select.poll()
    if reading is not None:
        poll.register(reading, select.POLLIN)
    if writing is not None:
        poll.register(writing, select.POLLOUT)
    if not poll.poll(1000 * left):
        raise ChildLateError


# -- the child's own side -----------------------------------------------------------------------


def tell(answers: RawIOBase, told: dict[str, Any], body: memoryview | None = None) -> None:
    """Write a line, and the bytes that it announces."""
    for part in (memoryview(json.dumps(told).encode() + b"\n"), body):
        view = part
        while view:
            view = view[answers.write(view) :]


def asked(asks: RawIOBase) -> dict[str, Any] | None:
    """The next line; None where nobody asks any more."""
    line = asks.readline(_MAX_LINE_BYTES)
    if not line:
        return None
    ask: dict[str, Any] = json.loads(line)
    return ask


def exactly(asks: RawIOBase, count: int) -> bytes:
    """So many bytes; EOFError where they end before."""
    data = bytearray(count)
    view = memoryview(data)
    while view:
        read = asks.readinto(view)
        if not read:
            raise EOFError
        view = view[read:]
    return bytes(data)


@contextlib.contextmanager
def memory_limit(more_bytes: int) -> Iterator[None]:
    """Let this process grow by no more than that; without a word where no limit can be set."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        wanted = pages * resource.getpagesize() + more_bytes
        if soft != resource.RLIM_INFINITY:
            wanted = min(wanted, soft)
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
    except (OSError, ValueError):
        yield
        return
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
