"""The kiosk's page in a real browser, by touch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgehemo.words.language import LANGUAGES
from tests.lab.kiosk_browser import (
    FAULTS,
    at,
    begin_sample,
    go_on,
    keys,
    served,
    sign_in,
    touched,
)

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


def test_help_lies_over_the_page_and_loses_nothing(address: str) -> None:
    with touched(address) as page:
        sign_in(page)
        page.locator("main form").first.locator("button").tap()
        at(page, "number")
        keys(page, "417")
        page.locator("footer .ask").tap()
        assert page.locator("#help p").is_visible()
        assert page.evaluate(FAULTS) == []
        page.locator("#help button").tap()
        assert not page.locator("#help p").is_visible()
        assert page.locator("#number").input_value() == "417"


def _read(picture: np.ndarray) -> str:
    """What a QR code says. OpenCV's reader misses some codes at some sizes, which telephones try
    by moving.
    """
    framed = cv2.copyMakeBorder(picture, 20, 20, 20, 20, cv2.BORDER_CONSTANT, value=(255,) * 3)
    for factor in (1.0, 2.0, 1.5, 3.0, 0.75, 1.25, 4.0):
        size = (round(framed.shape[1] * factor), round(framed.shape[0] * factor))
        resized = cv2.resize(framed, size, interpolation=cv2.INTER_CUBIC)
        text, *_ = cv2.QRCodeDetector().detectAndDecode(resized)
        if text:
            return text
    return ""


def test_a_telephone_reads_the_code_of_a_signed_result(address: str) -> None:
    with touched(address) as page:
        sign_in(page)
        begin_sample(page)
        keys(page, "32")
        page.locator("input[value=female]").tap()
        go_on(page)
        page.wait_for_selector(".checks li:nth-child(6)")
        go_on(page)
        at(page, "capture")
        page.wait_for_selector("body[data-screen=result]", timeout=120_000)
        assert page.evaluate(FAULTS) == []
        while page.evaluate("document.body.dataset.screen") != "sign_off":
            version = page.evaluate("document.body.dataset.version")
            go_on(page)
            page.wait_for_function(
                "before => document.body.dataset.version !== before", arg=version
            )
        go_on(page)
        at(page, "done")
        page.wait_for_function("() => document.querySelector('.code img').naturalWidth > 0")
        assert page.evaluate(FAULTS) == []
        # As a telephone sees the 7-inch screen: 5.6 px a millimetre, a code of 30 mm and more.
        size = page.evaluate("document.querySelector('.code img').getBoundingClientRect().width")
        assert size > 30 * 5.6
        picture = np.frombuffer(page.locator(".code img").screenshot(), np.uint8)
        seen = cv2.imdecode(picture, cv2.IMREAD_COLOR)
        assert seen is not None
        lines = _read(seen).split("\n")
        assert lines[0] == "edgehemo.code/1"
        assert "sample 77" in lines
        assert "SIMULATED" in lines
        assert lines[1].startswith("result ") and lines[1].endswith(" version 2 signed")
