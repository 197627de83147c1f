"""Who comes from the network shows once that they know the token of this device.

The right token is answered with a cookie that only this device could have made; a new token in the
file makes all of them worthless. Wrong ones make everybody wait who has no cookie.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

COOKIE = "edgehemo-door"
# A browser is asked again after half a year.
COOKIE_S = 183 * 86_400
# So many wrong tokens are free; each further one doubles the wait, from the first to the longest.
FREE_TRIES, FIRST_WAIT_S, LONGEST_WAIT_S = 5, 15.0, 900.0
# Needed to ask for the token.
OPEN_PATHS = ("/static/", "/screen.css", "/favicon.ico")


@dataclass(frozen=True, slots=True)
class Tries:
    """Wrong tokens so far, whoever sent them. until_s: no other is looked at before."""

    wrong: int = 0
    until_s: float = 0.0

    def wait_s(self, now_s: float) -> float:
        """How long no token is looked at."""
        return max(0.0, self.until_s - now_s)

    def after_wrong(self, now_s: float) -> Tries:
        """After one more."""
        over = self.wrong + 1 - FREE_TRIES
        wait_s = 0.0 if over < 0 else min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(over, 16))
        return replace(self, wrong=self.wrong + 1, until_s=now_s + wait_s)


class Door:
    """Stands before the application for requests that came by TLS. ask: makes the page that asks
    for the token, with how many seconds to wait and whether the last one was wrong. form: the
    fields that were posted.
    """

    def __init__(
        self,
        app: ASGIApp,
        token: str,
        ask: Callable[[Request, int, bool], Response],
        form: Callable[[Request], Awaitable[dict[str, str]]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.app = app
        self._token, self._ask, self._form, self._clock = token.encode(), ask, form, clock
        self._key = hashlib.sha256(b"edgehemo kiosk door\0" + self._token).digest()
        self._tries = Tries()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["scheme"] != "https":
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        path: str = scope["path"]
        if self.is_known(request.cookies.get(COOKIE)) or path.startswith(OPEN_PATHS):
            await self.app(scope, receive, send)
            return
        if path == "/token" and request.method == "POST":
            answer = await self._tried(request)
        elif path == "/" or request.method == "POST":
            answer = self._asked(request, wrong=False)
        else:
            answer = Response("", 401)
        await answer(scope, receive, send)

    def _asked(self, request: Request, *, wrong: bool) -> Response:
        wait_s = math.ceil(self._tries.wait_s(self._clock()))
        return self._ask(request, wait_s, wrong)

    async def _tried(self, request: Request) -> Response:
        given = (await self._form(request)).get("code", "").strip().encode()
        if self._tries.wait_s(self._clock()) > 0:
            return self._asked(request, wrong=False)
        # Digests are compared: they have one length, whatever was typed.
        if not hmac.compare_digest(
            hashlib.sha256(given).digest(), hashlib.sha256(self._token).digest()
        ):
            self._tries = self._tries.after_wrong(self._clock())
            return self._asked(request, wrong=True)
        self._tries = Tries()
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            COOKIE, self.new_cookie(), max_age=COOKIE_S, secure=True, httponly=True,
            samesite="strict", path="/",
        )  # fmt: skip
        return answer

    def new_cookie(self) -> str:
        """For a browser that knows the token."""
        name = secrets.token_urlsafe(16)
        return f"{name}.{self._sign(name)}"

    def is_known(self, cookie: str | None) -> bool:
        """Whether this device made a cookie, with the token of now."""
        name, dot, sign = (cookie or "").partition(".")
        return bool(dot) and hmac.compare_digest(self._sign(name).encode(), sign.encode())

    def _sign(self, name: str) -> str:
        return hmac.new(self._key, name.encode(), hashlib.sha256).hexdigest()
