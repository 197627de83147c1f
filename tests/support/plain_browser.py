"""A browser that is touched and asked, but keeps no account of what it loads.

playwright turns on the browser's network inspector, which keeps the content of every answer for
whoever may ask for it, up to 200 MB: a kiosk's live picture fills that in minutes. What the memory
of a browser does over hours is measured with this one, which speaks to Debian's Chromium over its
own pipe (Chrome DevTools Protocol) and has it told nothing that it would not know in a kiosk.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgehemo.kiosk.browser import switches as switches_of_a_device
from tests.lab.browser import find_browser

# Beside the switches of a device's own browser.
HERE = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe")
# What a device's policy for Chromium turns off besides, as a profile has it.
PREFERENCES = {
    "autofill": {"enabled": False, "profile_enabled": False, "credit_card_enabled": False},
    "credentials_enable_service": False,
}
ANSWER_S, SETTLE_S, END_S = 120.0, 0.02, 10.0
# The pipe's two ends are files 3 and 4 of the browser.
LAUNCH = """import os, sys
asked, told = map(int, sys.argv[1:3])
os.dup2(asked, 3), os.dup2(told, 4)
os.execvp(sys.argv[3], sys.argv[3:])"""
FOUND = """(() => { const each = document.querySelector(%s);
  if (!each) return null;
  const box = each.getBoundingClientRect();
  return box.width && box.height ? [box.x + box.width / 2, box.y + box.height / 2] : null; })()"""


@dataclass
class Pipe:
    """The protocol: requests with numbers, answers to them, and what is told unasked."""

    asks: int
    tells: int
    number: int = 0
    kept: bytes = b""
    heard: dict[str, list[Callable[[dict[str, Any]], object]]] = field(default_factory=dict)

    def send(self, method: str, session: str | None = None, **what: Any) -> dict[str, Any]:
        """The answer to a request. RuntimeError where the browser refuses or does not answer."""
        self.number += 1
        asked = {"id": self.number, "method": method, "params": what}
        if session is not None:
            asked["sessionId"] = session
        os.write(self.asks, json.dumps(asked).encode() + b"\0")
        ends = time.monotonic() + ANSWER_S
        while time.monotonic() < ends:
            for told in self._read(ends - time.monotonic()):
                if told.get("id") != self.number:
                    continue
                if "error" in told:
                    raise RuntimeError(f"{method}: {told['error'].get('message')}")
                answer: dict[str, Any] = told["result"]
                return answer
        raise RuntimeError(f"{method}: the browser does not answer")

    def listen(self, seconds: float) -> None:
        """Hear what is told for so long."""
        ends = time.monotonic() + seconds
        while (left_s := ends - time.monotonic()) > 0:
            self._read(left_s)

    def _read(self, seconds: float) -> list[dict[str, Any]]:
        ready, _, _ = select.select([self.tells], [], [], max(0.0, seconds))
        if not ready:
            return []
        read = os.read(self.tells, 1 << 20)
        if not read:
            raise RuntimeError("the browser is gone")
        *whole, self.kept = (self.kept + read).split(b"\0")
        said = [json.loads(each) for each in whole]
        for each in said:
            for hears in self.heard.get(each.get("method", ""), []):
                hears(each["params"])
        return said


@dataclass
class Spot:
    """Where something is on the page, by a CSS selector."""

    page: PlainPage
    selector: str

    @property
    def first(self) -> Spot:
        return self

    def wait_for(self, timeout: float = 1000 * ANSWER_S) -> tuple[float, float]:
        """Its middle, px, as soon as it is shown. timeout: ms."""
        ends = time.monotonic() + timeout / 1000
        while True:
            found = self.page.evaluate(FOUND % json.dumps(self.selector))
            if found is not None:
                return found[0], found[1]
            if time.monotonic() > ends:
                raise AssertionError(f"not on the page: {self.selector}")
            self.page.wait_for_timeout(1000 * SETTLE_S)

    def tap(self, *, force: bool = False) -> None:
        """A finger there. force: also where something lies over it, as it always is here."""
        x, y = self.wait_for()
        self.page.send(
            "Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}]
        )
        self.page.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])


@dataclass(frozen=True)
class Said:
    """What is written to the browser's console."""

    text: str


@dataclass
class PlainPage:
    """A page, with the little of playwright's that `kiosk_by_touch.Touch` uses."""

    pipe: Pipe
    session: str

    def send(self, method: str, **what: Any) -> dict[str, Any]:
        return self.pipe.send(method, self.session, **what)

    def set_default_timeout(self, _: float) -> None:
        """Each wait has its own."""

    def on(self, what: str, told: Callable[[Any], object]) -> None:
        """Hear what the page complains of: ``console``, told what has a ``text``; ``pageerror``."""
        if what == "console":
            self.send("Log.enable")
            self._hear("Log.entryAdded", lambda said: told(Said(said["entry"]["text"])))
        elif what == "pageerror":
            self.send("Runtime.enable")
            self._hear("Runtime.exceptionThrown", lambda said: told(said["exceptionDetails"]))
        else:
            raise ValueError(what)

    def _hear(self, name: str, hears: Callable[[dict[str, Any]], object]) -> None:
        self.pipe.heard.setdefault(name, []).append(hears)

    def goto(self, address: str) -> None:
        self.send("Page.navigate", url=address)
        self.wait_for_load_state()

    def wait_for_load_state(self) -> None:
        ends = time.monotonic() + ANSWER_S
        while self.evaluate("document.readyState") != "complete":
            if time.monotonic() > ends:
                raise AssertionError("the page never is complete")
            self.wait_for_timeout(1000 * SETTLE_S)

    def evaluate(self, script: str) -> Any:
        """The value of a text of script; a function is called. RuntimeError where it throws."""
        called = f"({script})()" if script.startswith(("() =>", "async () =>")) else script
        answer = self.send(
            "Runtime.evaluate", expression=called, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"].get("value")

    def wait_for_timeout(self, timeout: float) -> None:
        self.pipe.listen(timeout / 1000)

    def locator(self, selector: str) -> Spot:
        return Spot(self, selector)


@contextmanager
def plain_page(
    width: int = 800, height: int = 480, switches: Sequence[str] | None = None
) -> Iterator[PlainPage]:
    """A Chromium with one page of the kiosk's size, with a touch screen. switches: a device's."""
    switches = switches_of_a_device() if switches is None else switches
    asks, tells = os.pipe(), os.pipe()
    browser = str(find_browser())
    # Above those that they are to become.
    theirs = [fcntl.fcntl(each, fcntl.F_DUPFD, 10) for each in (asks[0], tells[1])]
    for each in (asks[0], tells[1]):
        os.close(each)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        profile = Path(folder) / "Default" / "Preferences"
        profile.parent.mkdir()
        profile.write_text(json.dumps(PREFERENCES), encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, *map(str, theirs), browser, *HERE, *switches,
             f"--user-data-dir={folder}", f"--window-size={width},{height}", "about:blank"],
            pass_fds=theirs, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for each in theirs:
            os.close(each)
        pipe = Pipe(asks[1], tells[0])
        try:
            targets = pipe.send("Target.getTargets")["targetInfos"]
            page = next(each["targetId"] for each in targets if each["type"] == "page")
            session = pipe.send("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
            opened = PlainPage(pipe, session)
            opened.send("Emulation.setDeviceMetricsOverride", width=width, height=height,
                        deviceScaleFactor=1, mobile=False)  # fmt: skip
            opened.send("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=1)
            yield opened
        finally:
            with suppress(RuntimeError, OSError):
                pipe.send("Browser.close")
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
            for each in (asks[1], tells[0]):
                os.close(each)
