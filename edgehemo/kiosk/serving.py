"""Serves the page until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp

from edgehemo.errors import UsageError

HOST = "127.0.0.1"
# How long what is under way may take once the kiosk was asked to end.
GRACE_S = 3
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class _Server(uvicorn.Server):
    """Ends in order by a signal; the process then exits with 0."""

    def __init__(self, config: uvicorn.Config, release: Callable[[], None]) -> None:
        super().__init__(config)
        self._release = release

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals for as long as it serves."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._end)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    def _end(self) -> None:
        self.should_exit = True
        self._release()


def listening(port: int) -> socket.socket:
    """A socket on the loopback address; port 0: any that is free. UsageError where it is taken."""
    try:
        return socket.create_server((HOST, port), backlog=64)
    except OSError as error:
        raise UsageError(
            f"port {port} of {HOST} cannot be used ({error.strerror or error}): another kiosk may "
            "run; stop it or name another with --port"
        ) from None


async def serve(application: ASGIApp, at: socket.socket, release: Callable[[], None]) -> None:
    """Serve until a signal comes. release: called then, to end the long answers."""
    config = uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        lifespan="on",
        timeout_graceful_shutdown=GRACE_S,
        limit_concurrency=64,
        h11_max_incomplete_event_size=16_384,
    )
    await _Server(config, release).serve(sockets=[at])
