"""What keeps the page to itself: where a request may come from, and what a page may load.

The server listens on the loopback address. A page from elsewhere could still have the browser send
it requests (DNS rebinding, forms across sites): so the host must be one of ours, a post must come
from our own page and carry the token that only this page was given.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable

COOKIE = "edgehemo-kiosk"
# No inline script or style, nothing from elsewhere, in no frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = (
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
    ("cache-control", "no-store"),
)
# A form of the kiosk is a few words; more is not one.
MAX_BODY_BYTES = 8192
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


class Guard:
    """Of one kiosk. port: it listens on at the loopback address. beyond: hosts, with their port, by
    which it is called by TLS.
    """

    def __init__(self, port: int, beyond: Iterable[str] = ()) -> None:
        self._secret = secrets.token_bytes(32)
        own = frozenset(f"{name}:{port}" for name in LOOPBACK_NAMES)
        there = frozenset(beyond)
        # A browser leaves the port of TLS out.
        there |= {host.removesuffix(":443") for host in there}
        self._hosts = {"http": own, "https": there}
        self._origins = {
            scheme: frozenset(f"{scheme}://{host}" for host in hosts)
            for scheme, hosts in self._hosts.items()
        }
        self.address = f"http://{LOOPBACK_NAMES[0]}:{port}/"

    def answers_to(self, host: str | None, scheme: str = "http") -> bool:
        """Whether a request's Host is this server's. scheme: by which it came."""
        return (host or "").lower() in self._hosts[scheme]

    def comes_from_here(self, origin: str | None, site: str | None, scheme: str = "http") -> bool:
        """Whether a post comes from our own page. origin, site: the headers Origin and
        Sec-Fetch-Site; a browser sends at least one of them.
        """
        if origin is not None:
            return origin in self._origins[scheme]
        return site == "same-origin"

    def new_viewer(self) -> str:
        """What a browser is called from now on."""
        return secrets.token_urlsafe(32)

    def viewer(self, cookie: str | None) -> str | None:
        """What the state calls a browser: not its cookie itself, which is never stored."""
        if cookie is None or not 20 <= len(cookie) <= 64:
            return None
        return hashlib.sha256(cookie.encode()).hexdigest()[:32]

    def token(self, viewer: str) -> str:
        """What a page of this browser must send back with every post."""
        return hmac.new(self._secret, viewer.encode(), hashlib.sha256).hexdigest()

    def knows(self, viewer: str, token: str) -> bool:
        """Whether a token was given to this browser by this server."""
        return hmac.compare_digest(self.token(viewer).encode(), token.encode())
