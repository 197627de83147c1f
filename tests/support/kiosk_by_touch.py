"""A kiosk of its own for tests on real parts, and a browser that is touched as a person would.

The server runs as `edgehemo kiosk` does, with records in a folder of its own; the browser is
Debian's Chromium, driven by playwright. Both are ended when their context is left.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Store, Writer
from edgehemo.records.users import Role, add_user
from tests.lab.browser import find_browser

if TYPE_CHECKING:
    from playwright.sync_api import Page

PIN, SUPERVISOR_PIN, ENGINEER_PIN = "2580", "4071", "9034"
USERS: tuple[tuple[str, Role, str], ...] = (
    ("Grace", "supervisor", SUPERVISOR_PIN),
    ("Amina", "operator", PIN),
    ("Nuno", "engineer", ENGINEER_PIN),
)
SLIDE = "simulated:?seed=3&fields=20&bad=1"
START_S = 60.0
# The records lock is let go a moment after a process is gone.
SETTLE_S = 0.1
EDGEHEMO = str(Path(sys.executable).with_name("edgehemo"))
# Of the memory of a process, see proc(5).
WRITTEN = ("Pss_Anon:", "Pss_Shmem:", "SwapPss:")
# What does not fit a page: cut off, outside, or scrolled; and targets that are too small.
MISFITS = """() => { const out = []; const root = document.documentElement;
  if (root.scrollHeight > innerHeight + 1 || root.scrollWidth > innerWidth + 1) out.push("scrolls");
  for (const each of document.querySelectorAll("main *, footer *")) {
    if (each.closest(".unseen, svg, [hidden]")) continue;
    const box = each.getBoundingClientRect(); if (!box.width) continue;
    const what = each.tagName + "." + each.className + " " + each.textContent.trim().slice(0, 40);
    if (box.right > innerWidth + 1 || box.bottom > innerHeight + 1 || box.left < -1)
      out.push("outside " + what);
    const main = each.closest("main");
    if (main && box.bottom > main.getBoundingClientRect().bottom + 1) out.push("below " + what);
    if (["BUTTON", "P", "SPAN"].includes(each.tagName) && each.clientWidth &&
        each.scrollWidth > each.clientWidth + 1) out.push("cut " + what);
  }
  for (const each of document.querySelectorAll("button")) {
    const box = each.getBoundingClientRect();
    if (box.width && (box.width < 49 || box.height < 49)) out.push("small " + each.textContent);
  }
  return [...new Set(out)]; }"""


def cpu_s(pids: list[int]) -> float:
    """CPU time of processes so far."""
    total = 0
    for pid in pids:
        try:
            parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(parts[11]) + int(parts[12])
    return total / os.sysconf("SC_CLK_TCK")


def written_mb(pids: list[int]) -> float:
    """What processes wrote into memory, MB, what they share counted once.

    Program files are left out: the machine can drop them and read them again.
    """
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith(WRITTEN))
    return total / 1000


@dataclass
class KioskServer:
    """`edgehemo kiosk` with a device of its own. source: the camera. extra: TOML, after the rest.

    limits: run in the process before it begins, such as a limit of its memory or files. options: of
    the command, such as ``-v``.
    """

    folder: Path
    source: str = SLIDE
    fields_wanted: int = 3
    extra: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    limits: Callable[[], None] | None = None
    options: tuple[str, ...] = ()
    port: int = 0
    process: subprocess.Popen[str] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "device.toml").write_text(
            'schema = "edgehemo.device/1"\nname = "bench kiosk"\nboard = "workstation"\n'
            f"[paths]\ndata = '{self.folder / 'data'}'\n"
            f"[screening]\nfields_wanted = {self.fields_wanted}\n{self.extra}",
            encoding="utf-8",
        )

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def records(self) -> RecordsFolder:
        return Store.below(self.data).folder

    @property
    def log(self) -> Path:
        return self.folder / "kiosk.log"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def add_users(self) -> None:
        """The people of the tests, where there are none yet."""
        with Store.below(self.data).writer() as writer:
            if not writer.rows("SELECT 1 FROM user"):
                add_all(writer)

    def start(self, *, users: bool = True) -> float:
        """Start it, at the port it had before; returns the seconds until it said its address."""
        if users:
            self.add_users()
        begun = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [EDGEHEMO, "kiosk", "--source", self.source, "--port", str(self.port),
                 *self.options],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "EDGEHEMO_DEVICE": str(self.folder / "device.toml"),
                     "OMP_NUM_THREADS": "1", **self.environment},
                preexec_fn=self.limits,
            )  # fmt: skip
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], START_S)
        line = self.process.stdout.readline() if ready else ""
        if not line.startswith("kiosk: "):
            self.stop()
            raise AssertionError(f"the kiosk did not start: {self.log.read_text()[-2000:]}")
        self.port = int(line.strip().rstrip("/").rpartition(":")[2])
        return time.monotonic() - begun

    def stop(self) -> int:
        """End it as a service manager does; its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.cut()
            raise

    def cut(self) -> None:
        """As a power cut does: it and all that it started end at once."""
        for pid in (self.pid, *self.children()):
            kill(pid)
        assert self.process is not None
        self.process.wait(10)
        time.sleep(SETTLE_S)

    @contextmanager
    def running(self) -> Iterator[KioskServer]:
        self.start()
        try:
            yield self
        finally:
            if self.process is not None and self.process.poll() is None:
                self.stop()

    def children(self) -> list[int]:
        """Every process it started that is there."""
        return [pid for pid in descendants(self.pid) if pid != self.pid]

    def workers(self) -> list[int]:
        """The process that captures and analyses; none while there is none."""
        return [pid for pid in self.children() if "spawn_main" in command_line(pid)]


def add_all(writer: Writer) -> None:
    for name, role, pin in USERS:
        add_user(writer, name, role, pin, by="test")


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """A signal to a process that may be gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def descendants(pid: int) -> list[int]:
    """A process and all that it started, and they."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat[1])
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found


class Touch:
    """A page that is touched. page: playwright's."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.console: list[str] = []
        page.set_default_timeout(30_000)
        page.on("console", lambda said: self.console.append(said.text))
        page.on("pageerror", lambda error: self.console.append(str(error)))

    # -- what the page shows ----------------------------------------------------------------------

    @property
    def screen(self) -> str:
        return str(self.asked("document.body.dataset.screen"))

    def asked(self, script: str) -> Any:
        """What a script finds on the page; asked again where the page makes way for another."""
        for _ in range(20):
            try:
                return self.page.evaluate(script)
            except Exception as error:
                # Neither is a fault of the page: it has no body yet, or is there no more.
                if not any(each in str(error) for each in ("context was destroyed", "of null")):
                    raise
                self.page.wait_for_load_state()
        raise AssertionError("the page makes way for another without an end")

    def at(self, *screens: str, timeout_s: float = 60.0) -> str:
        """Wait for one of these screens; which it is."""
        some = ", ".join(f"body[data-screen={screen}]" for screen in screens)
        # No handle of the page's body is kept, which would keep every page that was ever shown.
        self.page.locator(some).wait_for(timeout=timeout_s * 1000)
        return self.screen

    def until(self, script: str, timeout_s: float = 30.0) -> None:
        """Wait until something is so on the page."""
        ends = time.monotonic() + timeout_s
        # The page's policy lets no text be evaluated in it: it is asked from outside.
        while not self.asked(script):
            if time.monotonic() > ends:
                raise AssertionError(f"never so on the page {self.screen}: {script}")
            self.page.wait_for_timeout(50)

    def misfits(self) -> list[str]:
        """What does not fit this page."""
        found: list[str] = self.asked(MISFITS)
        return found

    def fields(self) -> int:
        """How many fields the page says were taken."""
        return int(self.page.locator(".count strong").inner_text().replace(",", ""))

    # -- what a person does -----------------------------------------------------------------------

    def tap(self, selector: str) -> None:
        self.page.locator(selector).first.tap()

    def on(self) -> None:
        """The one filled button."""
        self.tap("footer .primary:not([disabled])")

    def type(self, digits: str) -> None:
        for digit in digits:
            self.tap(f"[data-key='{digit}']")

    def sign_in(self, name: str = "Amina", pin: str = PIN) -> None:
        """From the tiles to the start page."""
        self.tap(f"button[value={name}]")
        self.at("pin")
        self.give_pin(pin)
        self.at("home")

    def give_pin(self, pin: str = PIN) -> None:
        self.type(pin)
        self.on()
        self.until("document.body.dataset.screen != 'pin'")

    def new_sample(self, number: str = "1234") -> None:
        self.tap("main .tile.big")
        self.at("number")
        self.type(number)
        self.on()
        self.at("person")

    def answer(self, age: str = "32") -> None:
        """A woman who is not pregnant."""
        self.type(age)
        self.page.locator("input[value=female]").tap(force=True)
        self.page.locator("input[name=pregnant][value='0']").tap(force=True)
        self.page.locator("input[name=smokes][value=false]").tap(force=True)
        self.on()
        self.at("check")

    def checked(self) -> None:
        """The self-check has answered."""
        self.until("document.querySelectorAll('.checks li').length > 4")

    def to_check(self, kiosk: KioskServer, number: str = "1234") -> None:
        """From nothing to a self-check that has answered."""
        self.page.goto(kiosk.url)
        self.sign_in()
        self.new_sample(number)
        self.answer()
        self.checked()

    def to_capture(self, kiosk: KioskServer, number: str = "1234") -> None:
        """From nothing to the live picture."""
        self.to_check(kiosk, number)
        self.on()
        self.at("capture", "analysis", "result")

    def review_all(self) -> None:
        """From the result to the last page, through the cells that must be looked at."""
        for _ in range(40):
            if self.screen == "sign_off":
                return
            asks = self.page.locator("footer .primary:not([disabled])")
            before = self.page.evaluate("document.body.dataset.version")
            asks.first.tap()
            self.until(f"document.body.dataset.version != '{before}'")
        raise AssertionError("the review does not end")

    def sign(self) -> None:
        self.on()
        self.at("done")

    def processes(self) -> list[int]:
        """The browser's processes."""
        own = os.getpid()
        return [pid for pid in descendants(own) if "chrom" in command_line(pid)]


def missing_parts() -> str:
    """What is missing for a browser that is touched; empty where all is there."""
    try:
        import playwright  # noqa: F401
    except ModuleNotFoundError:
        return "playwright is not installed: pip install playwright"
    return "" if find_browser() else "no Chromium is installed: apt-get install chromium"


@contextmanager
def opened_browser(
    width: int = 800, height: int = 480, *, touch: bool = True, **context: Any
) -> Iterator[Touch]:
    """A browser with one page of the kiosk's size."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=str(find_browser()), args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            opened = browser.new_context(
                viewport={"width": width, "height": height}, has_touch=touch, **context
            )
            yield Touch(opened.new_page())
        finally:
            browser.close()
