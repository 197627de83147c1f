"""The whole flow in a real browser: by touch, by the keyboard alone, and on a phone by TLS."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.axe import in_light_and_dark
from tests.support.kiosk_by_forms import KioskForms
from tests.support.kiosk_by_touch import (
    KioskServer,
    Touch,
    missing_parts,
    opened_browser,
)

pytestmark = pytest.mark.lab

TOKEN = "b6e1f0c4d2a89375"


@pytest.fixture(scope="module", autouse=True)
def _parts() -> None:
    if missing := missing_parts():
        pytest.skip(missing)


@pytest.fixture
def kiosk(tmp_path: Path) -> Iterator[KioskServer]:
    with KioskServer(tmp_path / "kiosk").running() as running:
        yield running


def seen_by_axe(touch: Touch, found: dict[str, list[str]], name: str) -> None:
    """Look at the page in light and dark."""
    if wrong := in_light_and_dark(touch.page):
        found[name] = wrong


def test_a_sample_from_the_tiles_to_the_signature_by_touch(kiosk: KioskServer) -> None:
    """Every page of it fits the screen, and axe-core finds nothing wrong with any."""
    found: dict[str, list[str]] = {}
    misfits: dict[str, list[str]] = {}
    with opened_browser(bypass_csp=True) as touch:

        def look(name: str) -> None:
            touch.page.wait_for_timeout(200)
            if wrong := touch.misfits():
                misfits[name] = wrong
            seen_by_axe(touch, found, name)

        touch.page.goto(kiosk.url)
        look("sign in")
        touch.tap("button[value=Amina]")
        touch.at("pin")
        look("PIN")
        touch.type("1111")
        touch.on()
        touch.until("!!document.querySelector('[role=alert]')")
        look("PIN was wrong")
        touch.give_pin()
        touch.at("home")
        look("home")
        touch.tap("main .tile.big")
        touch.at("number")
        look("number")
        touch.type("26")
        touch.on()
        touch.at("person")
        look("person")
        touch.answer()
        look("check")
        touch.checked()
        look("check answered")
        touch.on()
        if touch.at("capture", "analysis", "result") == "capture":
            look("capture")
        touch.at("result", timeout_s=120)
        look("result")
        if touch.page.locator("footer button:has-text('Look at')").count():
            touch.on()
            touch.at("review")
            look("review")
            touch.tap("main button.cell")
            touch.until("!!document.querySelector('.one-cell')")
            look("one cell")
            touch.tap("footer .left button")
            touch.until("!document.querySelector('.one-cell')")
        touch.review_all()
        look("sign off")
        touch.sign()
        look("done")
        touch.tap("footer .right .primary")
        touch.at("home")
        assert not [said for said in touch.console if "rror" in said]
    assert misfits == {}
    assert found == {}


def test_a_pin_that_is_typed_at_a_second_screen_outlives_the_step(kiosk: KioskServer) -> None:
    with KioskForms(kiosk) as forms:
        forms.sign_in()
        forms.do("newsample")
        with opened_browser() as touch:
            touch.page.goto(kiosk.url)
            touch.type("25")
            forms.do("givenumber", number="26-0417")
            touch.page.wait_for_timeout(1000)
            touch.type("80")
            touch.on()
            touch.at("person")
            assert "in use at another screen" not in touch.page.content()


def test_the_keyboard_alone_does_for_a_whole_sample(kiosk: KioskServer) -> None:
    """As somebody does who cannot touch; what is in focus is seen."""
    with opened_browser(touch=False) as browser:
        page = browser.page
        page.goto(kiosk.url)
        press(browser, "button[value=Amina]")
        browser.at("pin")
        page.keyboard.type("2580")
        page.keyboard.press("Enter")
        browser.at("home")
        press(browser, "main .tile.big")
        browser.at("number")
        page.keyboard.type("26-0417")
        page.keyboard.press("Enter")
        browser.at("person")
        page.keyboard.type("32")
        for name, value in (("sex", "female"), ("pregnant", "0"), ("smokes", "false")):
            choose(browser, name, value)
        press(browser, "footer .primary")
        browser.at("check")
        browser.checked()
        press(browser, "footer .primary")
        browser.at("result", timeout_s=120)
        for _ in range(40):
            if browser.screen == "sign_off":
                break
            before = page.evaluate("document.body.dataset.version")
            press(browser, "footer .primary:not([disabled])")
            browser.until(f"document.body.dataset.version != '{before}'")
        press(browser, "footer .primary")
        browser.at("done")


def reach(browser: Touch, selector: str) -> None:
    """Come to something with the tabulator; it must show that it is in focus."""
    page = browser.page
    ring = "e => getComputedStyle(e).outlineStyle != 'none' || e.closest('label, .segment') != null"
    for _ in range(80):
        if page.evaluate(f"!!document.activeElement.matches({selector!r})"):
            assert page.evaluate(f"({ring})(document.activeElement)"), f"no ring: {selector}"
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the tabulator never comes to {selector} on {browser.screen}")


def press(browser: Touch, selector: str) -> None:
    reach(browser, selector)
    browser.page.keyboard.press("Enter")


def choose(browser: Touch, name: str, value: str) -> None:
    """One of a group, by the arrows."""
    page = browser.page
    reach(browser, f"input[name={name}]")
    page.keyboard.press("Space")
    for _ in range(6):
        if page.evaluate("document.activeElement.value") == value:
            assert page.evaluate("document.activeElement.checked")
            return
        page.keyboard.press("ArrowRight")
    raise AssertionError(f"the arrows never come to {value} of {name}")


# -- on the site's network ------------------------------------------------------------------------


@pytest.fixture
def beyond(tmp_path: Path) -> Iterator[tuple[KioskServer, str, Path]]:
    """A kiosk that is also served by TLS, its address there and its certificate."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    certificate, key, token = (tmp_path / name for name in ("kiosk.pem", "kiosk.key", "token"))
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    token.write_text(TOKEN)
    key.chmod(0o600)
    token.chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    extra = (
        f'[kiosk]\nlisten = "0.0.0.0:{port}"\nnames = ["localhost"]\n'
        f"tls_certificate = '{certificate}'\ntls_key = '{key}'\ntoken = '{token}'\n"
    )
    with KioskServer(tmp_path / "kiosk", extra=extra).running() as running:
        yield running, f"https://localhost:{port}/", certificate


def test_a_phone_shows_the_page_once_it_knows_the_token(
    beyond: tuple[KioskServer, str, Path],
) -> None:
    kiosk, address, _ = beyond
    with opened_browser(390, 844, ignore_https_errors=True, is_mobile=True) as touch:
        touch.page.goto(address)
        touch.at("token")
        assert touch.misfits() == []
        touch.page.fill("#code", "wrong")
        touch.tap("footer .primary")
        touch.until("!!document.querySelector('[role=alert]')")
        touch.page.fill("#code", TOKEN)
        touch.tap("footer .primary")
        touch.at("sign_in")
        touch.sign_in()
        touch.new_sample()
        touch.answer()
        touch.checked()
        touch.on()
        touch.at("result", timeout_s=120)
        assert touch.misfits() == []
        # A second time it is not asked.
        touch.page.goto(address)
        touch.at("result")
    # On the device's own screen nothing is asked, and the PIN takes the kiosk over.
    assert httpx.get(kiosk.url).status_code == 200


def test_nothing_is_served_in_clear_there_and_old_tls_is_refused(
    beyond: tuple[KioskServer, str, Path],
) -> None:
    _, address, certificate = beyond
    trusted = ssl.create_default_context(cafile=str(certificate))
    assert httpx.get(address, verify=trusted).status_code == 401
    with pytest.raises(httpx.HTTPError):
        httpx.get(address.replace("https", "http"))
    old: Any = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(httpx.HTTPError):
        httpx.get(address, verify=old)
    # The host that a browser was tricked into asking for is answered by nobody.
    answer = httpx.get(address, verify=trusted, headers={"host": "evil.example"})
    assert answer.status_code == 421
