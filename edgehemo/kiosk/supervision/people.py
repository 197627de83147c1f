"""The supervisor's people: who may work here, with which role, and since when they did."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

from edgehemo.kiosk.area import Asked, Desk, Sent, Shown, Went
from edgehemo.kiosk.new_pins import pin_problem, pin_rule
from edgehemo.kiosk.paging import page_of, rows_of
from edgehemo.kiosk.role_names import role_name, role_work
from edgehemo.kiosk.screens import Area
from edgehemo.kiosk.supervision.result_list import moment
from edgehemo.records.pins import LONGEST, SHORTEST
from edgehemo.records.users import (
    ROLES,
    KnownUser,
    Role,
    add_user,
    bring_back,
    is_user_name,
    known_users,
    remove_user,
    reset_pin,
    set_role,
    supervisors,
)
from edgehemo.words.language import Words

# What can be done with somebody who is known.
Deed = Literal["pin", "role", "off", "on"]
DEEDS: tuple[Deed, ...] = ("pin", "role", "off", "on")


class PeopleArea:
    """Its pages: ``""`` the list, ``add``, ``known/<name>``, ``known/<name>/<deed>``."""

    area: Area = "users"

    def show(self, desk: Desk, asked: Asked) -> Shown | Sent | None:
        """See `edgehemo.kiosk.area.AreaPages`."""
        parts = asked.path.split("/") if asked.path else []
        known = known_users(desk.kiosk.writer)
        if not parts:
            return _list(known, asked)
        if parts == ["add"]:
            values = {"roles": _roles(asked.words), "given": asked.values, **_pins(asked.words)}
            return Shown("supervision/people_add.html.j2", values)
        if parts[0] != "known" or len(parts) not in (2, 3):
            return None
        user = next((each for each in known if each.name == parts[1]), None)
        if user is None:
            return None
        allowed = deeds(user, asked.who.name, supervisors(desk.kiosk.writer))
        values = {
            "user": _row(user, asked.words, _today()),
            "deeds": [(each, *deed_words(asked.words, each)) for each in allowed],
            "why_not": _why_less(user, asked, supervisors(desk.kiosk.writer)),
        }
        if len(parts) == 2:
            return Shown("supervision/people_one.html.j2", values)
        deed = next((each for each in allowed if each == parts[2]), None)
        if deed is None:
            return None
        values |= {
            "deed": deed,
            "name": deed_words(asked.words, deed)[0],
            "meaning": deed_words(asked.words, deed)[1],
            "roles": _roles(asked.words),
            **_pins(asked.words),
        }
        return Shown("supervision/people_deed.html.j2", values)

    def do(self, desk: Desk, asked: Asked) -> Went | None:
        """See `edgehemo.kiosk.area.AreaPages`."""
        parts = asked.path.split("/")
        if parts == ["add"]:
            return _add(desk, asked)
        if parts[0] != "known" or len(parts) != 3:
            return None
        writer, words, by = desk.kiosk.writer, asked.words, asked.who.name
        user = next((each for each in known_users(writer) if each.name == parts[1]), None)
        deed = next((each for each in DEEDS if each == parts[2]), None)
        if user is None or deed is None:
            return None
        back = f"known/{user.name}"
        if deed not in deeds(user, by, supervisors(writer)):
            return Went(back, problem=words._("This cannot be done any more."))
        if deed in ("pin", "on"):
            if problem := pin_problem(asked.values, words):
                return Went(f"{back}/{deed}", problem=problem)
            pin = asked.values["pin"]
            if deed == "pin":
                reset_pin(writer, user.name, pin, by=by)
                return Went(back, said=words._("The PIN is changed."))
            bring_back(writer, user.name, pin, by=by)
            return Went(back, said=words._("{name} may work again.", name=user.name))
        if deed == "role":
            role = _role(asked.values.get("role"))
            if role is None:
                return Went(f"{back}/role", problem=words._("Touch what this person does."))
            set_role(writer, user.name, role, by=by)
            return Went(back, said=words._("The role is changed."))
        remove_user(writer, user.name, by=by)
        return Went(back, said=words._("{name} may work no more.", name=user.name))


def deeds(user: KnownUser, who: str, leading: list[str]) -> tuple[Deed, ...]:
    """What may be done with somebody. who: does it; nobody takes from themselves what lets them be
    here. leading: all supervisors, of whom the last stays.
    """
    if user.removed_at is not None:
        return ("on",)
    if user.name == who or leading == [user.name]:
        return ("pin",)
    return ("pin", "role", "off")


def deed_words(words: Words, deed: Deed) -> tuple[str, str]:
    """What a deed is called, and what becomes of somebody by it."""
    _ = words._
    return {
        "pin": (_("New PIN"), _("The old one is not taken any more.")),
        "role": (_("Another role"), _("It counts from the next sign-in.")),
        "off": (_("Switch off"), _("No more sign-in. Results keep the name.")),
        "on": (_("Switch on again"), _("With a new PIN.")),
    }[deed]


def name_problem(name: str, known: list[KnownUser], words: Words) -> str:
    """What is wrong with the name of somebody new; empty where it will do."""
    _ = words._
    if not is_user_name(name):
        return _("A name has letters, digits and . _ - and no space.")
    found = next((each for each in known if each.name == name), None)
    if found is None:
        return ""
    if found.removed_at is None:
        return _("Somebody is called so already.")
    return _("Somebody was called so. Switch them on again, or take another name.")


def _add(desk: Desk, asked: Asked) -> Went:
    writer, words, values = desk.kiosk.writer, asked.words, asked.values
    name, role = values.get("name", "").strip(), _role(values.get("role"))
    problem = name_problem(name, known_users(writer), words)
    if not problem and role is None:
        problem = words._("Touch what this person does.")
    problem = problem or pin_problem(values, words)
    if problem or role is None:
        kept = f"?name={name}&role={role or ''}" if is_user_name(name) else ""
        return Went(f"add{kept}", problem=problem)
    add_user(writer, name, role, values["pin"], by=asked.who.name)
    return Went(f"known/{name}", said=words._("{name} may work now.", name=name))


def _list(known: list[KnownUser], asked: Asked) -> Shown:
    rows = rows_of(asked.values)
    page, pages = page_of(asked.values, len(known), rows)
    shown = known[page * rows : (page + 1) * rows]
    return Shown(
        "supervision/people.html.j2",
        {
            "people": [_row(each, asked.words, _today()) for each in shown],
            "each": rows,
            "page": page + 1,
            "pages": pages,
        },
    )


def _row(user: KnownUser, words: Words, today: date) -> dict[str, Any]:
    last = None if user.last_in is None else moment(words, user.last_in, "set", today)
    return {
        "name": user.name,
        "role": user.role,
        "role_name": role_name(words, user.role),
        "last": last,
        "made": moment(words, user.made_at, "set", today),
        "off": user.removed_at is not None,
        "wrong": user.wrong,
    }


def _roles(words: Words) -> list[tuple[str, str, str]]:
    return [(role, role_name(words, role), role_work(words, role)) for role in ROLES]


def _role(text: str | None) -> Role | None:
    return next((each for each in ROLES if each == text), None)


def _why_less(user: KnownUser, asked: Asked, leading: list[str]) -> str:
    """Why not all can be done with somebody."""
    _ = asked.words._
    if user.removed_at is not None:
        return ""
    if leading == [user.name]:
        return _("The only supervisor stays one. Add another first.")
    if user.name == asked.who.name:
        return _("Another supervisor must change your role or switch you off.")
    return ""


def _pins(words: Words) -> dict[str, Any]:
    return {"shortest": SHORTEST, "longest": LONGEST, "pin_rule": pin_rule(words)}


def _today() -> date:
    return datetime.now().astimezone().date()
