"""The kiosk's page in a real browser, by touch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgehemo.words.language import LANGUAGES
from tests.lab.kiosk_browser import FAULTS, at, begin_sample, served, sign_in, touched

pytestmark = pytest.mark.lab


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with served(tmp_path) as here:
        yield here


def test_a_reason_is_typed_by_touch_and_by_a_real_keyboard(address: str) -> None:
    with touched(address) as page:
        sign_in(page)
        begin_sample(page)
        page.locator("footer .middle button").last.tap()
        at(page, "abandon")
        words = page.locator("#words")
        words.tap()
        keyboard = page.locator("dialog.keyboard[open]")
        keyboard.locator("[data-key='T']").tap()
        for letter in "wo":
            keyboard.locator(f"[data-key='{letter}']").tap()
        keyboard.locator("[data-space]").tap()
        page.keyboard.type("dropz")
        keyboard.locator("[data-erase]").tap()
        assert words.input_value() == "Two drop"
        keyboard.locator("[data-more]").tap()
        keyboard.locator("[data-key=',']").tap()
        keyboard.locator("[data-done]").tap()
        assert not keyboard.count()
        assert words.input_value() == "Two drop,"
        words.tap()
        keyboard.locator("[data-erase]").tap()
        keyboard.locator("[data-cancel]").tap()
        assert words.input_value() == "Two drop,"
        page.locator("#words").press("Tab")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("End")
        page.keyboard.type("!")
        assert not keyboard.count()
        assert words.input_value() == "Two drop,!"


def test_the_keyboard_fits_in_every_language(address: str) -> None:
    with touched(address) as page:
        sign_in(page)
        begin_sample(page)
        page.locator("footer .middle button").last.tap()
        at(page, "abandon")
        for language in LANGUAGES:
            page.evaluate("code => { document.documentElement.lang = code }", language)
            page.locator("#words").tap()
            assert page.evaluate(FAULTS) == []
            page.locator("dialog [data-more]").tap()
            assert page.evaluate(FAULTS) == []
            page.locator("dialog [data-cancel]").tap()


def test_a_telephone_keeps_its_own_keyboard(address: str) -> None:
    with touched(address, size={"width": 390, "height": 844}) as page:
        sign_in(page)
        begin_sample(page)
        page.locator("footer .middle button").last.tap()
        at(page, "abandon")
        page.locator("#words").tap()
        assert not page.locator("dialog.keyboard").count()
