"""The supervisor's people: added, given PINs and roles, switched off and on; the first of all."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path

import click
import httpx
import pytest

from edgehemo.commands.users import add
from edgehemo.device.configuration import load_profile
from edgehemo.errors import RecordsError, SignInError
from edgehemo.kiosk.app import KioskApp
from edgehemo.kiosk.engine import Kiosk
from edgehemo.kiosk.guarding import Guard
from edgehemo.kiosk.role_names import role_name
from edgehemo.kiosk.supervision.people import DEEDS, deeds
from edgehemo.records.audit import entries
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Writer
from edgehemo.records.users import (
    ROLES,
    KnownUser,
    Role,
    add_first_user,
    add_user,
    bring_back,
    known_users,
    remove_user,
    set_role,
    sign_in,
    users,
)
from edgehemo.words.language import Words
from tests.device.test_kiosk_page import HERE, PORT, does, token_of
from tests.support.supervised import posted, working

NEW = {"pin": "7391", "again": "7391"}


def user(name: str, role: Role = "operator", removed_at: str | None = None) -> KnownUser:
    return KnownUser(name, role, "2026-11-20T09:30:00+00:00", 0, None, removed_at)


def test_nobody_takes_from_themselves_what_lets_them_be_here() -> None:
    both = ["grace", "hana"]
    assert deeds(user("amina"), "grace", both) == ("pin", "role", "off")
    assert deeds(user("hana", "supervisor"), "grace", both) == ("pin", "role", "off")
    assert deeds(user("grace", "supervisor"), "grace", both) == ("pin",)
    assert deeds(user("hana", "supervisor"), "grace", ["hana"]) == ("pin",)
    assert deeds(user("amina", removed_at="2026-11-21"), "grace", both) == ("on",)


def test_the_records_know_roles_removed_users_and_sign_ins(tmp_path: Path) -> None:
    with Writer(RecordsFolder(tmp_path)) as writer:
        add_first_user(writer, "grace", "4071", by="first start")
        with pytest.raises(RecordsError, match="already"):
            add_first_user(writer, "hana", "4071", by="first start")
        add_user(writer, "amina", "operator", "2580", by="grace")
        with pytest.raises(RecordsError, match="only supervisor"):
            set_role(writer, "grace", "operator", by="grace")
        set_role(writer, "amina", "supervisor", by="grace")
        set_role(writer, "grace", "engineer", by="amina")
        with pytest.raises(RecordsError, match="was removed"):
            bring_back(writer, "grace", "7391", by="amina")
        remove_user(writer, "grace", by="amina")
        with pytest.raises(SignInError):
            sign_in(writer, "grace", "4071")
        first, second = known_users(writer)
        assert (first.name, first.role, first.removed_at) == ("amina", "supervisor", None)
        assert (second.name, second.removed_at is None, second.last_in) == ("grace", False, None)
        bring_back(writer, "grace", "7391", by="amina")
        with pytest.raises(SignInError):
            sign_in(writer, "grace", "4071")
        assert sign_in(writer, "grace", "7391").role == "engineer"
        assert known_users(writer)[1].last_in is not None
        done = [each.action for each in entries(writer.connection, subject="grace")]
        assert "user role changed" in done
        assert "user brought back" in done


def test_somebody_is_added_by_touch_and_signs_in(tmp_path: Path) -> None:
    async def run() -> None:
        async with working(tmp_path, "users") as (app, browser):
            writer = app.kiosk.writer
            rose = {"name": "rose", "role": "operator"}
            for said, problem in (
                ({**rose, "name": "rose m", **NEW}, "no space"),
                ({**rose, "name": "", **NEW}, "no space"),
                ({**rose, "name": "amina", **NEW}, "called so already"),
                ({**rose, "role": "boss", **NEW}, "what this person does"),
                ({**rose, "pin": "123", "again": "123"}, "4 to 12 digits"),
                ({**rose, "pin": "4567", "again": "4567"}, "too easy"),
                ({**rose, "pin": "7391", "again": "7392"}, "not the same"),
                ({**rose}, "4 to 12 digits"),
            ):
                page = await posted(browser, "users", "add", **said)
                assert problem in page.text, said
                assert len(users(writer)) == 3
            assert 'value="rose"' in page.text
            assert "7391" not in page.text
            page = await posted(browser, "users", "add", **rose, **NEW)
            assert "rose may work now" in page.text
            assert sign_in(writer, "rose", "7391").role == "operator"
            assert "rose" in (await browser.get("/area/users/?rows=9")).text
            assert (await browser.get("/area/users/known/nobody")).status_code == 404
            assert (await browser.get("/area/users/known/rose/on")).status_code == 404

    asyncio.run(run())


def test_pin_role_and_access_are_changed_by_touch(tmp_path: Path) -> None:
    async def run() -> None:
        async with working(tmp_path, "users") as (app, browser):
            writer = app.kiosk.writer
            page = await posted(browser, "users", "known/amina/pin", **NEW)
            assert "PIN is changed" in page.text
            assert sign_in(writer, "amina", "7391").name == "amina"
            page = await posted(browser, "users", "known/amina/role", role="engineer")
            assert "role is changed" in page.text
            page = await posted(browser, "users", "known/amina/role", role="king")
            assert "what this person does" in page.text
            page = await posted(browser, "users", "known/amina/off")
            assert "amina may work no more" in page.text
            assert "amina" not in [each.name for each in users(writer)]
            page = await posted(browser, "users", "known/amina/off")
            assert "cannot be done any more" in page.text
            page = await posted(browser, "users", "add", name="amina", role="operator", **NEW)
            assert "Switch them on again" in page.text
            page = await posted(browser, "users", "known/amina/on", **NEW)
            assert "amina may work again" in page.text
            for deed in ("off", "role"):
                page = await posted(browser, "users", f"known/grace/{deed}", role="operator")
                assert "cannot be done any more" in page.text
            assert "only supervisor" in (await browser.get("/area/users/known/grace")).text
            by = [e.actor for e in entries(writer.connection, subject="amina")]
            assert by.count("grace") == 4

    asyncio.run(run())


def test_others_and_strangers_change_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        others: tuple[Role, ...] = ("operator", "engineer")
        for role in others:
            async with working(tmp_path, "users", role) as (app, browser):
                before = known_users(app.kiosk.writer)
                for path in ("add", *(f"known/amina/{deed}" for deed in DEEDS)):
                    said = {"name": "rose", "role": "supervisor", **NEW}
                    page = await posted(browser, "users", path, **said)
                    assert page.url.path == "/"
                assert [(u.name, u.role) for u in known_users(app.kiosk.writer)] == [
                    (u.name, u.role) for u in before
                ]
                await does(browser, await browser.get("/"), "signout")
        async with working(tmp_path, "users") as (app, browser):
            form = {"screen": "users", "token": "0" * 64, **NEW}
            answer = await browser.post("/area/users/known/amina/pin", data=form)
            assert answer.status_code == 400
            assert sign_in(app.kiosk.writer, "amina", "2580").name == "amina"

    with caplog.at_level(logging.DEBUG):
        asyncio.run(run())
    for pin in ("7391", "2580", "4071"):
        assert pin not in caplog.text


def test_the_first_supervisor_is_made_on_the_page_and_only_the_first(tmp_path: Path) -> None:
    async def run() -> None:
        with Writer(RecordsFolder(tmp_path)) as writer:
            kiosk = Kiosk(writer)
            app = KioskApp(kiosk, load_profile("workstation"), Guard(PORT), simulated=True)
            await kiosk.start()
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app.application()),
                base_url=HERE,
                headers={"origin": HERE},
                follow_redirects=True,
            ) as browser:
                page = await browser.get("/")
                assert "Nobody works here yet" in page.text
                form = {"token": token_of(page), "name": "grace", **NEW}
                page = await browser.post("/first", data={**form, "again": "7392"})
                assert page.status_code == 409
                assert "not the same" in page.text
                assert 'value="grace"' in page.text
                assert not known_users(writer)
                stranger = await browser.post("/first", data={**form, "token": "0" * 64})
                assert stranger.status_code == 400
                page = await browser.post("/first", data=form)
                assert re.search(r'name="name" value="grace"', page.text)
                (made,) = users(writer)
                assert (made.name, made.role) == ("grace", "supervisor")
                (entry,) = entries(writer.connection, subject="grace")
                assert (entry.action, entry.actor) == ("user added", "first start")
                again = await browser.post("/first", data={**form, "name": "mallory"})
                assert again.status_code == 409
                assert len(known_users(writer)) == 1
            await kiosk.stop()

    asyncio.run(run())


def test_a_role_has_one_name_on_every_page_and_in_the_help_of_the_command(tmp_path: Path) -> None:
    async def run() -> None:
        async with working(tmp_path, "users") as (_, browser):
            for path in ("", "add", "known/grace"):
                page = (await browser.get(f"/area/users/{path}")).text
                assert "Supervisor" in page
                assert "operator" not in re.sub(r"<[^>]*>", "", page)
            assert "no row such as 1234" in (await browser.get("/area/users/add")).text

    asyncio.run(run())
    said = next(each for each in add.params if each.name == "role")
    assert isinstance(said, click.Option) and said.help is not None
    for role in ROLES:
        assert f"{role}: " in said.help
        assert role_name(Words(), role).lower() in said.help.lower()
