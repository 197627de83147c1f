"""A process of its own in which files are decoded that may cost more than they show.

TIFF and WebP are read by libraries of many corners, and a progressive JPEG of many scans is slow:
what goes wrong with them ends this process and not the screening. It has a limit of memory for
each picture, the caller one of time; it is kept for the next picture and ends by itself.
"""

from __future__ import annotations

import atexit
import os
import select
import threading
import time
from io import FileIO, RawIOBase
from typing import TYPE_CHECKING

import numpy as np

from edgehemo.errors import ImageError
from edgehemo.images.child import (
    Child,
    ChildEndedError,
    ChildLateError,
    asked,
    exactly,
    memory_limit,
    tell,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

# One picture of the largest size takes about 5 s on a Raspberry Pi 4.
DECODE_S = 30.0
# Without a picture for so long the process ends; the next one starts another.
IDLE_S = 30.0
# What a decoder takes beside the picture: its strip, the picture as 8-bit RGB, tables.
_COPIES = 3
# How the message of an error that nobody foresaw begins.
FAULT = "cannot be decoded"
_SPARE_BYTES = 128_000_000


class DecodingProcess:
    """Starts the process when it is first needed, and again after it ended or was ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: Child | None = None
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
                child, fresh = self._started()
                try:
                    answer = self._answer(child, data, field, together, limit_s)
                    break
                except ChildEndedError:
                    self._end()
                    # One that was waiting may have ended itself; a fresh one broke down on this.
                    if fresh or attempt == 2:
                        raise ImageError(
                            "makes the decoder break down: it is damaged, or made to do harm; "
                            "copy or take it again"
                        ) from None
                except ChildLateError:
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

    def _started(self) -> tuple[Child, bool]:
        """The process, and whether it was started now: it had died, or we were forked since."""
        if self._child is not None and self._child.owner == os.getpid() and self._child.running:
            return self._child, False
        self._end()
        try:
            # Decoding has one thread, and each more would reserve memory.
            one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            self._child = Child(__name__, environment=one_thread)
        except (OSError, MemoryError) as error:
            raise _no_process(str(error)) from None
        except (ChildEndedError, ChildLateError):
            raise _no_process("it ends at once or does not answer") from None
        return self._child, True

    def _answer(
        self, child: Child, data: bytes, field: int, together: bool, limit_s: float
    ) -> tuple[NDArray[np.uint8], int] | ImageError:
        until = time.monotonic() + limit_s
        # The fields of one file are asked for one by one, and the file is sent once.
        again = self._sent is data
        ask = {"bytes": -1 if again else len(data), "field": field, "together": together}
        child.write_line(ask, until)
        if not again:
            child.write(data, until)
            self._sent = data
        told = child.read_line(until)
        if "error" in told:
            return ImageError(str(told["error"]))
        height, width = told["shape"]
        pixels = np.empty((height, width, 3), dtype=np.uint8)
        child.read_into(pixels.data.cast("B"), until)
        return pixels, int(told["bits"])

    def _end(self) -> None:
        child, self._child, self._sent = self._child, None, None
        if child is not None:
            child.end()


def _no_process(why: str) -> ImageError:
    return ImageError(f"{FAULT}: no process can be started for it ({why}); close other programs")


PROCESS = DecodingProcess()
atexit.register(PROCESS.close)


def _serve(asks: RawIOBase, answers: RawIOBase) -> None:
    """Answer until nobody asks any more."""
    # On the process's own side alone: the other only waits for it.
    from edgehemo.images.decoding import decode_field, layout_of  # noqa: PLC0415

    tell(answers, {})
    data = b""
    while select.select([asks], [], [], IDLE_S)[0]:
        ask = asked(asks)
        if ask is None:
            return
        if ask["bytes"] >= 0:
            data = exactly(asks, ask["bytes"])
        try:
            layout = layout_of(data, together=ask["together"])
            header = layout.headers[ask["field"]]
            claimed = header.width * header.height * header.bytes_per_pixel
            with memory_limit(_COPIES * claimed + 3 * len(data) + _SPARE_BYTES):
                pixels, bits = decode_field(data, layout, ask["field"])
        except ImageError as error:
            tell(answers, {"error": str(error)})
        except Exception as error:  # a fault of ours, which the file is not to be blamed for
            said = " ".join(f"{type(error).__name__}: {error}".split())[:500]
            tell(answers, {"error": f"{FAULT}: {said}; please report this"})
        else:
            tell(answers, {"shape": pixels.shape[:2], "bits": bits}, pixels.data.cast("B"))


if __name__ == "__main__":
    import cv2

    cv2.setNumThreads(1)
    # Unbuffered, both: whether something waits to be read is asked of the pipe itself.
    with FileIO(0, "rb") as _asks, FileIO(1, "wb") as _answers:
        _serve(_asks, _answers)
