"""What Prometheus asks for, at an address of its own: this machine's alone, else with a token."""

from __future__ import annotations

import asyncio
import hmac
import stat
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from edgehemo_laboratory.errors import LaboratoryError

METRICS_PATH = "/metrics"
_MAX_TOKEN_BYTES = 1000
_MIN_TOKEN = 20


def token_of(file: str) -> str:
    """The token that a file holds. LaboratoryError where it may not be used."""
    path = Path(file).expanduser()
    try:
        status = path.stat()
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise LaboratoryError(f"{path}: others than its owner may read it; chmod 600 {path}")
        if status.st_size > _MAX_TOKEN_BYTES:
            raise LaboratoryError(f"{path}: is too large for a token")
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise LaboratoryError(f"{path}: holds no token ({error})") from None
    if len(token) < _MIN_TOKEN or not token.isprintable():
        raise LaboratoryError(f"{path}: a token has {_MIN_TOKEN} signs or more, on one line")
    return token


def metrics_application(registry: CollectorRegistry, token: str | None) -> ASGIApp:
    """Answers with all metrics. token: what must be shown; None where anybody here may ask."""

    async def metrics(request: Request) -> Response:
        shown = request.headers.get("authorization", "").encode("utf-8", "replace")
        if token is not None and not hmac.compare_digest(shown, f"Bearer {token}".encode()):
            return PlainTextResponse("a token is needed\n", 401, {"www-authenticate": "Bearer"})
        # Thousands of lines are put together beside the server's own work.
        data = await asyncio.to_thread(generate_latest, registry)
        return Response(data, headers={"content-type": CONTENT_TYPE_LATEST})

    return Starlette(routes=[Route(METRICS_PATH, metrics)])
