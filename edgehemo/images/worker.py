"""A process of its own in which files are decoded that may cost more than they show.

TIFF and WebP are read by libraries of many corners, and a progressive JPEG of many scans is slow:
what goes wrong with them ends this process and not the screening. It has a limit of memory for
each picture, the caller one of time; it is kept for the next picture and ends by itself.

Wire format: a line of JSON and the bytes it counts, both ways.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import resource
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from io import FileIO, RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgehemo.errors import ImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# One picture of the largest size takes about 5 s on a Raspberry Pi 4.
DECODE_S = 30.0
# Python and the libraries from a slow card.
START_S = 60.0
# Without a picture for so long the process ends; the next one starts another.
IDLE_S = 30.0
# What a decoder takes beside the picture: its strip, the picture as 8-bit RGB, tables.
_COPIES = 3
# How the message of an error that nobody foresaw begins.
FAULT = "cannot be decoded"
_SPARE_BYTES = 128_000_000
_MAX_LINE_BYTES = 10_000
_CHUNK_BYTES = 1 << 20


class _EndedError(Exception):
    """The process is gone."""


class _LateError(Exception):
    """The process did not answer in time."""


class DecodingProcess:
    """Starts the process when it is first needed, and again after it ended or was ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._sent: bytes | None = None

    def decode(
        self, data: bytes, field: int, *, together: bool = False, limit_s: float = DECODE_S
    ) -> tuple[NDArray[np.uint8], int]:
        """`edgehemo.images.decoding.decode_field` of a file's bytes, in the process.

        Raises ImageError, without the file's name: what the decoder found, that it took longer
        than ``limit_s``, that it broke down, or that no process can be started.
        """
        with self._lock:
            for attempt in (1, 2):
                fresh = self._ensure_started()
                try:
                    answer = self._answer(data, field, together, limit_s)
                    break
                except _EndedError:
                    self._end()
                    # One that was waiting may have ended itself; a fresh one broke down on this.
                    if fresh or attempt == 2:
                        raise ImageError(
                            "makes the decoder break down: it is damaged, or made to do harm; "
                            "copy or take it again"
                        ) from None
                except _LateError:
                    self._end()
                    raise ImageError(
                        f"takes more than {limit_s:g} s to decode; save it anew as JPEG or PNG"
                    ) from None
                except BaseException:
                    self._end()
                    raise
        if isinstance(answer, ImageError):
            raise answer
        return answer

    def close(self) -> None:
        with self._lock:
            self._end()

    def _ensure_started(self) -> bool:
        """Whether a process had to be started: it died, or belongs to whom we were forked from."""
        running = self._process is not None and self._process.poll() is None
        if running and self._owner == os.getpid():
            return False
        if self._owner == os.getpid():
            self._end()
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            # Decoding has one thread, and each more would reserve memory.
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        try:
            self._process = subprocess.Popen(
                # -P: nothing is imported from the folder the user happens to be in.
                [sys.executable, "-P", "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
            self._owner = os.getpid()
            self._sent = None
            assert self._process.stdin is not None and self._process.stdout is not None
            os.set_blocking(self._process.stdin.fileno(), False)
            os.set_blocking(self._process.stdout.fileno(), False)
            self._read_line(time.monotonic() + START_S)
        except (OSError, MemoryError) as error:
            self._end()
            raise _no_process(str(error)) from None
        except (_EndedError, _LateError):
            self._end()
            raise _no_process("it ends at once or does not answer") from None
        return True

    def _answer(
        self, data: bytes, field: int, together: bool, limit_s: float
    ) -> tuple[NDArray[np.uint8], int] | ImageError:
        until = time.monotonic() + limit_s
        # The fields of one file are asked for one by one, and the file is sent once.
        again = self._sent is data
        ask = {"bytes": -1 if again else len(data), "field": field, "together": together}
        self._write(json.dumps(ask).encode() + b"\n", until)
        if not again:
            self._write(data, until)
            self._sent = data
        told = self._read_line(until)
        if "error" in told:
            return ImageError(str(told["error"]))
        height, width = told["shape"]
        pixels = np.empty((height, width, 3), dtype=np.uint8)
        self._read_into(pixels.data.cast("B"), until)
        return pixels, int(told["bits"])

    def _write(self, data: bytes, until: float) -> None:
        assert self._process is not None and self._process.stdin is not None
        to = self._process.stdin.fileno()
        view = memoryview(data)
        while view:
            _wait_for(until, writing=to)
            try:
                view = view[os.write(to, view[:_CHUNK_BYTES]) :]
            except BlockingIOError:
                continue
            except OSError:
                raise _EndedError from None

    def _read_line(self, until: float) -> dict[str, Any]:
        line = bytearray()
        one = memoryview(bytearray(1))
        while not line.endswith(b"\n"):
            self._read_into(one, until)
            line += one
            if len(line) > _MAX_LINE_BYTES:
                raise _EndedError
        told: dict[str, Any] = json.loads(line)
        return told

    def _read_into(self, into: memoryview, until: float) -> None:
        assert self._process is not None and self._process.stdout is not None
        fd = self._process.stdout.fileno()
        while into:
            _wait_for(until, reading=fd)
            try:
                count = os.readv(fd, [into])
            except BlockingIOError:
                continue
            if not count:
                raise _EndedError
            into = into[count:]

    def _end(self) -> None:
        process, self._process, self._sent = self._process, None, None
        if process is None or self._owner != os.getpid():
            return
        with contextlib.suppress(OSError):
            process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _wait_for(until: float, *, reading: int | None = None, writing: int | None = None) -> None:
    left = until - time.monotonic()
    if left <= 0:
        raise _LateError
    poll = select.poll()
    if reading is not None:
        poll.register(reading, select.POLLIN)
    if writing is not None:
        poll.register(writing, select.POLLOUT)
    if not poll.poll(1000 * left):
        raise _LateError


def _no_process(why: str) -> ImageError:
    return ImageError(f"{FAULT}: no process can be started for it ({why}); close other programs")


PROCESS = DecodingProcess()
atexit.register(PROCESS.close)


def _serve(asks: RawIOBase, answers: RawIOBase) -> None:
    """Answer until nobody asks any more."""
    # On the process's own side alone: the other only waits for it.
    from edgehemo.images.decoding import decode_field, layout_of  # noqa: PLC0415

    _tell(answers, {})
    data = b""
    while select.select([asks], [], [], IDLE_S)[0]:
        line = asks.readline(_MAX_LINE_BYTES)
        if not line:
            return
        ask = json.loads(line)
        if ask["bytes"] >= 0:
            data = _exactly(asks, ask["bytes"])
        try:
            layout = layout_of(data, together=ask["together"])
            header = layout.headers[ask["field"]]
            claimed = header.width * header.height * header.bytes_per_pixel
            with _memory_limit(_COPIES * claimed + 3 * len(data) + _SPARE_BYTES):
                pixels, bits = decode_field(data, layout, ask["field"])
        except ImageError as error:
            _tell(answers, {"error": str(error)})
        except Exception as error:  # a fault of ours, which the file is not to be blamed for
            said = " ".join(f"{type(error).__name__}: {error}".split())[:500]
            _tell(answers, {"error": f"{FAULT}: {said}; please report this"})
        else:
            _tell(answers, {"shape": pixels.shape[:2], "bits": bits}, pixels.data.cast("B"))


def _tell(answers: RawIOBase, told: dict[str, Any], body: memoryview | None = None) -> None:
    for part in (memoryview(json.dumps(told).encode() + b"\n"), body):
        view = part
        while view:
            view = view[answers.write(view) :]


def _exactly(asks: RawIOBase, count: int) -> bytes:
    data = bytearray(count)
    view = memoryview(data)
    while view:
        read = asks.readinto(view)
        if not read:
            raise EOFError
        view = view[read:]
    return bytes(data)


@contextlib.contextmanager
def _memory_limit(more_bytes: int) -> Iterator[None]:
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


if __name__ == "__main__":
    import cv2

    cv2.setNumThreads(1)
    # Unbuffered, both: whether something waits to be read is asked of the pipe itself.
    with FileIO(0, "rb") as _asks, FileIO(1, "wb") as _answers:
        _serve(_asks, _answers)
