"""What became of a print job: one question to CUPS by IPP (RFC 8011).

CUPS's commands do not ask it: ``lpstat`` calls a job that was aborted completed, as it calls one
that was printed.
"""

from __future__ import annotations

import http.client
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Where CUPS listens on the device itself; the first that answers is asked.
SOCKET = Path("/run/cups/cups.sock")
HOST, PORT = "localhost", 631
ANSWER_S = 10.0
# The values of job-state that end a job (RFC 8011, 5.3.7).
STOPPED, CANCELLED, ABORTED, COMPLETED = 6, 7, 8, 9
_GET_JOB_ATTRIBUTES = 0x0009
_SUCCESSFUL = 0x0100
# Tags of attributes (RFC 8010, 3.5): a number, texts and names.
_INTEGERS = frozenset({0x21, 0x23})
_KEYWORD, _URI, _CHARSET, _LANGUAGE = 0x44, 0x45, 0x47, 0x48
_LONGEST = 1_000_000


@dataclass(frozen=True, slots=True)
class JobState:
    """state: job-state. said: in the printer's own words, empty where it says nothing."""

    state: int
    said: str


def job_state(number: int) -> JobState | None:
    """Of a job of this device's CUPS; None where it does not answer, or knows no such job."""
    try:
        answer = _posted(_question(number))
    except (OSError, http.client.HTTPException):
        return None
    found = dict(_attributes(answer)) if answer is not None else {}
    state = found.get("job-state")
    if not isinstance(state, int):
        return None
    return JobState(state, str(found.get("job-printer-state-message", "")).strip())


def _question(number: int) -> bytes:
    wanted = ("job-state", "job-printer-state-message")
    body = struct.pack(">BBHIB", 2, 0, _GET_JOB_ATTRIBUTES, 1, 0x01)
    body += _attribute(_CHARSET, "attributes-charset", "utf-8")
    body += _attribute(_LANGUAGE, "attributes-natural-language", "en")
    body += _attribute(_URI, "job-uri", f"ipp://{HOST}/jobs/{number}")
    for place, name in enumerate(wanted):
        body += _attribute(_KEYWORD, "" if place else "requested-attributes", name)
    return body + b"\x03"


def _attribute(tag: int, name: str, value: str) -> bytes:
    key, content = name.encode(), value.encode()
    return struct.pack(">BH", tag, len(key)) + key + struct.pack(">H", len(content)) + content


def _posted(body: bytes) -> bytes | None:
    connection = http.client.HTTPConnection(HOST, PORT, timeout=ANSWER_S)
    if SOCKET.exists():
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(ANSWER_S)
        connection.sock.connect(str(SOCKET))
    try:
        connection.request("POST", "/jobs/", body, {"Content-Type": "application/ipp"})
        answer = connection.getresponse()
        return answer.read(_LONGEST) if answer.status == http.HTTPStatus.OK else None
    finally:
        connection.close()


def _attributes(answer: bytes) -> Iterator[tuple[str, int | str]]:
    """Of an answer: name and value; of several values the first. Nothing of one that is broken."""
    if len(answer) < 8 or struct.unpack_from(">H", answer, 2)[0] >= _SUCCESSFUL:
        return
    at = 8
    try:
        while at < len(answer):
            tag = answer[at]
            at += 1
            if tag < 0x10:
                # A new group, or the end of all.
                continue
            name, at = _counted(answer, at)
            value, at = _counted(answer, at)
            if name:
                number = tag in _INTEGERS and len(value) == 4
                text = value.decode("utf-8", "replace")
                yield name.decode("ascii", "replace"), _integer(value) if number else text
    except (struct.error, IndexError):
        return


def _counted(answer: bytes, at: int) -> tuple[bytes, int]:
    length = struct.unpack_from(">H", answer, at)[0]
    end = at + 2 + length
    if end > len(answer):
        raise IndexError(end)
    return answer[at + 2 : end], end


def _integer(value: bytes) -> int:
    return int(struct.unpack(">i", value)[0])
