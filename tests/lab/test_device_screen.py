"""The device's own browser, for real: a Wayland compositor, Chromium, the kiosk."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import edgehemo_firmware.programs.screen as screen
from edgehemo.kiosk.browser import switches
from tests.lab.debian import need_tools
from tests.support.kiosk_by_touch import KioskServer, command_line, descendants, kill

pytestmark = pytest.mark.lab

SYSTEM_PYTHON = "/usr/bin/python3"
SEEN_WITHIN_S = 60.0
# Instead of a minute and forty seconds: nobody waits for a slow card here.
BEGIN_S, SILENT_S = 5.0, 12.0


class Manager:
    """What the service manager hears."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        path.chmod(0o666)

    def pets(self, seconds: float, enough: int = 1000) -> int:
        """How often the watchdog was petted within a time; no longer than until it is enough."""
        ends, count = time.monotonic() + seconds, 0
        while count < enough and (left := ends - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                count += self.socket.recv(4096).startswith(b"WATCHDOG=1")
            except TimeoutError:
                break
        return count


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where somebody who is not root may go, which pytest's own folders are not."""
    place = Path("/run/edgehemo-screen")
    place.mkdir(mode=0o755, exist_ok=True)
    yield place
    shutil.rmtree(place)


def page_seen_s(kiosk: KioskServer) -> float | None:
    return screen.asked(kiosk.url).silent_s


def test_the_page_is_seen_and_a_browser_that_hangs_is_not_petted(
    tmp_path: Path, folder: Path
) -> None:
    need_tools(cage="cage", chromium="chromium", Xwayland="xwayland", setpriv="util-linux")
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    manager = Manager(folder / "notify")
    program = folder / "screen.py"
    shutil.copyfile(screen.__file__, program)
    with KioskServer(tmp_path / "kiosk").running() as kiosk:
        command = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}",
                   "--clear-groups", SYSTEM_PYTHON, "-I", str(program), "--address", kiosk.url,
                   "--begin-s", str(BEGIN_S), "--silent-s", str(SILENT_S), "--",
                   # There is no name space of its own for who is nobody in a container.
                   "--no-sandbox", *switches()]  # fmt: skip
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "NOTIFY_SOCKET": str(manager.path),
            "WLR_BACKENDS": "headless",
            "WLR_LIBINPUT_NO_DEVICES": "1",
            "WLR_RENDERER": "pixman",
        }
        log = (tmp_path / "screen.log").open("w")
        browser = subprocess.Popen(command, env=environment, stderr=log, cwd="/")
        try:
            until_seen(kiosk, browser, tmp_path / "screen.log")
            manager.pets(0.1)
            assert manager.pets(30.0, 2) == 2
            renderers = [
                pid for pid in descendants(browser.pid) if "--type=renderer" in command_line(pid)
            ]
            assert renderers
            for pid in renderers:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(SILENT_S + screen.ASK_EVERY_S)
            manager.pets(0.1)
            assert manager.pets(2 * screen.ASK_EVERY_S) == 0
            for pid in renderers:
                os.kill(pid, signal.SIGCONT)
            assert manager.pets(30.0, 1) == 1
            # Where the server is gone, the browser is not to blame.
            kiosk.cut()
            manager.pets(0.1)
            assert manager.pets(30.0, 1) == 1
        finally:
            browser.send_signal(signal.SIGTERM)
            for pid in descendants(browser.pid):
                kill(pid)
            browser.wait(20)
            log.close()


def test_a_fresh_browser_takes_the_place_of_an_old_one(tmp_path: Path) -> None:
    """Its program ends by itself while nobody is signed in; the service manager begins it again."""
    stand_in = tmp_path / "compositor"
    stand_in.write_text("#!/bin/sh\nexec sleep 600\n")
    stand_in.chmod(0o755)
    with KioskServer(tmp_path / "kiosk").running() as kiosk:
        begun = time.monotonic()
        command = [SYSTEM_PYTHON, "-I", screen.__file__, "--address", kiosk.url,
                   "--compositor", str(stand_in), "--fresh-after-s", "6"]  # fmt: skip
        browser = subprocess.Popen(command)
        try:
            browser.wait(60)
        finally:
            browser.kill()
        assert time.monotonic() - begun >= 6


def until_seen(kiosk: KioskServer, browser: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + SEEN_WITHIN_S
    while page_seen_s(kiosk) is None:
        assert browser.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < ends, log.read_text()[-2000:]
        time.sleep(0.5)


def test_the_program_needs_nothing_but_the_system_s_python() -> None:
    if not Path(SYSTEM_PYTHON).exists():
        pytest.skip(f"no {SYSTEM_PYTHON}")
    for name in ("screen", "fault_page"):
        file = Path(screen.__file__).with_name(f"{name}.py")
        done = subprocess.run(
            [SYSTEM_PYTHON, "-I", str(file), "--help"], capture_output=True, text=True, check=True
        )
        assert "usage" in done.stdout
    assert sys.version_info >= (3, 11)
