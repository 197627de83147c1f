"""Serves the application over TLS until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator

import uvicorn
from starlette.types import ASGIApp

from edgehemo_laboratory.enrolment.certificates import Certificates
from edgehemo_laboratory.errors import LaboratoryError
from edgehemo_laboratory.server.shown import WithCertificate

# How long what is under way may take once the server was asked to end.
GRACE_S = 10
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# More connections at once than hundreds of kiosks make; beyond them 503 is the answer.
MOST_CONNECTIONS = 2000
_MOST_BESIDE = 20


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None: `serve` takes them."""
        yield


def listening(address: str, port: int, *, instead: str = "--port") -> socket.socket:
    """A socket to listen at; port 0: any that is free. instead: by what another is named.
    LaboratoryError where it is taken.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family, backlog=512)
    except OSError as error:
        raise LaboratoryError(
            f"{address} port {port} cannot be listened at ({error.strerror or error}): name "
            f"another with {instead}"
        ) from None


@contextlib.asynccontextmanager
async def served_beside(
    app: ASGIApp, at: socket.socket, tls: ssl.SSLContext | None = None
) -> AsyncIterator[None]:
    """Serve something small for as long as the context lasts. It takes few at once."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
        limit_concurrency=_MOST_BESIDE,
        proxy_headers=False,
    )
    config.load()
    config.ssl = tls
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[at]))
    try:
        yield
    finally:
        server.should_exit = True
        with contextlib.suppress(Exception):
            await serving


async def serve(
    app: ASGIApp,
    at: socket.socket,
    certificates: Certificates,
    *,
    started: Callable[[], None] = lambda: None,
    enough: asyncio.Event | None = None,
) -> None:
    """Serve until a signal comes, or `enough` is set. started: called once it answers."""
    config = uvicorn.Config(
        app,
        http=WithCertificate,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=GRACE_S,
        limit_concurrency=MOST_CONNECTIONS,
        h11_max_incomplete_event_size=16_384,
        proxy_headers=False,
        timeout_keep_alive=75,
    )
    config.load()
    config.ssl = certificates.tls()
    server = _Server(config)

    def end() -> None:
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, end)
    waiting = None if enough is None else asyncio.create_task(_when(enough, end))
    try:
        serving = asyncio.create_task(server.serve(sockets=[at]))
        while not (server.started or serving.done()):
            await asyncio.sleep(0.02)
        if server.started:
            started()
        await serving
    finally:
        if waiting is not None:
            waiting.cancel()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def _when(enough: asyncio.Event, end: Callable[[], None]) -> None:
    await enough.wait()
    end()
