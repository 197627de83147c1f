"""The kiosk's page: who may ask for it, what it answers, and what it never says."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import StreamingResponse

from edgehemo.device.configuration import DeviceConfiguration, load_profile
from edgehemo.errors import RecordsFullError
from edgehemo.guidance.catalogue import catalogue
from edgehemo.kiosk import app as kiosk_app
from edgehemo.kiosk import events
from edgehemo.kiosk.app import KioskApp
from edgehemo.kiosk.engine import Kiosk
from edgehemo.kiosk.faults import CARETAKER, FAULT_CODES
from edgehemo.kiosk.guarding import COOKIE, Guard
from edgehemo.kiosk.selfcheck import SELF_CHECK_CODES
from edgehemo.kiosk.state import Checked, screen_of
from edgehemo.kiosk.viewers import MAX_CONNECTIONS
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Writer
from edgehemo.records.users import add_user
from edgehemo.words.language import LANGUAGES, Words, missing_texts, offered, wanted_texts

PORT = 8321
HERE = f"http://127.0.0.1:{PORT}"
PIN = "2580"
COOKIE_HEADER = f"{COOKIE}={'a' * 43}".encode()


@asynccontextmanager
async def served(
    folder: Path, device: DeviceConfiguration | None = None
) -> AsyncIterator[tuple[Kiosk, httpx.AsyncClient]]:
    """A kiosk with two users, and a browser that looks at it."""
    with Writer(RecordsFolder(folder)) as writer:
        if not writer.rows("SELECT 1 FROM user"):
            add_user(writer, "grace", "supervisor", "4071", by="test")
            add_user(writer, "amina", "operator", PIN, by="test")
        kiosk = Kiosk(writer)
        configured = load_profile("workstation") if device is None else device
        app = KioskApp(kiosk, configured, Guard(PORT), simulated=True)
        transport = httpx.ASGITransport(app.application())
        await kiosk.start()
        try:
            async with httpx.AsyncClient(
                transport=transport, base_url=HERE, headers={"origin": HERE}, follow_redirects=True
            ) as browser:
                yield kiosk, browser
        finally:
            await kiosk.stop()


def token_of(page: httpx.Response) -> str:
    found = re.search(r'name="token" value="([0-9a-f]{64})"', page.text)
    assert found is not None
    return found[1]


async def does(
    browser: httpx.AsyncClient, page: httpx.Response, do: str, /, **values: str
) -> httpx.Response:
    screen = re.search(r'data-screen="([a-z_]+)"', page.text)
    assert screen is not None
    form = {"token": token_of(page), "screen": screen[1], "do": do, **values}
    return await browser.post("/do", data=form)


async def signed_in(browser: httpx.AsyncClient) -> httpx.Response:
    page = await does(browser, await browser.get("/"), "chooseuser", name="amina")
    return await browser.post("/pin", data={"token": token_of(page), "pin": PIN})


def test_a_sample_is_begun_by_hand_up_to_the_self_check(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path / "records") as (kiosk, browser):
            page = await signed_in(browser)
            assert 'data-screen="home"' in page.text
            page = await does(browser, page, "newsample")
            page = await does(browser, page, "givenumber", number="26-0417", how="scanned")
            page = await does(browser, page, "giveperson", age_years="40", sex="male", pregnant="2")
            assert page.status_code == 409
            assert "do not fit together" in page.text
            page = await does(browser, page, "giveperson", age_years="40", sex="male", pregnant="0")
            assert 'data-screen="check"' in page.text
            await kiosk.tell(events.SelfChecked((Checked(name="camera", verdict="good"),)))
            page = await browser.get("/")
            assert "Everything is in order" in page.text
            sample = kiosk.state.sample
            assert sample is not None
            assert (sample.number, sample.number_from) == ("26-0417", "scanned")
        async with served(tmp_path / "records") as (kiosk, browser):
            assert screen_of(kiosk.state) == "pin"
            page = await browser.post(
                "/pin", data={"token": token_of(await browser.get("/")), "pin": PIN}
            )
            assert 'data-screen="check"' in page.text

    asyncio.run(run())


def test_every_answer_has_a_policy_without_inline_and_the_page_keeps_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path / "records") as (_, browser):
            for path in ("/", "/static/kiosk.css", "/static/kiosk.js", "/no-such-page", "/alive"):
                policy = (await browser.get(path)).headers["content-security-policy"]
                assert "default-src 'none'" in policy
                assert "unsafe" not in policy
            text = (await browser.get("/")).text
            assert " style=" not in text
            assert not re.search(r"<script(?! type=\"module\" src=\"/static/)|\son[a-z]+=", text)
            assert "http://" not in text
            assert "https://" not in text

    asyncio.run(run())


def test_another_host_another_site_and_a_missing_token_are_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path / "records") as (kiosk, browser):
            page = await browser.get("/")
            form = {
                "token": token_of(page),
                "screen": "sign_in",
                "do": "chooseuser",
                "name": "amina",
            }
            rebound = await browser.get("/", headers={"host": f"evil.example:{PORT}"})
            assert rebound.status_code == 421
            for origin in ("http://evil.example", f"http://127.0.0.1:{PORT + 1}", "null"):
                refused = await browser.post("/do", data=form, headers={"origin": origin})
                assert refused.status_code == 403
            refused = await browser.post("/do", data={**form, "token": "0" * 64})
            assert refused.status_code == 400
            other = httpx.AsyncClient(
                transport=browser._transport, base_url=HERE, headers={"origin": HERE}
            )
            assert (await other.post("/do", data=form)).status_code == 400
            assert (await browser.put("/do")).status_code == 405
            assert screen_of(kiosk.state) == "sign_in"
            assert (await browser.post("/do", data=form)).status_code == 200
            assert screen_of(kiosk.state) == "pin"

    asyncio.run(run())


def test_only_the_browser_that_signed_in_steers_until_another_shows_the_pin(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path / "records") as (kiosk, browser):
            await signed_in(browser)
            other = httpx.AsyncClient(
                transport=browser._transport, base_url=HERE, headers={"origin": HERE},
                follow_redirects=True,
            )  # fmt: skip
            page = await other.get("/")
            assert "in use at another screen" in page.text
            form = {"token": token_of(page), "screen": "home", "do": "newsample"}
            assert (await other.post("/do", data=form)).status_code == 409
            assert kiosk.state.samples == ()
            page = await other.post("/pin", data={"token": token_of(page), "pin": PIN})
            assert "in use at another screen" not in page.text
            assert "in use at another screen" in (await browser.get("/")).text

    asyncio.run(run())


def test_at_another_screen_somebody_else_signs_in_once_the_page_is_locked(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path / "records") as (kiosk, browser):
            page = await signed_in(browser)
            other = httpx.AsyncClient(
                transport=browser._transport, base_url=HERE, headers={"origin": HERE},
                follow_redirects=True,
            )  # fmt: skip
            watched = await other.get("/")
            assert "Wait until amina signs out or locks the page" in watched.text
            form = {"token": token_of(watched), "screen": "home", "do": "otheruser"}
            assert (await other.post("/do", data=form)).status_code == 409
            assert kiosk.state.session is not None
            await does(browser, page, "lock")
            watched = await other.get("/")
            assert "Touch Someone else" in watched.text
            # Nothing else than that counts from there.
            assert (await does(other, watched, "signout")).status_code == 409
            tiles = await does(other, watched, "otheruser")
            assert screen_of(kiosk.state) == "sign_in"
            assert "grace" in tiles.text

    asyncio.run(run())


def test_the_self_check_says_what_this_device_does_not_have_yet(tmp_path: Path) -> None:
    unset = Checked(name="control", verdict="unset", code="CONTROL_NONE")

    async def run() -> None:
        async with served(tmp_path / "records") as (kiosk, browser):
            page = await does(browser, await signed_in(browser), "newsample")
            page = await does(browser, page, "givenumber", number="26-0417", how="typed")
            await does(browser, page, "giveperson", age_years="40", sex="male")
            for checks, said in (
                ((Checked(name="camera", verdict="good"),), "Everything is in order."),
                ((Checked(name="camera", verdict="good"), unset), "Not there yet: Control slide."),
            ):
                await kiosk.tell(events.SelfChecked(checks))
                page = await browser.get("/")
                assert said in page.text
                assert ("Everything is in order" in page.text) == (unset not in checks)
                assert not page.text.count("disabled")

    asyncio.run(run())


def test_wrong_pins_are_told_and_then_wait(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path / "records") as (kiosk, browser):
            page = await does(browser, await browser.get("/"), "chooseuser", name="amina")
            for _ in range(3):
                page = await browser.post("/pin", data={"token": token_of(page), "pin": "9999"})
            assert "Too many wrong PINs" in page.text
            page = await browser.post("/pin", data={"token": token_of(page), "pin": PIN})
            assert kiosk.state.session is None

    asyncio.run(run())


def test_a_late_tap_is_answered_with_the_page_that_is(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path / "records") as (kiosk, browser):
            page = await signed_in(browser)
            twice = [does(browser, page, "newsample") for _ in range(2)]
            answers = await asyncio.gather(*twice)
            assert sorted(answer.status_code for answer in answers) == [200, 409]
            assert len(kiosk.state.samples) == 1

    asyncio.run(run())


def test_forms_that_are_none_end_in_no_fault(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path / "records") as (_, browser):
            token = token_of(await browser.get("/"))
            bodies: tuple[bytes, ...] = (
                b"", b"\xff\xfe", b"a" * 20_000, b"&" * 5000, b"do=%00", b"token",
                b"token=\xc3\xa9",
                f"token={token}&screen=sign_in&do=signin&name=a&role=engineer&viewer=x".encode(),
                f"token={token}&screen=sign_in&do=chooseuser".encode(),
                f"token={token}&screen=sign_in&do=chooseuser&name={'x' * 3000}".encode(),
            )  # fmt: skip
            kind = {"content-type": "application/x-www-form-urlencoded"}
            for path in ("/do", "/pin", "/look"):
                for body in bodies:
                    answer = await browser.post(path, content=body, headers=kind)
                    assert answer.status_code < 500, (path, body)
                assert (await browser.post(path, json={"do": "leave"})).status_code == 415
            for path in ("/field/1.jpg", "/field/x.jpg", "/static/../app.py", "/%00", "/static/"):
                assert (await browser.get(path)).status_code in (400, 404)

    asyncio.run(run())


def test_looking_is_bounded_and_ends(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path / "records") as (kiosk, _):
            open_ones = [kiosk.looking(f"screen-{n}") for n in range(MAX_CONNECTIONS)]
            found = [each.__enter__() for each in open_ones]
            assert all(each is not None for each in found)
            with kiosk.looking("one too many") as changes:
                assert changes is None
            for each in open_ones:
                each.__exit__(None, None, None)
            assert kiosk.lookers == 0

    asyncio.run(run())


def test_changes_are_told_as_the_whole_version_and_the_newest_picture(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path / "records") as (kiosk, _):
            app = KioskApp(kiosk, load_profile("workstation"), Guard(PORT), simulated=True)
            request = Request({"type": "http", "headers": [(b"cookie", COOKIE_HEADER)]})
            answer = await app.changes(request)
            assert isinstance(answer, StreamingResponse)
            told = answer.body_iterator.__aiter__()
            assert await anext(told) == f"event: state\ndata: {kiosk.version}\n\n"
            await kiosk.tell(events.ChooseUser("amina"))
            kiosk.show_view(b"jpeg", 0.5, "HOLD_STILL")
            both = [str(await anext(told)) for _ in range(2)]
            assert f"event: state\ndata: {kiosk.version}\n\n" in both
            assert any('"advice": "HOLD_STILL"' in each for each in both)
            kiosk.release()
            with pytest.raises(StopAsyncIteration):
                await anext(told)
            assert kiosk.lookers == 0

    asyncio.run(run())


def test_the_log_holds_no_pin_no_number_and_no_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with served(tmp_path / "records") as (_, browser):
            page = await signed_in(browser)
            page = await does(browser, page, "newsample")
            page = await does(browser, page, "givenumber", number="26-0417")
            await does(browser, page, "giveperson", age_years="33.25", sex="female", pregnant="3")

    with caplog.at_level(logging.DEBUG):
        asyncio.run(run())
    for secret in (PIN, "26-0417", "33.25"):
        assert secret not in caplog.text


# -- words ----------------------------------------------------------------------------------------


def test_every_language_is_complete_and_offered() -> None:
    assert {language: missing_texts(language) for language in LANGUAGES} == {
        language: [] for language in LANGUAGES
    }
    assert offered() == LANGUAGES
    assert len(wanted_texts()) > 300


def test_a_language_that_lacks_one_text_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgehemo.words import language as words

    monkeypatch.setattr(words, "wanted_texts", lambda: ("a text that nobody translated",))
    offered.cache_clear()
    try:
        assert offered() == ("en",)
    finally:
        offered.cache_clear()


def test_numbers_plurals_and_units_are_those_of_the_language() -> None:
    english, french = Words("en"), Words("fr", "g/dL")
    assert (english.number(2431), english.hgb(88.4)) == ("2,431", "88")
    assert (french.number(2431), french.hgb(88.4)) == ("2\u202f431", "8,8")
    forms = ("{n} sample to finish", "{n} samples to finish")
    assert french.n_(*forms, 1) == "1 échantillon à finir"
    assert french.n_(*forms, 3) == "3 échantillons à finir"
    # French has no plural of nought.
    assert french.n_(*forms, 0) == "0 échantillon à finir"
    assert Words("sw").guidance("HOLD_STILL").action == "Shika slaidi itulie."


def test_no_worker_is_told_to_type_a_command() -> None:
    for code in {*FAULT_CODES, *SELF_CHECK_CODES} - CARETAKER:
        action = catalogue()[code].action
        assert "`" not in action, code
        assert "{" not in action, code


def test_every_page_has_a_heading_that_says_what_it_is() -> None:
    """A screen reader begins with it; a page whose tabs say enough to the eye has one unseen."""
    folder = Path(kiosk_app.__file__).with_name("templates")

    def headed(name: str) -> bool:
        text = (folder / name).read_text("utf-8")
        above = re.search(r'{% extends "([^"]+)" %}', text)
        return "<h1" in text or (above is not None and headed(above[1]))

    pages = [path for path in folder.rglob("*.html.j2") if "{% extends" in path.read_text("utf-8")]
    names = [str(path.relative_to(folder)) for path in pages]
    assert len(names) > 20
    assert [name for name in names if not headed(name)] == []


def test_a_full_disk_is_told_at_once_and_work_goes_on_when_it_has_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise RecordsFullError("no space")

    async def run() -> None:
        async with served(tmp_path / "records") as (kiosk, browser):
            with monkeypatch.context() as patched:
                patched.setattr("edgehemo.kiosk.engine.keep_kiosk_state", full)
                refused = await does(browser, await browser.get("/"), "chooseuser", name="amina")
                assert refused.status_code == 503
                assert "No space left for the records" in refused.text
            page = await signed_in(browser)
            with monkeypatch.context() as patched:
                patched.setattr("edgehemo.kiosk.engine.keep_kiosk_state", full)
                refused = await does(browser, page, "newsample")
                assert refused.status_code == 503
                assert "RECORDS_FULL" in refused.text.replace("<wbr>", "")
                assert screen_of(kiosk.state) == "fault"
                again = await does(browser, refused, "tryagain")
                assert again.status_code == 503
                assert screen_of(kiosk.state) == "fault"
            page = await does(browser, again, "tryagain")
            assert page.status_code == 200
            page = await does(browser, page, "newsample")
            assert screen_of(kiosk.state) == "number"

    asyncio.run(run())
