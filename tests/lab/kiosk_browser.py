"""A kiosk that is served for real, and a browser that touches it: for the tests of its pages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Writer
from edgehemo.records.users import add_user
from tests.lab.browser import find_browser

PIN, SUPERVISOR_PIN = "2580", "4071"
SCREEN = {"width": 800, "height": 480}
TIMEOUT_MS = 30_000
DEVICE = """schema = "edgehemo.device/1"
name = "kiosk test"
board = "workstation"
[paths]
data = {data!r}
[screening]
fields_wanted = {fields}
"""
# What does not fit the screen, is cut, or is too small or too near to be touched; in words.
FAULTS = """() => {
  const found = [];
  const page = document.documentElement;
  const high = page.scrollHeight > innerHeight + 1;
  if (high || page.scrollWidth > innerWidth + 1) found.push("scrolls");
  const over = document.querySelector("dialog[open], [popover]:popover-open");
  const shown = [...(over ?? document.body).querySelectorAll("*")].filter((each) =>
    each.getBoundingClientRect().width && !each.closest(".unseen, svg, template, .facts"));
  for (const each of shown) {
    const box = each.getBoundingClientRect();
    const said = `${each.tagName}.${each.className} ${each.textContent.trim().slice(0, 40)}`;
    if (box.right > innerWidth + 1 || box.bottom > innerHeight + 1) found.push("out: " + said);
    const text = ["BUTTON", "P", "SPAN", "STRONG", "LI", "H1", "H2"].includes(each.tagName);
    const wide = each.clientWidth && each.scrollWidth > each.clientWidth + 1;
    if (text && wide) found.push("cut: " + said);
  }
  const touched = shown.filter((each) => each.matches("button, a.button, .segment, input.entry"));
  for (const each of touched) {
    const box = each.getBoundingClientRect();
    if (box.width < 49 || box.height < 49) found.push("small: " + each.textContent.trim());
  }
  return found;
}"""


@contextmanager
def served(
    folder: Path, source: str = "simulated:?seed=3&fields=12", more: str = "", fields: int = 4
) -> Iterator[str]:
    """A kiosk with the users Grace, a supervisor, and Amina; its address. Its records lie
    below the folder. more: of its configuration. fields: good ones that it
    wants.
    """
    data, device = folder / "data", folder / "device.toml"
    device.write_text(DEVICE.format(data=str(data), fields=fields) + more, "utf-8")
    with Writer(RecordsFolder(data / "records")) as writer:
        add_user(writer, "Grace", "supervisor", SUPERVISOR_PIN, by="test")
        add_user(writer, "Amina", "operator", PIN, by="test")
    environment = {**os.environ, "EDGEHEMO_DEVICE": str(device), "HOME": str(folder)}
    with subprocess.Popen(
        [sys.executable, "-m", "edgehemo", "kiosk", "--source", source, "--port", "0"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            address = re.search(r"http://\S+/", process.stdout.readline())
            assert address is not None, "the kiosk says where it is"
            yield address[0]
        finally:
            process.terminate()


@contextmanager
def touched(
    address: str, language: str = "en", size: dict[str, int] | None = None
) -> Iterator[Any]:
    """A browser with a touch screen that has opened the kiosk's page; skips without one."""
    playwright = pytest.importorskip("playwright.sync_api")
    browser = find_browser()
    if browser is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=str(browser), args=["--no-sandbox"])
        context = chromium.new_context(viewport=size or SCREEN, has_touch=True)
        context.add_cookies([{"name": "edgehemo-language", "value": language, "url": address}])
        page = context.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(address)
        yield page
        assert not problems
        chromium.close()


def at(page: Any, screen: str) -> None:
    """Wait for a screen."""
    page.wait_for_selector(f"body[data-screen={screen}]")


def keys(page: Any, text: str) -> None:
    """Touch keys of the page's pad."""
    for each in text:
        page.locator(f"main [data-key='{each}']").tap()


def go_on(page: Any) -> None:
    """The filled button."""
    page.locator("footer .primary").tap()


def sign_in(page: Any) -> None:
    """As Amina."""
    page.locator("button[value=Amina]").tap()
    at(page, "pin")
    keys(page, PIN)
    go_on(page)
    at(page, "home")


def begin_sample(page: Any, number: str = "77") -> None:
    """A sample up to the questions about the person."""
    page.locator("main form").first.locator("button").tap()
    at(page, "number")
    keys(page, number)
    go_on(page)
    at(page, "person")
