"""One run of the process that captures and analyses, and the two threads that talk with it.

Nothing here waits for the process: one that hangs takes no orders, and must not hold up the page.
"""

from __future__ import annotations

import multiprocessing
import queue
import threading
from collections.abc import Callable

from edgehemo.kiosk.messages import Order, Report
from edgehemo.kiosk.worker import run

# How long the process may take to end by itself before it is made to.
END_S = 2.0


class ProcessLink:
    """source: the process's camera. hear: called with each report. ended: called with the exit
    code. Both are called in a thread of the link. OSError where no process can be started.
    """

    def __init__(
        self,
        source: str,
        hear: Callable[[ProcessLink, Report], None],
        ended: Callable[[ProcessLink, int | None], None],
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, there = context.Pipe()
        self._process = context.Process(target=run, args=(there, source), daemon=True)
        self._process.start()
        there.close()
        self._hear, self._ended, self._over = hear, ended, False
        self._orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        for work in (self._listen, self._send):
            threading.Thread(target=work, daemon=True).start()

    @property
    def pid(self) -> int | None:
        """Of the process."""
        return self._process.pid

    def order(self, order: Order) -> None:
        """Have something done; what is said to a process that ends is lost with it."""
        self._orders.put(order)

    def kill(self) -> None:
        """End a process that does not answer, at once."""
        self._process.kill()

    def close(self) -> None:
        """End the process: after what it does, or by force."""
        self._orders.put(None)
        self._process.join(END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _send(self) -> None:
        try:
            while not self._over:
                # None is told to the process too: it ends.
                self._connection.send(self._orders.get())
        except OSError:
            # It ended, which the other thread notices.
            pass

    def _listen(self) -> None:
        try:
            while True:
                self._hear(self, self._connection.recv())
        except (EOFError, OSError):
            pass
        self._process.join()
        self._over = True
        self._orders.put(None)
        self._ended(self, self._process.exitcode)
