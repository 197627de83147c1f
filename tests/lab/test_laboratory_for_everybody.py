"""The laboratory's pages as axe-core sees them, in light and dark, on a desk and on a telephone."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import httpx
import pytest

from edgehemo_laboratory.simulated.fleet import example
from edgehemo_laboratory.storage.interface import Storage
from tests.support.axe import axe_source, violations
from tests.support.kiosk_by_touch import missing_parts, opened_browser
from tests.support.laboratory_pages import seen

if TYPE_CHECKING:
    from playwright.sync_api import Route

pytestmark = pytest.mark.lab

# Between the two only colours differ.
SCHEMES: tuple[tuple[Literal["light", "dark"], str | None], ...] = (
    ("light", None), ("dark", "color-contrast"),
)  # fmt: skip
HERE = "http://127.0.0.1:8321"
PATHS = (
    "/", "/?only=look", "/kiosks/simulated-004", "/kiosks/nobody", "/results",
    "/results?from=never", "/outliers", "/agreement",
)  # fmt: skip


def shown_pages(folder: Path) -> dict[str, str]:
    """Pages of a fleet with faults and of a laboratory without anything."""
    pages: dict[str, str] = {}

    async def work(client: httpx.AsyncClient, storage: Storage) -> None:
        ((store, result_id),) = await storage.rows(
            "SELECT store, result_id FROM result WHERE corrected = 1 LIMIT 1"
        )
        for path in (*PATHS, f"/results/{store}/{result_id}"):
            pages[path] = (await client.get(path)).text
        pages["look"] = (await client.get("/look.css")).text

    async def empty(client: httpx.AsyncClient, _: Storage) -> None:
        for path in ("/", "/results", "/outliers", "/agreement"):
            pages[f"empty {path}"] = (await client.get(path)).text

    (folder / "full").mkdir()
    (folder / "empty").mkdir()
    seen(folder / "full", example(12, days=45, results=4.0), work)
    seen(folder / "empty", None, empty)
    return pages


@pytest.mark.parametrize("width", [1100, 390])
def test_every_page_can_be_used_by_everybody(tmp_path: Path, width: int) -> None:
    if missing := missing_parts():
        pytest.skip(missing)
    source = axe_source()
    pages = shown_pages(tmp_path)
    look = pages.pop("look")
    assert look.endswith(
        resources.files("edgehemo_laboratory.server")
        .joinpath("static/laboratory.css")
        .read_text("utf-8")
    )
    html = ""

    def answered(route: Route) -> None:
        if route.request.url.endswith("/look.css"):
            route.fulfill(body=look, content_type="text/css")
        elif route.request.url == f"{HERE}/":
            route.fulfill(body=html, content_type="text/html; charset=utf-8")
        else:
            route.fulfill(status=204)

    wrong: dict[str, list[str]] = {}
    with opened_browser(width, 800, touch=width < 640, bypass_csp=True) as touch:
        touch.page.route("**/*", answered)
        touch.page.add_init_script(source)
        for name, page in pages.items():
            html = page
            touch.page.goto(f"{HERE}/")
            found = []
            for scheme, rule in SCHEMES:
                touch.page.emulate_media(color_scheme=scheme)
                found += [f"{scheme}: {each}" for each in violations(touch.page, rule=rule)]
            wide = int(touch.page.evaluate("document.documentElement.scrollWidth"))
            if wide > width:
                found.append(f"{wide} px wide on {width}")
            if found:
                wrong[name] = found
    assert not wrong
