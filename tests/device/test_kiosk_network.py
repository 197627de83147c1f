"""Beyond this device: only with certificate, key, token and names; and only who has the token."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from edgehemo.device.configuration import KioskSection, load_profile
from edgehemo.errors import UsageError
from edgehemo.files.strict import RecordError
from edgehemo.kiosk import door
from edgehemo.kiosk.app import KioskApp
from edgehemo.kiosk.door import FIRST_WAIT_S, FREE_TRIES, LONGEST_WAIT_S, Door, Tries
from edgehemo.kiosk.engine import Kiosk
from edgehemo.kiosk.guarding import COOKIE, Guard
from edgehemo.kiosk.network import network_of
from edgehemo.kiosk.state import screen_of
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Writer
from edgehemo.records.users import add_user
from tests.device.test_kiosk_page import does, token_of

TOKEN = "b6e1f0c4d2a89375"
THERE = "https://kiosk.local:8443"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "kiosk.pem", folder / "kiosk.key"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=kiosk.local", "-addext", "subjectAltName=DNS:kiosk.local,IP:127.0.0.1",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    key.chmod(0o600)
    return certificate, key


def section(pair: tuple[Path, Path], folder: Path, **changes: Any) -> KioskSection:
    token = folder / "token"
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    given: dict[str, Any] = {
        "listen": "0.0.0.0:8443", "names": ("kiosk.local",), "tls_certificate": str(pair[0]),
        "tls_key": str(pair[1]), "token": str(token),
    }  # fmt: skip
    return KioskSection(**{**given, **changes})


# -- what the device configuration must say -------------------------------------------------------


def test_by_default_nothing_listens_beyond_this_device() -> None:
    assert network_of(KioskSection()) is None


def test_with_all_of_it_the_page_is_served(pair: tuple[Path, Path], tmp_path: Path) -> None:
    network = network_of(section(pair, tmp_path))
    assert network is not None
    assert (network.address, network.port, network.token) == ("0.0.0.0", 8443, TOKEN)
    assert network.hosts == ("kiosk.local:8443",)
    own = network_of(section(pair, tmp_path, listen="192.168.1.20:443", names=()))
    assert own is not None and own.hosts == ("192.168.1.20:443",)
    six = network_of(section(pair, tmp_path, listen="[fe80::1]:8443"))
    assert six is not None and six.hosts == ("kiosk.local:8443", "[fe80::1]:8443")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tls_certificate": None}, "without tls_certificate"),
        ({"tls_key": None, "token": None}, "without tls_key, token"),
        ({"names": ()}, "needs names"),
        ({"listen": None}, "no address to listen at"),
        ({"token": "/no/such/file"}, "token: /no/such/file"),
        ({"tls_key": "/no/such/file"}, "tls_key: /no/such/file"),
    ],
)
def test_without_one_of_it_nothing_is_served(
    pair: tuple[Path, Path], tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        network_of(section(pair, tmp_path, **changes))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("listen", ["8443", "0.0.0.0", "kiosk.local:8443", "0.0.0.0:0", ":8443"])
def test_what_is_no_address_is_refused(listen: str) -> None:
    with pytest.raises((RecordError, ValueError)):
        KioskSection.model_validate({"listen": listen})


def test_files_that_will_not_do(pair: tuple[Path, Path], tmp_path: Path) -> None:
    def refused(match: str, **changes: Any) -> None:
        with pytest.raises(UsageError, match=match) as error:
            network_of(section(pair, tmp_path, **changes))
        assert "\n" not in str(error.value)

    for content in ("", "short", "two words of some length", "\xe9" * 20):
        file = tmp_path / "other-token"
        file.write_text(content, encoding="latin-1")
        file.chmod(0o600)
        refused("one word of at least 16", token=str(file))
    open_to_all = tmp_path / "open-token"
    open_to_all.write_text(TOKEN)
    open_to_all.chmod(0o644)
    refused("chmod o=", token=str(open_to_all))
    no_key = tmp_path / "no.key"
    no_key.write_bytes(pair[0].read_bytes())
    no_key.chmod(0o600)
    refused("cannot be used together", tls_key=str(no_key))
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    refused("cannot be used together", tls_certificate=str(garbage))
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "rsa", "-aes256", "-passout", "pass:word", "-in", str(pair[1]),
         "-out", str(locked)],
        check=True, capture_output=True,
    )  # fmt: skip
    locked.chmod(0o600)
    refused("cannot be used together", tls_key=str(locked))


# -- the door -------------------------------------------------------------------------------------


@asynccontextmanager
async def beyond(folder: Path) -> AsyncIterator[tuple[Kiosk, KioskApp, httpx.ASGITransport]]:
    with Writer(RecordsFolder(folder)) as writer:
        add_user(writer, "grace", "supervisor", "4071", by="test")
        kiosk = Kiosk(writer)
        app = KioskApp(
            kiosk, load_profile("workstation"), Guard(8321, ["kiosk.local:8443"]), simulated=True
        )
        await kiosk.start()
        try:
            yield kiosk, app, httpx.ASGITransport(app.application(TOKEN))
        finally:
            await kiosk.stop()


def browser(transport: httpx.ASGITransport, base: str = THERE) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=transport, base_url=base, headers={"origin": base}, follow_redirects=True
    )


def test_the_token_is_asked_for_once_and_opens_everything(tmp_path: Path) -> None:
    async def run() -> None:
        async with beyond(tmp_path / "records") as (kiosk, _, transport):
            phone = browser(transport)
            page = await phone.get("/")
            assert page.status_code == 401
            assert "Enter the token of this device" in page.text
            assert "grace" not in page.text
            for path in ("/changes", "/live.jpg", "/alive", "/cell/1/1.jpg", "/area/users/"):
                assert (await phone.get(path)).status_code == 401, path
            for path in ("/do", "/pin", "/first", "/look"):
                assert (await phone.post(path, data={"name": "grace"})).status_code == 401, path
            assert screen_of(kiosk.state) == "sign_in"
            assert (await phone.get("/static/kiosk.css")).status_code == 200
            page = await phone.post("/token", data={"code": f" {TOKEN} "})
            assert page.status_code == 200
            assert "grace" in page.text
            page = await does(phone, page, "chooseuser", name="grace")
            page = await phone.post("/pin", data={"token": token_of(page), "pin": "4071"})
            assert 'data-screen="home"' in page.text

    asyncio.run(run())


def test_its_cookies_are_for_tls_and_for_the_page_alone(tmp_path: Path) -> None:
    async def run() -> None:
        async with beyond(tmp_path / "records") as (_, __, transport):
            phone = browser(transport)
            answer = await phone.post("/token", data={"code": TOKEN}, follow_redirects=False)
            page = await phone.get("/")
            for said, name in ((answer, door.COOKIE), (page, COOKIE)):
                (cookie,) = said.headers.get_list("set-cookie")
                assert cookie.startswith(f"{name}=")
                for attribute in ("HttpOnly", "Secure", "SameSite=strict", "Path=/"):
                    assert attribute in cookie
            # On the device's own screen there is no TLS, and no token.
            own = browser(transport, "http://127.0.0.1:8321")
            (cookie,) = (await own.get("/")).headers.get_list("set-cookie")
            assert "Secure" not in cookie

    asyncio.run(run())


def test_hosts_and_origins_are_those_of_each_door(tmp_path: Path) -> None:
    async def run() -> None:
        async with beyond(tmp_path / "records") as (_, __, transport):
            for base, status in (
                (THERE, 401),
                ("https://127.0.0.1:8321", 421),
                ("https://evil.example:8443", 421),
                ("http://kiosk.local:8443", 421),
                ("http://localhost:8321", 200),
            ):
                assert (await browser(transport, base).get("/")).status_code == status, base
            phone = browser(transport)
            for origin in ("http://kiosk.local:8443", "https://evil.example", "null"):
                refused = await phone.post(
                    "/token", data={"code": TOKEN}, headers={"origin": origin}
                )
                assert refused.status_code == 403

    asyncio.run(run())
    assert Guard(8321, ["kiosk.local:443"]).answers_to("kiosk.local", "https")
    assert Guard(8321, ["kiosk.local:443"]).comes_from_here("https://kiosk.local", None, "https")


def test_wrong_tokens_make_everybody_wait_who_is_not_known(tmp_path: Path) -> None:
    async def run() -> None:
        async with beyond(tmp_path / "records") as (_, app, __):
            at_s = [0.0]
            known_app = app.application()

            async def form(request: Any) -> dict[str, str]:
                return await app._token_form(request)

            guarded = Door(known_app, TOKEN, app._ask_token, form, clock=lambda: at_s[0])
            phone = browser(httpx.ASGITransport(guarded))
            for _ in range(FREE_TRIES):
                page = await phone.post("/token", data={"code": "wrong"})
                assert page.status_code in (401, 429)
                assert "wrong" in page.text
            page = await phone.post("/token", data={"code": TOKEN})
            assert page.status_code == 429
            assert f"Wait {FIRST_WAIT_S:.0f} seconds" in page.text
            knows = browser(httpx.ASGITransport(guarded))
            knows.cookies.set(door.COOKIE, guarded.new_cookie(), domain="kiosk.local")
            assert (await knows.get("/")).status_code == 200
            at_s[0] += FIRST_WAIT_S + 0.1
            assert (await phone.post("/token", data={"code": TOKEN})).status_code == 200

    asyncio.run(run())


def test_the_wait_doubles_and_is_bounded() -> None:
    tries = Tries()
    waits = []
    for _ in range(FREE_TRIES + 30):
        tries = tries.after_wrong(0.0)
        waits.append(tries.wait_s(0.0))
    assert waits[: FREE_TRIES - 1] == [0.0] * (FREE_TRIES - 1)
    assert waits[FREE_TRIES - 1 : FREE_TRIES + 2] == [
        FIRST_WAIT_S, 2 * FIRST_WAIT_S, 4 * FIRST_WAIT_S
    ]  # fmt: skip
    assert waits[-1] == LONGEST_WAIT_S


@pytest.mark.parametrize("cookie", [None, "", ".", "a.b", "a." + "0" * 64, "\xe9.\xe9", "x" * 9000])
def test_no_other_cookie_opens(cookie: str | None) -> None:
    async def nobody(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    async def no_form(_: Request) -> dict[str, str]:
        raise AssertionError

    def made(token: str) -> Door:
        return Door(nobody, token, lambda *_: Response(), no_form)

    assert not made(TOKEN).is_known(cookie)
    assert made(TOKEN).is_known(made(TOKEN).new_cookie())
    # A new token makes the old cookies worthless.
    assert not made("another-token-of-16").is_known(made(TOKEN).new_cookie())
