"""A supervisor's pages in a real browser: everything fits, is large enough, and works by touch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.lab.kiosk_browser import FAULTS, SUPERVISOR_PIN, at, go_on, keys, served, touched

pytestmark = pytest.mark.lab

# Every page that stands without a result, by area.
PAGES = {
    "results": ("", "?pile=held", "search"),
    "monitoring": ("", "control", "refusals", "analyser", "analyser/add"),
    "users": ("", "add", "known/Amina", "known/Amina/pin", "known/Amina/role", "known/Amina/off"),
    "backup": ("", "export", "restore"),
}


def into(page: Any, area: str) -> None:
    """Open an area from the start page."""
    page.locator(f".areas form:has([name=area][value={area}]) button").tap()
    at(page, area)


def signed_in(page: Any) -> None:
    page.locator("button[value=Grace]").tap()
    at(page, "pin")
    keys(page, SUPERVISOR_PIN)
    go_on(page)
    at(page, "home")


@pytest.mark.parametrize("language", ["en", "fr"])
def test_every_page_fits_and_can_be_touched(tmp_path: Path, language: str) -> None:
    found: list[str] = []
    with served(tmp_path) as address, touched(address, language) as page:
        signed_in(page)
        for area, paths in PAGES.items():
            into(page, area)
            for path in paths:
                page.goto(f"{address}area/{area}/{path}")
                page.wait_for_selector("main h1")
                found += [f"{area}/{path}: {each}" for each in page.evaluate(FAULTS)]
            page.goto(f"{address}area/{area}/")
            page.locator("footer .left form button").tap()
            at(page, "home")
    assert found == []


def test_somebody_is_added_with_the_keyboard_and_the_pad(tmp_path: Path) -> None:
    with served(tmp_path) as address, touched(address) as page:
        signed_in(page)
        into(page, "users")
        page.locator("footer .primary").tap()
        # The page's script is there once the page is loaded.
        page.wait_for_url("**/area/users/add*")
        page.locator("[name=name]").tap()
        for each in "rose":
            page.locator(f"dialog [data-key='{each}']").tap()
        page.locator("[data-done]").tap()
        page.locator("label:has([value=operator])").tap()
        for entry in ("#pin", "#again"):
            page.locator(entry).tap()
            keys(page, "7391")
        go_on(page)
        page.get_by_text("rose may work now").wait_for()
