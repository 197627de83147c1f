"""A server of files on the loopback address: ranges, versions, and faults on request."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Fault:
    """What the next request meets. cut_after: bytes of the body, then the line is cut. status: an
    answer without a body. retry_after: said with it.
    """

    cut_after: int | None = None
    status: int | None = None
    retry_after: str | None = None


@dataclass
class Mirror:
    """files: body by path. faults: one a request, in order. ranges: whether parts are given.
    versions: whether an entity tag is given. sized: whether the length is told. asked: path and
    Range of every request; sent: bytes of bodies that left.
    """

    files: dict[str, bytes]
    faults: list[Fault] = field(default_factory=list)
    ranges: bool = True
    versions: bool = True
    sized: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    sent: int = 0
    url: str = ""


@contextlib.contextmanager
def mirror(files: dict[str, bytes]) -> Iterator[Mirror]:
    """Serve files until the end of the block."""
    state = Mirror(files)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Nothing on standard error."""

        def do_GET(self) -> None:
            _answer(self, state)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(request: BaseHTTPRequestHandler, state: Mirror) -> None:
    asked = request.headers.get("Range")
    state.asked.append((request.path, asked))
    fault = state.faults.pop(0) if state.faults else Fault()
    body = state.files.get(request.path.lstrip("/"))
    if fault.status is not None or body is None:
        request.send_response(fault.status or 404)
        if fault.retry_after is not None:
            request.send_header("Retry-After", fault.retry_after)
        request.send_header("Content-Length", "0")
        request.end_headers()
        return
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    start = 0
    wanted = re.fullmatch(r"bytes=(\d+)-", asked or "")
    if wanted and state.ranges and request.headers.get("If-Range", tag) == tag:
        start = int(wanted[1])
        if start >= len(body):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(body)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        request.send_response(206)
        request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
    else:
        request.send_response(200)
    if state.versions:
        request.send_header("ETag", tag)
    if state.sized:
        request.send_header("Content-Length", str(len(body) - start))
    else:
        request.send_header("Connection", "close")
    request.end_headers()
    rest = body[start:] if fault.cut_after is None else body[start : start + fault.cut_after]
    # Counted first: whoever got the last byte may look before this thread goes on.
    state.sent += len(rest)
    try:
        request.wfile.write(rest)
    except OSError:
        state.sent -= len(rest)
    if fault.cut_after is not None or not state.sized:
        request.close_connection = True
