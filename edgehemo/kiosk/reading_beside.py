"""Fields are read beside the live picture: in one thread, in the order they were taken.

Reading a field takes longer than a picture may; the libraries that read let the other thread go on
meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from edgehemo.images.frame import Frame


class ReadingBeside:
    """Enter it as a context; what was not begun when it is left is not read any more.

    read: reads one field and says whether more are wanted. Its errors are raised by `unread`, in
    the thread that takes the pictures.
    """

    def __init__(self, read: Callable[[Frame], bool]) -> None:
        self._read = read
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kiosk-reading")
        self._waiting: deque[Future[None]] = deque()
        self._enough = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The field that is being read is read to its end: a thread cannot be stopped.
        self._thread.shutdown(wait=True, cancel_futures=True)

    def take(self, frame: Frame) -> None:
        """Have a field read."""
        self._waiting.append(self._thread.submit(self._read_one, frame))

    def _read_one(self, frame: Frame) -> None:
        if not self._enough:
            self._enough = not self._read(frame)

    @property
    def unread(self) -> int:
        """How many were taken and are not read yet. Raises what reading one raised."""
        while self._waiting and self._waiting[0].done():
            self._waiting.popleft().result()
        return len(self._waiting)

    @property
    def enough(self) -> bool:
        """Whether no more fields are wanted."""
        return self._enough
