"""Each state's page as axe-core sees it, in light and dark: with a screen reader, with keys alone.

The pages are rendered without a camera and shown with the kiosk's own styles and script.
"""

from __future__ import annotations

import asyncio
import runpy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgehemo.kiosk import app
from edgehemo.kiosk.faults import FAULT_CODES
from edgehemo.kiosk.screens import SCREENS
from edgehemo.words.language import Words
from tests.support.axe import axe_source, in_light_and_dark
from tests.support.kiosk_by_touch import Touch, missing_parts, opened_browser
from tests.support.kiosk_states import Found, area_states, camera_states, flow_states

if TYPE_CHECKING:
    from playwright.sync_api import Route

pytestmark = pytest.mark.lab

HERE = "http://127.0.0.1:8321/"
STATIC = Path(app.__file__).with_name("static")
FAULT_PAGE = Path(__file__).parents[2] / "firmware_config/edgehemo_firmware/programs/fault_page.py"
TYPES = {".css": "text/css", ".js": "text/javascript"}


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if missing := missing_parts():
        pytest.skip(missing)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("EDGEHEMO_DEVICE", raising=False)


@contextmanager
def shown() -> Iterator[tuple[Touch, Callable[[str], None]]]:
    """A browser, and what shows a page in it."""
    html = ""

    def answered(route: Route) -> None:
        path = route.request.url.removeprefix(HERE)
        if path == "":
            route.fulfill(body=html, content_type="text/html; charset=utf-8")
        elif path == "static/fitting.js":
            # It would ask for the list again with as many rows as there is room for.
            route.fulfill(body="export function fitting() {}", content_type=TYPES[".js"])
        elif path.startswith("static/"):
            file = STATIC / path.removeprefix("static/")
            route.fulfill(body=file.read_bytes(), content_type=TYPES[file.suffix])
        elif path == "screen.css":
            route.fulfill(body=":root { --mm: 5.2px; }", content_type="text/css")
        elif path != "changes":  # which never says anything
            route.fulfill(status=204)

    with opened_browser(bypass_csp=True) as touch:
        touch.page.route("**/*", answered)
        touch.page.add_init_script(axe_source())

        def show(page: str) -> None:
            nonlocal html
            html = page
            touch.page.goto(HERE)

        yield touch, show


def wrong_with(found: Found) -> dict[str, list[str]]:
    with shown() as (touch, show):
        wrong = {}
        for name, page in found.items():
            show(page)
            if said := in_light_and_dark(touch.page):
                wrong[name] = said
        assert not [said for said in touch.console if "rror" in said]
    return wrong


def screens_of(found: Found) -> set[str]:
    return {page.partition('data-screen="')[2].partition('"')[0] for page in found.values()}


def test_the_page_of_a_kiosk_that_does_not_start_waits_for_it() -> None:
    """Served by a program of its own; it makes way for the kiosk once that answers."""
    program = runpy.run_path(str(FAULT_PAGE))
    told = Words("en").guidance("KIOSK_OUT_OF_SERVICE")
    words = {"title": told.title, "meaning": told.meaning, "action": told.action}
    answers = [(200, b"<!doctype html><title>kiosk</title>")]
    page = program["page"]({"en": words}, "en", "edgehemo-kiosk.service: exit-code, 1")

    def answered(route: Route) -> None:
        status, body = answers[-1]
        route.fulfill(
            status=status, body=body, content_type="text/html",
            headers={"content-security-policy": program["POLICY"]},
        )  # fmt: skip

    with opened_browser() as touch:
        touch.page.route("**/*", answered)
        answers.append((503, page))
        touch.page.goto(HERE)
        touch.page.wait_for_timeout(1000 * (program["RELOAD_S"] + 1))
        assert touch.page.title() == told.title
        answers.pop()
        touch.page.wait_for_function("() => document.title === 'kiosk'")
    with shown() as (touch, show):
        show(page.decode())
        assert in_light_and_dark(touch.page) == []


def test_what_whoever_takes_samples_meets(tmp_path: Path) -> None:
    """Each screen, each fault, practice to what was right in it, a second screen."""
    found = asyncio.run(flow_states(tmp_path / "records"))
    areas = {"results", "monitoring", "users", "backup", "updates"}
    areas |= {"equipment", "calibration", "artefacts", "doctor"}
    assert set(SCREENS) - areas <= screens_of(found)
    assert all(code.partition("_")[0] in found[f"fault {code}"] for code in FAULT_CODES)
    assert wrong_with(found) == {}
    with shown() as (touch, show):
        show(found["abandon"])
        touch.tap("footer .ask")
        touch.until("!!document.querySelector('#help:popover-open')")
        assert in_light_and_dark(touch.page) == []
        show(found["abandon"])
        touch.tap("#words")
        touch.until("!!document.querySelector('dialog.keyboard[open]')")
        assert in_light_and_dark(touch.page) == []


def test_what_an_engineer_sees_with_a_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert wrong_with(asyncio.run(camera_states(tmp_path, monkeypatch))) == {}


@pytest.mark.parametrize(("role", "least"), [("supervisor", 50), ("engineer", 20)])
def test_what_is_in_the_areas_of_a(tmp_path: Path, role: str, least: int) -> None:
    found = asyncio.run(area_states(tmp_path, "supervisor" if role == "supervisor" else "engineer"))
    assert len(found) >= least
    assert wrong_with(found) == {}
