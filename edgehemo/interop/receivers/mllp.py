"""A laboratory system that listens for HL7 v2 over MLLP, on TCP or TLS.

A message goes between two marks; the acknowledgement comes back between the same. It counts for
the message whose control identifier it bears: one that came late, for an earlier message, is read
over. One connection is kept while there is something to send.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass

from edgehemo.device.receiver_files import tls_context
from edgehemo.device.receivers import Receiver
from edgehemo.interop.receivers.door import Parcel, one_by_one
from edgehemo.interop.states import Answer, Failed, Refused, Stored

START, END = b"\x0b", b"\x1c\r"
# An acknowledgement is a few hundred bytes.
MAX_ANSWER_BYTES = 100_000
# Acknowledgements of earlier messages that are read over.
_MOST_LATE = 20
_NO_CERTIFICATE = (ssl.SSLCertVerificationError, ssl.SSLError)

# Acknowledgement code -> whether the message is there. C: of the enhanced mode.
_ACCEPTED = ("AA", "CA")
_REFUSED = ("AE", "AR", "CE", "CR")


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What a receiver said. code: of MSA-1. control_id: of the message it is for. words: its own,
    from MSA-3 and the ERR segments.
    """

    code: str
    control_id: str
    words: str


class MllpError(Exception):
    """What came back is no acknowledgement, or the connection ended before one."""


class MllpDoor:
    """One listener. Raises ReceiverFileError where the receiver's files are wrong."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._tls = tls_context(receiver) if receiver.encrypted else None
        self._socket: socket.socket | None = None
        self._read = b""

    def send(self, parcels: Sequence[Parcel]) -> list[Answer]:
        return one_by_one(self._sent, parcels)

    def _sent(self, parcel: Parcel) -> Answer:
        body = parcel.body
        control_id = control_id_of(body)
        if control_id is None or START in body or END[:1] in body:
            # It would be taken for another message, or cut in two.
            return Refused("MESSAGE_NOT_MADE", "it cannot be framed as MLLP wants it")
        until = time.monotonic() + self._receiver.timeout_s
        try:
            connection = self._connected(until)
        except _NO_CERTIFICATE as error:
            words = getattr(error, "verify_message", "") or f"TLS failed: {error.reason or error}"
            return self._failed(Failed("CERTIFICATE_REFUSED", words))
        except OSError as error:
            return self._failed(Failed("RECEIVER_UNREACHABLE", str(error)))
        try:
            self._set_time(connection, until)
            connection.sendall(START + body + END)
            for _ in range(_MOST_LATE):
                found = parsed(self._frame(connection, until))
                if found.control_id == control_id:
                    return _answer(found)
            raise MllpError("it acknowledges other messages only")
        except TimeoutError:
            words = f"no acknowledgement within {self._receiver.timeout_s:g} s"
            return self._failed(Failed("RECEIVER_SILENT", words))
        except MllpError as error:
            return self._failed(Failed("ANSWER_UNREADABLE", str(error)))
        except OSError as error:
            return self._failed(Failed("RECEIVER_SILENT", str(error)))

    def _failed(self, failed: Failed) -> Failed:
        """After a failure nobody knows what still comes on this connection: the next is new."""
        self.close()
        return failed

    def _connected(self, until: float) -> socket.socket:
        if self._socket is not None:
            return self._socket
        left = max(0.01, until - time.monotonic())
        address = (self._receiver.host, self._receiver.port)
        plain = socket.create_connection(address, timeout=left)
        try:
            self._socket = (
                plain
                if self._tls is None
                else self._tls.wrap_socket(plain, server_hostname=self._receiver.host)
            )
        except BaseException:
            plain.close()
            raise
        self._read = b""
        return self._socket

    @staticmethod
    def _set_time(connection: socket.socket, until: float) -> None:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)

    def _frame(self, connection: socket.socket, until: float) -> bytes:
        """The next message that came, however it was cut up on the way."""
        while True:
            start = self._read.find(START)
            end = self._read.find(END, start + 1) if start >= 0 else -1
            if end >= 0:
                frame, self._read = self._read[start + 1 : end], self._read[end + len(END) :]
                return frame
            if len(self._read) > MAX_ANSWER_BYTES:
                raise MllpError("it sends something other than an acknowledgement")
            self._set_time(connection, until)
            part = connection.recv(65_536)
            if not part:
                raise ConnectionError("it hung up without an acknowledgement")
            self._read += part

    def missing(self) -> Sequence[tuple[int, int]]:
        return ()

    def close(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None
        self._read = b""


def _answer(found: Acknowledgement) -> Answer:
    words = f"{found.code} {found.words}".strip()
    if found.code in _ACCEPTED:
        return Stored(words)
    if found.code in _REFUSED:
        return Refused("MESSAGE_REFUSED", words)
    return Failed("ANSWER_UNREADABLE", f"it acknowledges with {found.code or 'nothing'}")


def control_id_of(message: bytes) -> str | None:
    """MSH-10 of a message; None where it has none."""
    header = _segments(message)[:1]
    if not header or not header[0].startswith("MSH") or len(header[0]) < 8:
        return None
    fields = header[0].split(header[0][3])
    return fields[9] if len(fields) > 9 and fields[9] else None


def parsed(message: bytes) -> Acknowledgement:
    """An acknowledgement: its code, for whom, and its words. MllpError for what is none."""
    segments = _segments(message)
    if not segments or not segments[0].startswith("MSH") or len(segments[0]) < 8:
        raise MllpError("what came back is no HL7 message")
    field = segments[0][3]
    codes: tuple[str, str] | None = None
    words: list[str] = []
    for segment in segments[1:]:
        fields = segment.split(field)
        if fields[0] == "MSA" and codes is None:
            codes = (_field(fields, 1), _field(fields, 2))
            words.append(_field(fields, 3))
        elif fields[0] == "ERR":
            # What is wrong (3), its words for people (8), before 2.5 all of it (1).
            words += [_field(fields, number) for number in (1, 2, 3, 7, 8)]
    if codes is None:
        raise MllpError("what came back is no acknowledgement")
    said = "; ".join(re.sub(r"\^+", " ", each).strip() for each in words if each)
    return Acknowledgement(codes[0].strip().upper(), codes[1].strip(), said)


def _segments(message: bytes) -> list[str]:
    text = message.decode("utf-8", "replace")
    return [line for line in re.split(r"[\r\n]+", text) if line]


def _field(fields: Sequence[str], number: int) -> str:
    return fields[number].strip() if number < len(fields) else ""
