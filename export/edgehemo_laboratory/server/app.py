"""The laboratory's server: what kiosks ask, what people see, and one look after all of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgehemo.errors import place_of
from edgehemo_laboratory.enrolment.certificates import Certificates
from edgehemo_laboratory.errors import StorageError
from edgehemo_laboratory.metrics import Metrics
from edgehemo_laboratory.pictures.store import PictureStore
from edgehemo_laboratory.server.intake_routes import KioskRoutes
from edgehemo_laboratory.server.measured import Measured
from edgehemo_laboratory.storage.interface import Storage

log = logging.getLogger(__name__)

# As on the kiosk: no inline script or style, nothing from elsewhere, in no frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = (
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    # With "no-referrer" browsers call the origin of our own forms null.
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
    ("strict-transport-security", "max-age=31536000"),
    ("cache-control", "no-store"),
)


class WithHeaders:
    """Gives every answer its headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = {name for name, _ in message["headers"]}
                extra = [(n.encode(), v.encode()) for n, v in HEADERS if n.encode() not in known]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        await self._app(scope, receive, with_headers)


def application(
    storage: Storage,
    certificates: Certificates,
    pictures: PictureStore | None,
    pages: Sequence[BaseRoute] = (),
    metrics: Metrics | None = None,
) -> ASGIApp:
    """The whole application. pages: what people see, beside the kiosks' interface. metrics: told
    of every request; None where nobody counts.
    """
    metrics = Metrics() if metrics is None else metrics

    async def alive(_: Request) -> Response:
        await storage.rows("SELECT 1")
        return PlainTextResponse("alive\n")

    async def broken(request: Request, error: Exception) -> Response:
        # Not its message, which may hold a patient's data.
        log.error("%s at %s", type(error).__name__, place_of(error))
        return PlainTextResponse("a fault of the laboratory's server\n", 500)

    async def away(_: Request, error: Exception) -> Response:
        log.error("%s", error)
        return PlainTextResponse("the laboratory's storage cannot be used now; try again\n", 503)

    routes = KioskRoutes(storage, certificates, pictures, received=metrics.received).routes
    app = Starlette(
        routes=[*routes, Route("/alive", alive), *pages],
        exception_handlers={StorageError: away, Exception: broken},
    )
    return Measured(WithHeaders(app), metrics)
