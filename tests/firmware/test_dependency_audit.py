"""The audit: what it finds, and that it is never silent where it could not look."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from edgehemo_firmware.dependencies.audit import (
    KNOWN_WEAK,
    Answer,
    Ask,
    NotAuditedError,
    Weakness,
    audited,
    pip_audit,
)
from edgehemo_firmware.dependencies.lock import LockedPackage, read_lock, shipped_lock

PACKAGES = [
    LockedPackage("alpha", "1.0", "", ("0" * 64,)),
    LockedPackage("beta", "1.0", "python_version < '3.12'", ("0" * 64,)),
    LockedPackage("beta", "2.0", "python_version >= '3.12'", ("0" * 64,)),
]
OLD = Weakness(*KNOWN_WEAK, ("CVE-1",), ("2.7",))


def asking(
    *weak: tuple[str, str], skipped: tuple[str, ...] = (), asked: list[tuple[str, str]]
) -> Ask:
    """A service that knows the weaknesses of ``weak``, and notes what it is asked."""

    def ask(packages: Iterable[tuple[str, str]]) -> Answer:
        wanted = list(packages)
        asked.extend(wanted)
        assert len({name for name, _ in wanted}) == len(wanted)
        return Answer(
            tuple(Weakness(*each, ("CVE-2",), ()) for each in wanted if each in weak),
            tuple(f"{name}: passed over" for name, _ in wanted if name in skipped),
        )

    return ask


def test_every_version_is_asked_about_once() -> None:
    asked: list[tuple[str, str]] = []
    audit = audited(PACKAGES, {"the service": asking(KNOWN_WEAK, asked=asked)})
    assert sorted(asked) == [("alpha", "1.0"), ("beta", "1.0"), ("beta", "2.0"), KNOWN_WEAK]
    assert audit.exit_code == 0
    assert audit.lines() == ["3 of 3 packages audited by the service: no known weakness"]


def test_a_weakness_fails_the_audit_and_is_named() -> None:
    audit = audited(PACKAGES, {"s": asking(KNOWN_WEAK, ("beta", "2.0"), asked=[])})
    assert audit.exit_code == 1
    assert audit.lines() == [
        "beta 2.0: CVE-2; not mended yet",
        "3 of 3 packages audited by s: 1 known weaknesses",
    ]
    assert str(OLD) == "jinja2 2.4.1: CVE-1; mended in 2.7"


def test_a_package_that_was_passed_over_fails_the_audit() -> None:
    audit = audited(PACKAGES, {"s": asking(KNOWN_WEAK, skipped=("alpha",), asked=[])})
    assert audit.exit_code == 2
    assert audit.lines()[0] == "not audited: alpha: passed over"
    assert "2 of 3 packages audited" in audit.lines()[-1]


def test_a_service_that_knows_nothing_is_not_believed() -> None:
    with pytest.raises(NotAuditedError) as caught:
        audited(PACKAGES, {"empty": asking(asked=[])})
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith("not audited: the advisory data could not be had (empty ")


def test_the_next_service_is_asked_where_one_does_not_answer() -> None:
    def silent(_: Iterable[tuple[str, str]]) -> Answer:
        raise NotAuditedError("no answer")

    asked: list[tuple[str, str]] = []
    audit = audited(PACKAGES, {"first": silent, "second": asking(KNOWN_WEAK, asked=asked)})
    assert (audit.asked, audit.exit_code) == ("second", 0)
    with pytest.raises(NotAuditedError, match=r"first: no answer; second: no answer"):
        audited(PACKAGES, {"first": silent, "second": silent})


@contextmanager
def osv_server(weak: dict[str, str]) -> Iterator[str]:
    """A server of OSV's interface on the loopback address; weak: name -> identifier."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # as http.server calls it
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = asked["package"]["name"]
            found = []
            if name in weak:
                fixed = {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.1"}]}
                package = {"name": name, "ecosystem": "PyPI"}
                affected = [{"package": package, "ranges": [fixed]}]
                found = [{"id": weak[name], "summary": "bad", "affected": affected}]
            body = json.dumps({"vulns": found} if found else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing: the test's output is its own."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/query"
    finally:
        server.shutdown()
        server.server_close()


def audit_command(url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgehemo_firmware.dependencies.audit", "--osv-url", url],
        capture_output=True, text=True,
    )  # fmt: skip


def test_the_tool_itself_with_a_server_that_knows() -> None:
    versions = len({(each.name, each.version) for each in read_lock(shipped_lock().read_text())})
    with osv_server({"jinja2": "OLD-1"}) as url:
        found = audit_command(url)
    # The server is asked by name alone, so today's version is called weak too.
    assert found.returncode == 1, found.stderr
    assert "OLD-1; mended in 99.1" in found.stdout
    assert f"{versions} of {versions} packages audited" in found.stdout


def test_the_tool_itself_with_a_server_that_knows_nothing() -> None:
    with osv_server({}) as url:
        done = audit_command(url)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "not audited: the advisory data could not be had" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_tool_itself_without_a_server() -> None:
    done = audit_command("http://127.0.0.1:9/v1/query")
    assert done.returncode == 2
    assert done.stderr.startswith("error: not audited: the advisory data could not be had")
    assert len(done.stderr.splitlines()) == 1


def test_a_package_nobody_has_heard_of_is_asked_about() -> None:
    with osv_server({"no-such-package": "X-1"}) as url:
        answer = pip_audit("osv", osv_url=url)([("no-such-package", "1.0"), ("other", "2.0")])
    assert answer == Answer(
        (Weakness("no-such-package", "1.0", ("X-1",), ("99.1",)),), passed_over=()
    )
