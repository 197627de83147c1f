"""Serves the page until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Literal

import uvicorn
from starlette.types import ASGIApp

from edgehemo.errors import UsageError

HOST = "127.0.0.1"
# How long what is under way may take once the kiosk was asked to end.
GRACE_S = 3
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class _Server(uvicorn.Server):
    """One of the servers of a kiosk."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None: `serve` takes them for all servers."""
        yield


def listening(port: int) -> socket.socket:
    """A socket on the loopback address; port 0: any that is free. UsageError where it is taken."""
    try:
        return socket.create_server((HOST, port), backlog=64)
    except OSError as error:
        raise UsageError(
            f"port {port} of {HOST} cannot be used ({error.strerror or error}): another kiosk may "
            "run; stop it or name another with --port"
        ) from None


async def serve(
    application: ASGIApp,
    at: socket.socket,
    release: Callable[[], None],
    beyond: tuple[socket.socket, ssl.SSLContext] | None = None,
    beside: Callable[[], Coroutine[Any, Any, None]] | None = None,
    enough: asyncio.Event | None = None,
) -> None:
    """Serve until a signal comes. release: called then, to end the long answers. beyond: a socket
    at which the same is served by TLS. beside: begun once the page answers, cancelled at the end.
    enough: ends it too.
    """
    servers = [_Server(_configured(application, lifespan="on"))]
    sockets = [at]
    if beyond is not None:
        config = _configured(application, lifespan="off")
        config.load()
        config.ssl = beyond[1]
        servers.append(_Server(config))
        sockets.append(beyond[0])

    def end() -> None:
        for server in servers:
            server.should_exit = True
        release()

    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, end)
    try:
        first = asyncio.create_task(servers[0].serve(sockets=[sockets[0]]))
        # The kiosk is begun by the first: nobody is answered before.
        while not (servers[0].started or first.done()):
            await asyncio.sleep(0.02)
        others = [
            asyncio.create_task(server.serve(sockets=[there]))
            for server, there in zip(servers[1:], sockets[1:], strict=True)
        ]
        companion = None
        asked = asyncio.create_task(_when(enough, end))
        if beside is not None and not first.done():
            companion = asyncio.create_task(beside())
        await first
        asked.cancel()
        if companion is not None:
            companion.cancel()
        end()
        await asyncio.gather(*others)
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def _when(enough: asyncio.Event | None, end: Callable[[], None]) -> None:
    if enough is not None:
        await enough.wait()
        end()


def _configured(application: ASGIApp, lifespan: Literal["on", "off"]) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        lifespan=lifespan,
        timeout_graceful_shutdown=GRACE_S,
        limit_concurrency=64,
        h11_max_incomplete_event_size=16_384,
        proxy_headers=False,
    )
