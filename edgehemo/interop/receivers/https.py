"""HTTP to a receiver: pinned TLS, credentials, a deadline, and no way but the one configured.

Proxies and certificates that the environment names are not used, and no redirection is followed: a
result goes to the configured address or nowhere.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import httpx

from edgehemo.device.receiver_files import (
    Credentials,
    ReceiverFileError,
    credentials_of,
    tls_context,
)
from edgehemo.device.receivers import Receiver
from edgehemo.guidance.codes import SendingCode
from edgehemo.interop.states import Failed
from edgehemo.version import __version__

# What is read of an answer, in bytes; more is none.
MAX_ANSWER_BYTES = 4_000_000

# Statuses that say something of the receiver and nothing of the message.
OF_THE_RECEIVER: Mapping[int, SendingCode] = {
    401: "RECEIVER_DENIED",
    403: "RECEIVER_DENIED",
    407: "RECEIVER_DENIED",
    404: "RECEIVER_ADDRESS_WRONG",
    405: "RECEIVER_ADDRESS_WRONG",
    410: "RECEIVER_ADDRESS_WRONG",
    # Others change the same at this moment.
    409: "RECEIVER_FAILED",
    423: "RECEIVER_FAILED",
    408: "RECEIVER_BUSY",
    425: "RECEIVER_BUSY",
    429: "RECEIVER_BUSY",
    502: "RECEIVER_BUSY",
    503: "RECEIVER_BUSY",
    504: "RECEIVER_BUSY",
    507: "RECEIVER_BUSY",
}


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back."""

    status: int
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace")


class HttpRoad:
    """A kept connection to one receiver. Raises ReceiverFileError where its files are wrong."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        credentials = credentials_of(receiver)
        self._client = httpx.Client(
            verify=tls_context(receiver) if receiver.encrypted else False,
            auth=_auth(credentials),
            headers={"user-agent": f"edgehemo/{__version__}", **_bearer(credentials)},
            timeout=httpx.Timeout(receiver.timeout_s),
            trust_env=False,
            follow_redirects=False,
        )

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> HttpAnswer | Failed:
        """Post and read the whole answer within the receiver's time."""
        return self.send("POST", url, body, headers)

    def send(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str]
    ) -> HttpAnswer | Failed:
        """The same by another method."""
        until = time.monotonic() + self.receiver.timeout_s
        try:
            with self._client.stream(method, url, content=body, headers=dict(headers)) as answer:
                content = b"".join(_within(answer, until))
                return HttpAnswer(answer.status_code, content)
        except httpx.HTTPError as error:
            return failed_to_reach(error, self.receiver)

    def close(self) -> None:
        self._client.close()


def _within(answer: httpx.Response, until: float) -> Iterator[bytes]:
    """The parts of an answer; httpx's own limit is for each part, this one is for all of it."""
    size = 0
    for part in answer.iter_bytes():
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise httpx.DecodingError("the answer is too large")
        if time.monotonic() > until:
            raise httpx.ReadTimeout("the answer took too long")
        yield part


def _auth(credentials: Credentials | None) -> httpx.BasicAuth | None:
    if credentials is None or credentials.user is None or credentials.password is None:
        return None
    return httpx.BasicAuth(credentials.user, credentials.password)


def _bearer(credentials: Credentials | None) -> dict[str, str]:
    if credentials is None or credentials.token is None:
        return {}
    return {"authorization": f"Bearer {credentials.token}"}


def failed_to_reach(error: Exception, receiver: Receiver) -> Failed:
    """What a way that failed means: where it never came to the receiver, nobody has it."""
    if (fault := certificate_fault(error)) is not None:
        return Failed("CERTIFICATE_REFUSED", fault)
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return Failed("RECEIVER_UNREACHABLE", str(error))
    if isinstance(error, httpx.TimeoutException):
        return Failed("RECEIVER_SILENT", f"no answer within {receiver.timeout_s:g} s")
    if isinstance(error, httpx.DecodingError):
        return Failed("ANSWER_UNREADABLE", str(error))
    # The connection broke off: it may have it or not.
    return Failed("RECEIVER_SILENT", str(error))


def certificate_fault(error: BaseException | None) -> str | None:
    """What TLS said of a certificate that it did not take; None for any other fault."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message or "the certificate is not trusted"
        if isinstance(error, ssl.SSLError):
            return f"TLS failed: {error.reason or error}"
        error = error.__cause__ or error.__context__
    return None


def of_the_receiver(answer: HttpAnswer) -> Failed | None:
    """What a status says of the receiver itself; None where it speaks of the message."""
    code = OF_THE_RECEIVER.get(answer.status)
    if code is None and (300 <= answer.status < 400 or answer.status < 200):
        code = "RECEIVER_ADDRESS_WRONG"
    if code is None and answer.status >= 500:
        code = "RECEIVER_FAILED"
    return None if code is None else Failed(code, f"HTTP {answer.status}: {answer.text[:1000]}")


__all__ = ["HttpAnswer", "HttpRoad", "ReceiverFileError", "of_the_receiver"]
