"""The certificate that whoever speaks has shown, for the application (ASGI's TLS extension).

uvicorn does not hand it on by itself. TLS has proved that the other side has its key; whose it is,
and whether it still counts, the application knows.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_KEY = "edgehemo.certificate"


class WithCertificate(H11Protocol):
    """HTTP/1.1 that knows the other side's certificate."""

    # asyncio says any transport may come; the class above narrows it in the same way.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        der = None if tls is None else tls.getpeercert(binary_form=True)
        if der is not None:
            self.app: Any = _Told(self.app, hashlib.sha256(der).hexdigest())


class _Told:
    def __init__(self, app: Any, digest: str) -> None:
        self._app, self._digest = app, digest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, _KEY: self._digest}, receive, send)


def certificate_digest(scope: Scope) -> str | None:
    """SHA-256 of the certificate (DER) that was shown; None where none was."""
    found = scope.get(_KEY)
    return found if isinstance(found, str) else None


def with_certificate(app: ASGIApp, digest: str) -> ASGIApp:
    """For tests: an application to which this certificate is always shown."""
    return _Told(app, digest)
