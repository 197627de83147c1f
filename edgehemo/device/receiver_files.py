"""What stands in the files that a receiver names: credentials, certificates, keys.

Apart from what a receiver is, so that a command that sends nothing waits for no TLS.
"""

from __future__ import annotations

import importlib.util
import ssl
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path

from edgehemo.device.receivers import Receiver

# A file of credentials is a few lines.
_MAX_CREDENTIALS_BYTES = 10_000
_MAX_CERTIFICATE_BYTES = 200_000


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """What this device shows a receiver; never shown by repr. token: of a bearer."""

    token: str | None = None
    user: str | None = None
    password: str | None = None


class ReceiverFileError(Exception):
    """A file that a receiver names cannot be used; a phrase says why, and what to do."""


def credentials_of(receiver: Receiver) -> Credentials | None:
    """What the credentials file holds; None where none is named. Raises ReceiverFileError."""
    if receiver.credentials is None:
        return None
    path = Path(receiver.credentials).expanduser()
    text = _private_text(path)
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise ReceiverFileError(
            f'{path}: is not TOML; write token = "..." or user = "..." and password = "..."'
        ) from None
    token, user, password = (found.pop(key, None) for key in ("token", "user", "password"))
    values = [value for value in (token, user, password) if value is not None]
    if found or values not in ([token], [user, password]) or not values:
        raise ReceiverFileError(f"{path}: holds either token, or user and password")
    if not all(isinstance(value, str) and value and value.isprintable() for value in values):
        raise ReceiverFileError(f"{path}: holds a value that is no text of one line")
    return Credentials(token, user, password)


def _private_text(path: Path) -> str:
    """The text of a file that nobody but its owner may read."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ReceiverFileError(f"{path}: is no file")
        if status.st_mode & 0o077:
            raise ReceiverFileError(f"{path}: others than its owner may read it; chmod 600 {path}")
        if status.st_size > _MAX_CREDENTIALS_BYTES:
            raise ReceiverFileError(f"{path}: is too large for what it should be")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ReceiverFileError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ReceiverFileError(f"{path}: is not UTF-8 text") from None


def tls_context(receiver: Receiver) -> ssl.SSLContext:
    """What TLS must show: the pinned certificate or its authority's, else the system's authorities.

    A pinned certificate may be the receiver's own, whoever signed it. The host's name is compared
    in every case. Raises ReceiverFileError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if receiver.certificate is None:
        context.load_default_certs()
    else:
        path = Path(receiver.certificate).expanduser()
        try:
            if path.stat().st_size > _MAX_CERTIFICATE_BYTES:
                raise ReceiverFileError(f"{path}: is too large for a certificate")
            context.load_verify_locations(cadata=path.read_text(encoding="ascii"))
        except OSError as error:
            # ssl.SSLError is one of them.
            raise ReceiverFileError(
                f"{path}: is no certificate in PEM ({error.strerror or error})"
            ) from None
        except ValueError:
            raise ReceiverFileError(f"{path}: is no certificate in PEM") from None
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if receiver.client_certificate is not None and receiver.client_key is not None:
        key = Path(receiver.client_key).expanduser()
        _private_text(key)
        try:
            context.load_cert_chain(Path(receiver.client_certificate).expanduser(), key)
        except (OSError, ValueError) as error:
            raise ReceiverFileError(
                f"{receiver.client_certificate}: cannot be used with its key ({error})"
            ) from None
    return context


def not_installed(package: str) -> str:
    """What to say where a receiver needs a package that is not there."""
    return f'{package} is not installed: pip install ".[interchange]" in the folder of the source'


def problems_of(receiver: Receiver) -> list[str]:
    """What is wrong with the files that a receiver names and what it needs, a phrase each."""
    found = []
    needs = receiver.facts.needs
    if needs and importlib.util.find_spec(needs) is None:
        found.append(not_installed(needs))
    for look in (credentials_of, tls_context if receiver.encrypted else None):
        if look is not None:
            try:
                look(receiver)
            except ReceiverFileError as error:
                found.append(str(error))
    return found
