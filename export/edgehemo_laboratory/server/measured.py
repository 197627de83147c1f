"""Every request is counted and batches are timed, around the application."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgehemo.interop.laboratory import (
    ENROLMENT_PATH,
    PATH,
    PICTURES_PATH,
    RENEWAL_PATH,
    VISIT_PATH,
)
from edgehemo_laboratory.metrics import Metrics

# What a path is counted as; all others are pages. Few names: whoever asks for a thousand paths
# makes no thousand series.
_ROUTES = {
    PATH: "results", ENROLMENT_PATH: "enrolment", RENEWAL_PATH: "renewal", VISIT_PATH: "visit",
    "/alive": "alive",
}  # fmt: skip
# The client went away before it had an answer.
_NO_ANSWER = 499


def route_of(path: str) -> str:
    """What a path is counted as."""
    if path.startswith(f"{PICTURES_PATH}/"):
        return "pictures"
    return _ROUTES.get(path, "pages")


class Measured:
    """Counts what an application answers."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        route, status, begun = route_of(scope["path"]), _NO_ANSWER, time.monotonic()

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        if route == "results":
            self._metrics.begun()
        try:
            await self._app(scope, receive, counted)
        finally:
            self._metrics.answered(route, status, time.monotonic() - begun)
