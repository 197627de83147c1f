"""The kiosk's page beyond its own screen: only with a certificate, its key, a token and a name.

A phone on the site's network may show the page where the device configuration says so. Then nothing
is sent in clear, and a browser shows once that it knows the token of this device.
"""

from __future__ import annotations

import re
import socket
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path

from edgehemo.device.configuration import KioskSection
from edgehemo.errors import UsageError

# The wildcard addresses: no browser asks for them, so the names must be given.
WILDCARDS = ("0.0.0.0", "::")
SHORTEST_TOKEN = 16


@dataclass(frozen=True, slots=True)
class Network:
    """Where the page is served beyond the loopback address. hosts: what a browser may call it, with
    the port. context: certificate and key. token: what each browser is asked for once.
    """

    address: str
    port: int
    hosts: tuple[str, ...]
    context: ssl.SSLContext
    token: str

    @property
    def url(self) -> str:
        return f"https://{self.hosts[0]}/"

    def listening(self) -> socket.socket:
        """A socket there. UsageError where it cannot be had."""
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        try:
            return socket.create_server((self.address, self.port), family=family, backlog=64)
        except OSError as error:
            raise UsageError(
                f"[kiosk] listen: {self.address} port {self.port} cannot be used "
                f"({error.strerror or error})"
            ) from None


def network_of(kiosk: KioskSection) -> Network | None:
    """What the device configuration says; None where the page stays on this device. UsageError, one
    line, where it would be served without one of what it needs.
    """
    needed = {
        "tls_certificate": kiosk.tls_certificate,
        "tls_key": kiosk.tls_key,
        "token": kiosk.token,
    }
    if kiosk.listen is None:
        if any(needed.values()) or kiosk.names:
            raise UsageError(
                "[kiosk] names a certificate, a token or names, and no address to listen at: add "
                'listen, such as listen = "192.168.1.20:8443", or take the others out'
            )
        return None
    missing = [name for name, value in needed.items() if value is None]
    if missing:
        raise UsageError(
            f"[kiosk] listen = {kiosk.listen!r} would serve the page beyond this device without "
            f"{', '.join(missing)}: give all of tls_certificate, tls_key and token, or take listen "
            "out"
        )
    address, port = _parted(kiosk.listen)
    own = () if address in WILDCARDS else (_bracketed(address),)
    hosts = tuple(f"{name}:{port}" for name in (*kiosk.names, *own))
    if not hosts:
        raise UsageError(
            f"[kiosk] listen = {kiosk.listen!r} needs names: what the browsers call this device, "
            'such as names = ["kiosk.local"]'
        )
    assert kiosk.tls_certificate is not None and kiosk.tls_key is not None
    assert kiosk.token is not None
    return Network(
        address, port, hosts, _context(kiosk.tls_certificate, kiosk.tls_key), _token(kiosk.token)
    )


def _parted(listen: str) -> tuple[str, int]:
    """Address and port of what the configuration's pattern let through."""
    address, _, port = listen.rpartition(":")
    return address.strip("[]"), int(port)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _context(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for name, path in (("tls_certificate", certificate), ("tls_key", key)):
        _readable(name, Path(path).expanduser())
    _kept_from_others("tls_key", Path(key).expanduser())
    try:
        context.load_cert_chain(
            Path(certificate).expanduser(), Path(key).expanduser(), password=_no_password
        )
    except (ssl.SSLError, OSError, ValueError) as error:
        why = getattr(error, "reason", None) or error
        raise UsageError(
            f"[kiosk] tls_certificate and tls_key cannot be used together ({why}): name a "
            "certificate and its own key, both in PEM, the key without a password"
        ) from None
    return context


def _no_password() -> str:
    # Without it the library would ask for one at the terminal, and wait.
    raise ValueError("the key has a password")


def _readable(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"[kiosk] {name}: {path}: {error.strerror or error}") from None


def _kept_from_others(name: str, path: Path) -> None:
    if path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        raise UsageError(
            f"[kiosk] {name}: {path} can be read or changed by every user of this device; run "
            f"chmod o= {path}"
        )


def _token(file: str) -> str:
    path = Path(file).expanduser()
    text = _readable("token", path).decode("ascii", "replace").strip()
    _kept_from_others("token", path)
    if len(text) < SHORTEST_TOKEN or not re.fullmatch(r"[!-~]+", text):
        raise UsageError(
            f"[kiosk] token: {path} must hold one word of at least {SHORTEST_TOKEN} letters, digits"
            " and signs; make one with openssl rand -hex 16"
        )
    return text
