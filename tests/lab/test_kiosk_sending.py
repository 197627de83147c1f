"""Where results are, on the kiosk's pages: noted here, received there, refused there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgehemo.interop.outbox import ask_again, numbers
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Writer
from tests.lab.kiosk_browser import (
    FAULTS,
    SUPERVISOR_PIN,
    at,
    begin_sample,
    go_on,
    keys,
    served,
    sign_in,
    touched,
)
from tests.support.receivers import StubProcess, receiver, running, signed_results
from tests.support.screening_fakes import TruthFinder, simulated_frames

pytestmark = pytest.mark.lab
TIMEOUT_MS = 60_000


def receivers(stub: StubProcess, folder: Path) -> str:
    """Of the device configuration: the laboratory, and a folder that is not there."""
    return "".join(
        f'[[receivers]]\nname = "{name}"\nkind = "{kind}"\naddress = {json.dumps(address)}\n'
        "simulated = true\n"
        for name, kind, address in (
            ("laboratory", "laboratory", stub.address),
            ("stick", "folder", str(folder / "stick")),
        )
    )


def to_the_end(page: Any) -> None:
    """A sample from its number to its signature."""
    begin_sample(page)
    keys(page, "32")
    page.locator("input[value=female]").tap()
    go_on(page)
    page.wait_for_selector(".checks li:nth-child(6)")
    go_on(page)
    at(page, "capture")
    page.wait_for_selector("body[data-screen=result]", timeout=180_000)
    while page.evaluate("document.body.dataset.screen") != "sign_off":
        version = page.evaluate("document.body.dataset.version")
        go_on(page)
        page.wait_for_function("before => document.body.dataset.version !== before", arg=version)
    go_on(page)
    at(page, "done")


@pytest.mark.timeout(400)
def test_the_signed_page_says_when_a_result_was_received(tmp_path: Path) -> None:
    with (
        running("laboratory", tmp_path / "lab") as stub,
        served(tmp_path, more=receivers(stub, tmp_path)) as address,
        touched(address) as page,
    ):
        sign_in(page)
        to_the_end(page)
        delivered = page.locator(".delivered")
        # It changes by itself, while nobody touches anything.
        page.wait_for_function(
            "() => document.querySelector('.delivered').textContent"
            ".includes('laboratory: Received there')",
            timeout=TIMEOUT_MS,
        )
        assert "stick: Noted here" in delivered.inner_text()
        assert page.evaluate(FAULTS) == []
        assert "1 to be sent" in page.locator("header .facts").inner_text()
        for language in ("fr", "sw"):
            cookie = {"name": "edgehemo-language", "value": language, "url": address}
            page.context.add_cookies([cookie])
            page.goto(address)
            assert page.evaluate(FAULTS) == [], language
        page.screenshot(path=str(tmp_path / "done.png"))
        (tmp_path / "stick").mkdir()
        page.wait_for_function(
            "() => !document.querySelector('.delivered .soft')", timeout=TIMEOUT_MS
        )
        assert len(stub.rows()) == 1


@pytest.mark.parametrize("language", ["en", "fr"])
def test_the_supervisor_sees_where_every_result_is(tmp_path: Path, language: str) -> None:
    finder = TruthFinder()
    frames = simulated_frames(finder, count=1)
    with running("laboratory", tmp_path / "lab", "--refuse", '"sample":"S-2"') as stub:
        more = receivers(stub, tmp_path)
        both = [receiver("laboratory"), receiver("stick", kind="folder", address="/x")]
        with Writer(RecordsFolder(tmp_path / "data" / "records")) as writer:
            names = signed_results(writer, both, frames, finder, 3)
            assert ask_again(writer, numbers(writer), by="test", now_s=0.0)
        with served(tmp_path, more=more) as address, touched(address, language) as page:
            page.locator("button[value=Grace]").tap()
            at(page, "pin")
            keys(page, SUPERVISOR_PIN)
            go_on(page)
            at(page, "home")
            page.locator(".areas form:has([name=area][value=results]) button").tap()
            at(page, "results")
            refused = "Refused there" if language == "en" else "Refusé là-bas"
            page.wait_for_timeout(3000)
            page.goto(f"{address}area/results")
            rows = page.locator(".row-of")
            assert rows.count() == 3
            assert refused in rows.nth(1).inner_text()
            assert page.evaluate(FAULTS) == []
            page.screenshot(path=str(tmp_path / f"list-{language}.png"))
            page.goto(f"{address}area/results/{names[1]}")
            assert page.evaluate(FAULTS) == []
            assert f"laboratory: {refused}" in page.locator("main").inner_text()
            page.screenshot(path=str(tmp_path / f"result-{language}.png"))
            page.goto(f"{address}area/results/{names[0]}/history")
            assert page.evaluate(FAULTS) == []
