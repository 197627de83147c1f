"""A video read in a process of its own: FFmpeg, whose many readers a hostile file is made for.

The process may take so much memory, each look at the video so much time, and the whole of it so
much more. What goes wrong ends that process, and the screening goes on.
"""

from __future__ import annotations

import contextlib
import os
import time
from io import FileIO, RawIOBase
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from edgehemo.capture.footage import MAX_VIDEO_PIXELS, Footage
from edgehemo.errors import ImageError
from edgehemo.images.child import (
    START_S,
    Child,
    ChildEndedError,
    ChildLateError,
    asked,
    memory_limit,
    tell,
)

# Half a second of the largest video takes about 3 s on a Raspberry Pi 4.
LOOK_S = 30.0
# All looks together: an hour of video on the slowest board takes about as long.
WHOLE_S = 3600.0
# Twenty frames of the largest size as a decoder holds them, two as RGB, and the libraries' own.
MEMORY_BYTES = 1_000_000_000
_MOST_THREADS = 4
_DAMAGED = "cannot be read to its end: it is damaged, or made to do harm; copy or record it again"


class VideoProcess:
    """A `edgehemo.capture.footage.Video`, opened when it is entered.

    Entering and looking raise ImageError: what the video does, without its name.
    """

    def __init__(
        self,
        path: Path,
        *,
        look_s: float = LOOK_S,
        whole_s: float = WHOLE_S,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self._path, self._memory_bytes = path, memory_bytes
        self._look_s, self._whole_s, self._left_s = look_s, whole_s, whole_s
        self._child: Child | None = None
        self.fps = self.frame_count = 0.0
        self.frames, self.time_s = 0, 0.0

    @property
    def pid(self) -> int | None:
        """Of the process; None where there is none."""
        return None if self._child is None else self._child.pid

    def __enter__(self) -> Self:
        try:
            with self._path.open("rb") as file:
                # FFmpeg reads a meaning into names, and opens this file by its number instead.
                number = file.fileno()
                given = [str(number), str(self._memory_bytes)]
                self._child = Child(__name__, given, pass_fds=[number], environment=_SWITCHES)
        except (OSError, MemoryError, ChildEndedError, ChildLateError) as error:
            said = str(error) or "it ends at once or does not answer"
            raise ImageError(
                f"no process can be started for ({said}); close other programs"
            ) from None
        try:
            told, _ = self._answer({}, START_S)
        except BaseException:
            self._end()
            raise
        self.fps, self.frame_count = _number(told["fps"]), _number(told["frame_count"])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def look(self, due_s: float) -> NDArray[np.uint8] | None:
        started = time.monotonic()
        told, pixels = self._answer({"due_s": due_s}, min(self._look_s, self._left_s))
        self._left_s -= time.monotonic() - started
        self.frames, self.time_s = int(told["frames"]), float(told["time_s"])
        return pixels

    def _answer(
        self, ask: dict[str, Any], limit_s: float
    ) -> tuple[dict[str, Any], NDArray[np.uint8] | None]:
        """What the process tells, and the frame that comes with it; what it does wrong ends it."""
        if self._child is None:
            raise ImageError(_DAMAGED)
        until = time.monotonic() + limit_s
        pixels = None
        try:
            self._child.write_line(ask, until)
            told = self._child.read_line(until)
            if told.get("shape") is not None:
                pixels = np.empty((*told["shape"], 3), dtype=np.uint8)
                self._child.read_into(pixels.data.cast("B"), until)
        except ChildEndedError:
            self._end()
            raise ImageError(_DAMAGED) from None
        except ChildLateError:
            self._end()
            if limit_s < self._look_s:
                raise ImageError(
                    f"takes more than {self._whole_s / 60:g} minutes to read; cut it"
                ) from None
            raise ImageError(
                f"takes more than {limit_s:g} s to give a frame; record it anew as MP4 with H.264"
            ) from None
        if "error" in told:
            raise ImageError(str(told["error"]))
        return told, pixels

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end()


# What FFmpeg and the other libraries of the process are told before they begin: no list of
# addresses inside a file is followed, no larger frame is made room for.
_SWITCHES = {
    "OPENCV_FFMPEG_CAPTURE_OPTIONS": f"protocol_whitelist;file|max_pixels;{MAX_VIDEO_PIXELS}",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}


def _number(told: float | None) -> float:
    return float("nan") if told is None else told


def _serve(fd: int, memory_bytes: int, asks: RawIOBase, answers: RawIOBase) -> None:
    """Open the video of an open file, say what it tells, and give a frame for each look."""
    tell(answers, {})
    if asked(asks) is None:
        return
    import cv2  # noqa: PLC0415  the other side only waits for it

    with contextlib.suppress(OSError):
        # Where the machine's memory runs out, this process is to go before any other.
        Path("/proc/self/oom_score_adj").write_text("1000")
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    with memory_limit(memory_bytes):
        try:
            capture = cv2.VideoCapture(
                _name_of(fd), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads]
            )
            with Footage(capture) as footage:
                facts = {"fps": footage.fps, "frame_count": footage.frame_count}
                tell(
                    answers, {key: told if isfinite(told) else None for key, told in facts.items()}
                )
                while (ask := asked(asks)) is not None:
                    pixels = footage.look(ask["due_s"])
                    where = {"frames": footage.frames, "time_s": footage.time_s}
                    shape = None if pixels is None else pixels.shape[:2]
                    body = None if pixels is None else pixels.data.cast("B")
                    tell(answers, {**where, "shape": shape}, body)
        except ImageError as error:
            tell(answers, {"error": str(error)})
        except (MemoryError, cv2.error):
            tell(answers, {"error": _DAMAGED})


def _name_of(fd: int) -> str:
    """The name of an open file that has no meaning to FFmpeg."""
    named = Path("/proc/self/fd")
    return str((named if named.is_dir() else Path("/dev/fd")) / str(fd))


if __name__ == "__main__":
    import sys

    with FileIO(0, "rb") as _asks, FileIO(1, "wb") as _answers:
        _serve(int(sys.argv[1]), int(sys.argv[2]), _asks, _answers)
