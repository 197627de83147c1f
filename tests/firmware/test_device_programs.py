"""The programs that the system's own Python runs: the page of a kiosk that does not start, and the
one that starts the browser and sees that its page lives.
"""

from __future__ import annotations

import http.client
import json
import os
import pty
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgehemo.words.language import LANGUAGES
from edgehemo_firmware.programs import fault_page, screen
from edgehemo_firmware.written_files import out_of_service_words


@pytest.mark.parametrize(
    ("answers", "silent_s", "begun_s_ago", "left_alone"),
    [
        (False, None, 1000.0, True),  # the server's fault
        (True, None, 30.0, True),  # it may still begin
        (True, None, 70.0, False),  # it never showed the page
        (True, 5.0, 1000.0, True),
        (True, 45.0, 1000.0, False),  # it hangs
        (True, 30.0, 61.0, True),
    ],
)
def test_a_browser_is_begun_again_where_its_page_says_nothing(
    answers: bool, silent_s: float | None, begun_s_ago: float, left_alone: bool
) -> None:
    assert screen.lives(answers, silent_s, begun_s_ago) is left_alone


def test_what_a_page_before_it_said_is_not_its_own() -> None:
    assert not screen.lives(True, 25.0, 20.0, begin_s=10.0)
    assert screen.lives(True, 15.0, 20.0, begin_s=10.0)


@pytest.mark.parametrize(
    ("answer", "begun_s_ago", "fresh"),
    [
        (screen.Answer(True, 3.0, True), 12 * 3600.0, True),
        (screen.Answer(True, 3.0, True), 11 * 3600.0, False),
        (screen.Answer(True, 3.0, False), 40 * 3600.0, False),  # somebody works
        (screen.Answer(False, None, True), 40 * 3600.0, False),  # nobody could say
    ],
)
def test_a_fresh_browser_takes_the_place_of_an_old_one_while_nobody_works(
    answer: screen.Answer, begun_s_ago: float, fresh: bool
) -> None:
    assert screen.lasted(answer, begun_s_ago) is fresh


def test_without_a_graphics_processor_the_computer_draws_by_its_own(tmp_path: Path) -> None:
    """A node to draw by says that there is one; a board's is there."""
    assert screen.drawing(str(tmp_path / "none")) == {"WLR_RENDERER": "pixman"}
    (tmp_path / "card0").touch()
    assert screen.drawing(str(tmp_path)) == {"WLR_RENDERER": "pixman"}
    (tmp_path / "renderD128").touch()
    assert screen.drawing(str(tmp_path)) == {}


def test_the_socket_of_the_compositor_lies_where_its_unit_may_write(tmp_path: Path) -> None:
    session = {"XDG_RUNTIME_DIR": "/run/user/862", "WLR_RENDERER": "gles2"}
    folder = {"RUNTIME_DIRECTORY": "/run/edgehemo-screen"}
    made = screen.surroundings({**session, **folder}, str(tmp_path))
    assert made["XDG_RUNTIME_DIR"] == "/run/edgehemo-screen"
    assert made["WLR_RENDERER"] == "gles2", "what is asked for by name holds"
    assert screen.surroundings(session, str(tmp_path))["XDG_RUNTIME_DIR"] == "/run/user/862"


@pytest.mark.parametrize(
    ("compositor", "cards", "said"),
    [
        ("false", ["card0"], "ended with 1"),
        ("no-such-program", ["card0"], "ended with 127"),
        ("false", [], "no graphics that the system knows"),
    ],
)
def test_where_nothing_can_be_shown_the_console_says_so_and_it_is_tried_less_and_less(
    tmp_path: Path, compositor: str, cards: list[str], said: str
) -> None:
    for card in cards:
        (tmp_path / card).touch()
    ours, console = pty.openpty()
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    program = subprocess.Popen(
        [sys.executable, "-I", screen.__file__, "--address", "http://127.0.0.1:8321/",
         "--compositor", compositor, "--graphics", str(tmp_path), "--wait-s", "0.4"],
        stdin=console, stderr=subprocess.PIPE, text=True,
        env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "PATH": os.environ["PATH"]},
    )  # fmt: skip
    os.close(console)
    waits: list[str] = []
    try:
        text, ends = "", time.monotonic() + 20
        while len(waits) < 3:
            assert time.monotonic() < ends, text
            text += os.read(ours, 4096).decode()
            waits = re.findall(r"again in (\d+) s", text)
        assert said in text and "http://127.0.0.1:8321/" in text
        assert waits == ["0", "1", "2"]
        # It is not begun again by the service manager: that it has nothing to show is known.
        heard = [manager.recv(4096).decode() for _ in range(6)]
        assert heard[0].startswith("READY=1") and "WATCHDOG=1" in heard
        assert program.poll() is None
        program.terminate()
        assert program.wait(10) == 0
        assert program.stderr is not None and said in program.stderr.read()
    finally:
        program.kill()
        program.wait()
        os.close(ours)
        manager.close()


def test_it_is_tried_once_a_minute_at_the_least() -> None:
    waits = [screen.WAIT_S]
    for _ in range(8):
        waits.append(screen.next_wait(waits[-1]))
    assert waits[:4] == [2.0, 4.0, 8.0, 16.0] and waits[-1] == screen.MOST_WAIT_S == 60.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as there:
        port: int = there.getsockname()[1]
        return port


def test_the_page_of_a_kiosk_that_does_not_start_is_in_the_device_s_language(
    tmp_path: Path,
) -> None:
    words, settings = tmp_path / "words.json", tmp_path / "device.toml"
    known = {"en": {"title": "Out", "meaning": "m", "action": "a"},
             "fr": {"title": "Hors <service>", "meaning": "m", "action": "a"}}  # fmt: skip
    words.write_text(json.dumps(known), encoding="utf-8")
    settings.write_text('[kiosk]\nlanguage = "fr"\n')
    ended = tmp_path / "ended"
    ended.write_text("watchdog, ABRT\n")
    port = free_port()
    begun = time.monotonic()
    program = subprocess.Popen(
        [sys.executable, "-I", fault_page.__file__, "--port", str(port), "--words", str(words),
         "--configuration", str(settings), "--ended", str(ended), "--seconds", "2.5"]
    )  # fmt: skip
    try:
        answer = asked(port, "/")
        assert answer.status == 503
        text = answer.read().decode("utf-8")
        assert '<html lang="fr">' in text
        assert "Hors &lt;service&gt;" in text
        assert 'http-equiv="refresh"' in text
        assert "edgehemo-kiosk: watchdog, ABRT" in text
        # It is no kiosk that answers: the browser is left alone meanwhile.
        assert screen.asked(f"http://127.0.0.1:{port}/") == (False, None, False)
        assert program.wait(10) == 0
    finally:
        program.kill()
        program.wait()
    assert time.monotonic() - begun >= 2.5


def asked(port: int, path: str) -> http.client.HTTPResponse:
    ends = time.monotonic() + 10
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse()
        except ConnectionRefusedError:
            assert time.monotonic() < ends
            time.sleep(0.05)


@pytest.mark.parametrize("content", [None, "= 3", "kiosk = 3", "[kiosk]\n"])
def test_settings_that_cannot_be_read_give_english(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "device.toml"
    if content is not None:
        file.write_text(content)
    assert fault_page.language_of(file) == "en"
    page = fault_page.page({"en": {"title": "t", "meaning": "m", "action": "a"}}, "xx", "f")
    assert b'lang="en"' in page


def test_every_language_has_words_for_it() -> None:
    words = out_of_service_words()
    assert set(words) == set(LANGUAGES)
    assert all(each["title"] and each["meaning"] and each["action"] for each in words.values())
