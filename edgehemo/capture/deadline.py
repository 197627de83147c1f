"""A deadline for a call that cannot be interrupted: a driver that hangs keeps its own thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def within(
    deadline_s: float, work: Callable[[], T], *, too_late: Callable[[T], object] | None = None
) -> T:
    """What ``work`` returns or raises; TimeoutError where it takes longer than ``deadline_s``.

    The work then goes on in its thread, and its result is handed to ``too_late``, so that a device
    that opened after all is let go again.
    """
    done: Future[T] = Future()
    lock = threading.Lock()
    given_up = False

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            done.set_exception(error)
            return
        with lock:
            late = given_up
            if not late:
                done.set_result(result)
        if late and too_late is not None:
            too_late(result)

    threading.Thread(target=run, name="within a deadline", daemon=True).start()
    try:
        return done.result(timeout=deadline_s)
    except TimeoutError:
        with lock:
            if done.done():
                return done.result()
            given_up = True
        raise
