"""Printing by CUPS: what is asked of it, and what its answers mean."""

from __future__ import annotations

import http.server
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehemo.device import print_queue
from edgehemo.device.print_queue import ABORTED, COMPLETED, JobState, job_state
from edgehemo.device.printing import COMMAND_S, PrintJob, printed
from edgehemo.errors import PrinterMissingError, PrintFailedError

PENDING, PROCESSING = 3, 5
IDLE = "printer Desk is idle.  enabled since Fri 27 Nov 2026\n"
DISABLED = "printer Desk disabled since Fri 27 Nov 2026 -\n\tOut of paper\n"


class Cups:
    """CUPS's commands, and its queue. states: of the job, one after another; the last one stays."""

    def __init__(self, *states: JobState | None, printer: str = IDLE) -> None:
        self.states, self.printer = list(states), printer
        self.asked: list[list[str]] = []
        self.pdf = b""
        self.refusal: tuple[int, str, str] | None = None

    def run(self, command: list[str], data: bytes) -> tuple[int, str, str]:
        self.asked.append(command)
        if command[0] == "lp":
            self.pdf = data
            return self.refusal or (0, "request id is Desk-12 (0 file(s))\n", "")
        return 0, self.printer, ""

    def ask(self, number: int) -> JobState | None:
        assert number == 12
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def prints(self, printer: str | None = None) -> PrintJob:
        return printed(
            b"%PDF-", "a4", printer, run=self.run, ask=self.ask, sleep=lambda seconds: None
        )

    @property
    def cancelled(self) -> bool:
        return ["cancel", "Desk-12"] in self.asked


def test_a_report_is_printed_when_the_queue_says_so() -> None:
    cups = Cups(JobState(PENDING, ""), JobState(PROCESSING, ""), JobState(COMPLETED, ""))
    assert cups.prints("Desk") == PrintJob("Desk-12", "Desk")
    assert cups.pdf == b"%PDF-"
    assert cups.asked[0][:3] == ["lp", "-d", "Desk"]
    assert "media=A4" in cups.asked[0]
    assert not cups.cancelled


def test_without_a_name_the_printer_is_the_system_s_own() -> None:
    cups = Cups(JobState(COMPLETED, ""))
    cups.prints()
    assert "-d" not in cups.asked[0]


@pytest.mark.parametrize(
    "said",
    [
        "lp: Error - The printer or class does not exist.",
        "lp: Error - No default destination.",
        "lp: Error - scheduler not responding.",
    ],
)
def test_a_printer_that_is_not_there_is_missing(said: str) -> None:
    cups = Cups(JobState(PENDING, ""))
    cups.refusal = (1, "", said + "\n")
    with pytest.raises(PrinterMissingError):
        cups.prints()


def test_a_refusal_of_the_queue_is_told_in_its_own_words() -> None:
    cups = Cups(JobState(PENDING, ""))
    cups.refusal = (1, "", "lp: Unsupported document-format.\n")
    with pytest.raises(PrintFailedError) as caught:
        cups.prints()
    assert caught.value.said == "Unsupported document-format."


def test_a_printer_that_stops_says_why_and_prints_nothing_later() -> None:
    cups = Cups(JobState(PENDING, ""), printer=DISABLED)
    with pytest.raises(PrintFailedError) as caught:
        cups.prints()
    assert caught.value.said == "Out of paper"
    assert cups.cancelled


def test_an_aborted_job_was_not_printed() -> None:
    cups = Cups(JobState(PROCESSING, ""), JobState(ABORTED, "Filter failed"))
    with pytest.raises(PrintFailedError) as caught:
        cups.prints()
    assert caught.value.said == "Filter failed"


def test_a_printer_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    cups = Cups(JobState(PROCESSING, "The printer is not responding."))
    with pytest.raises(PrintFailedError) as caught:
        cups.prints()
    assert caught.value.said == "The printer is not responding."
    assert cups.cancelled


def test_whoever_stops_waiting_takes_the_job_out_of_the_queue() -> None:
    cups = Cups(JobState(PROCESSING, ""))

    def stopped() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        printed(b"%PDF-", "a4", None, run=cups.run, ask=cups.ask, still=stopped)
    assert cups.cancelled


def test_without_cups_there_is_no_printer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PrinterMissingError, match="CUPS is not installed"):
        printed(b"%PDF-", "a4", None)


def test_a_command_that_hangs_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lp = tmp_path / "lp"
    lp.write_text("#!/bin/sh\nexec sleep 60\n", "ascii")
    lp.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("edgehemo.device.printing.COMMAND_S", 0.3)
    with pytest.raises(PrintFailedError, match="does not answer"):
        printed(b"%PDF-", "a4", None)
    assert COMMAND_S > 1


# -- the question by IPP --------------------------------------------------------------------------


def attribute(tag: int, name: str, value: bytes) -> bytes:
    key = name.encode()
    return struct.pack(">BH", tag, len(key)) + key + struct.pack(">H", len(value)) + value


ANSWER = (
    struct.pack(">BBHIB", 2, 0, 0, 1, 0x01)
    + attribute(0x47, "attributes-charset", b"utf-8")
    + b"\x02"
    + attribute(0x23, "job-state", struct.pack(">i", COMPLETED))
    + attribute(0x41, "job-printer-state-message", "Papier ist leer é".encode())
    + b"\x03"
)


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[bytes]]:
    """A server in the place of CUPS: what it answers, then what it was asked."""
    talk: list[bytes] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            talk.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(talk[0])

        def log_message(self, format: str, *values: object) -> None:
            pass

    with http.server.HTTPServer(("localhost", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(print_queue, "SOCKET", tmp_path / "no.sock")
        monkeypatch.setattr(print_queue, "PORT", server.server_address[1])
        yield talk
        server.shutdown()


def test_the_queue_is_asked_by_ipp(queue: list[bytes]) -> None:
    queue.append(ANSWER)
    assert job_state(12) == JobState(COMPLETED, "Papier ist leer é")
    assert queue[1][:4] == b"\x02\x00\x00\x09"
    assert b"ipp://localhost/jobs/12" in queue[1]


def test_a_job_that_is_not_known_has_no_state(queue: list[bytes]) -> None:
    queue.append(struct.pack(">BBHIB", 2, 0, 0x0406, 1, 0x03))
    assert job_state(12) is None


def test_a_queue_that_is_not_there_has_no_state(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(print_queue, "SOCKET", tmp_path / "no.sock")
    monkeypatch.setattr(print_queue, "PORT", 9)
    assert job_state(12) is None


@given(st.binary(max_size=200) | st.integers(0, len(ANSWER)).map(lambda end: ANSWER[:end]))
def test_a_broken_answer_is_no_state(answer: bytes) -> None:
    found = dict(print_queue._attributes(answer))
    assert all(isinstance(name, str) for name in found)
