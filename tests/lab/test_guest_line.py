"""The way into an emulated computer: its agent at one end of a line, the lab at the other.

On this machine, over a terminal in the place of the serial line; the computer itself is in
`make soak`.
"""

from __future__ import annotations

import os
import pty
import select
import socket
import subprocess
import sys
import threading
import tty
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from tests.lab.kiosk_guest import PARTS_FOLDER, Line, Loopback

pytestmark = [pytest.mark.lab, pytest.mark.timeout(60)]


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    """A line with the agent at its other end."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "line"))
    listener.listen()

    def carry() -> None:
        there, _ = listener.accept()
        while True:
            for ready in select.select([there.fileno(), ours], [], [])[0]:
                part = os.read(ready, 4096)
                if not part:
                    return
                if ready == ours:
                    there.sendall(part)
                else:
                    os.write(ours, part)

    threading.Thread(target=carry, daemon=True).start()
    agent = subprocess.Popen(
        [sys.executable, str(PARTS_FOLDER / "guest_agent.py"), os.ttyname(theirs)]
    )
    end = Line(tmp_path / "line")
    yield end
    end.close()
    agent.kill()
    agent.wait()


class Page(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(303 if self.path == "/do" else 200)
        self.send_header("location", "/seen")
        self.send_header("set-cookie", "session=1; Path=/")
        self.end_headers()
        self.wfile.write(b"\x00\xff" + body)

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{self.path} {self.headers['cookie']}".encode())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def page() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_program_is_run_at_the_other_end(line: Line) -> None:
    answer = line.ask(10, run=["sh", "-c", "cat; echo no >&2; exit 3"], given="é" * 5000)
    assert (answer["rc"], answer["err"]) == (3, "no\n")
    assert answer["out"] == "é" * 5000
    assert "FileNotFoundError" in line.ask(10, run=["/nowhere/program"])["failed"]


def test_a_late_answer_is_not_taken_for_the_next(line: Line) -> None:
    """As when the emulated computer was started again while it was asked."""
    line.ask(10, run=["echo", "before"])
    line._read += b'half of an answer}\n{"number": 1, "rc": 0, "out": "late"}\n'
    assert line.ask(10, run=["echo", "next"])["out"] == "next\n"


def test_requests_reach_the_loopback_of_the_other_end(line: Line, page: str) -> None:
    with httpx.Client(transport=Loopback(line, 10.0), follow_redirects=True) as client:
        assert client.post(f"{page}/here", data={"a": "1"}).content == b"\x00\xffa=1"
        seen = client.post(f"{page}/do", data={"a": "1"})
        assert seen.text == "/seen session=1"
        with pytest.raises(httpx.ConnectError):
            client.get("http://127.0.0.1:9/")
