"""Who may do what on this device: users with a PIN and a role.

Every sign-in, wrong PIN and change is an entry of the chain. Wrong tries are answered by a pause
that doubles; it is kept here, so that switching the device off does not end it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from edgehemo.errors import RecordsError, SignInError
from edgehemo.records.pins import fits, hashed, pause_s
from edgehemo.records.results import inserted
from edgehemo.records.store import Reader, Writer

Role = Literal["operator", "supervisor", "engineer"]
ROLES: tuple[Role, ...] = ("operator", "supervisor", "engineer")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class User:
    """A user. wrong: PINs that were wrong since the last right one."""

    name: str
    role: Role
    made_at: str
    wrong: int


@dataclass(frozen=True, slots=True)
class KnownUser:
    """Somebody who may work here, or could once. last_in: the last sign-in, None before the first.
    removed_at: None where they may work.
    """

    name: str
    role: Role
    made_at: str
    wrong: int
    last_in: str | None
    removed_at: str | None


def known_users(reader: Reader) -> list[KnownUser]:
    """All users, those first who may work, by name; the removed ones after them."""
    rows = reader.rows(
        "SELECT name, role, made_at, wrong, (SELECT at FROM audit WHERE subject = user.name "
        "AND action = 'signed in' ORDER BY number DESC LIMIT 1), removed_at FROM user "
        "ORDER BY removed_at IS NOT NULL, name"
    )
    return [KnownUser(*row) for row in rows]


def is_user_name(name: str) -> bool:
    """Whether a user may be called so."""
    return _NAME.fullmatch(name) is not None


def users(reader: Reader) -> list[User]:
    """All users, by name; removed ones are not among them."""
    rows = reader.rows(
        "SELECT name, role, made_at, wrong FROM user WHERE removed_at IS NULL ORDER BY name"
    )
    return [User(**dict(zip(User.__slots__, row, strict=True))) for row in rows]


def add_user(writer: Writer, name: str, role: Role, pin: str, *, by: str) -> User:
    """Add a user; the first is a supervisor. RecordsError for a name that is taken or none."""
    if not is_user_name(name):
        raise RecordsError("a user's name has up to 64 letters, digits and any of . _ -, no space")
    if role not in ROLES:
        raise RecordsError(f"roles are {', '.join(ROLES)}")
    pin_hash = hashed(pin)
    with writer.transaction() as connection:
        if role != "supervisor" and not supervisors(writer):
            raise RecordsError("the first user is a supervisor, who can add the others")
        known = writer.rows("SELECT removed_at FROM user WHERE name = ?", (name,))
        if known and known[0][0] is None:
            raise RecordsError(f"there is a user {name} already")
        if known:
            raise RecordsError(
                f"a user {name} was removed, and results bear the name: choose another"
            )
        made_at = writer.stamp().text
        inserted(
            connection, "user", {"name": name, "role": role, "pin": pin_hash, "made_at": made_at}
        )
        writer.note("user added", name, {"role": role}, by=by)
    return User(name, role, made_at, 0)


def add_first_user(writer: Writer, name: str, pin: str, *, by: str) -> User:
    """Add the supervisor who makes all others. RecordsError where anybody is known already."""
    with writer.transaction():
        if writer.rows("SELECT 1 FROM user LIMIT 1"):
            raise RecordsError("there are users already; a supervisor adds others")
        return add_user(writer, name, "supervisor", pin, by=by)


def reset_pin(writer: Writer, name: str, pin: str, *, by: str) -> None:
    """Give a user another PIN; the pause after wrong tries ends."""
    pin_hash = hashed(pin)
    with writer.transaction() as connection:
        _known(writer, name)
        connection.execute(
            "UPDATE user SET pin = ?, wrong = 0, wrong_at_s = NULL WHERE name = ?",
            (pin_hash, name),
        )
        writer.note("user reset", name, by=by)


def remove_user(writer: Writer, name: str, *, by: str) -> None:
    """A user may do nothing any more; results keep the name. The last supervisor stays."""
    with writer.transaction() as connection:
        _known(writer, name)
        if supervisors(writer) == [name]:
            raise RecordsError(f"{name} is the only supervisor: add another one first")
        connection.execute(
            "UPDATE user SET removed_at = ? WHERE name = ?", (writer.stamp().text, name)
        )
        writer.note("user removed", name, by=by)


def bring_back(writer: Writer, name: str, pin: str, *, by: str) -> None:
    """A removed user may work again, with a new PIN. RecordsError for one who was not removed."""
    pin_hash = hashed(pin)
    with writer.transaction() as connection:
        if not writer.rows("SELECT 1 FROM user WHERE name = ? AND removed_at IS NOT NULL", (name,)):
            raise RecordsError(f"no user {name[:64]} was removed")
        connection.execute(
            "UPDATE user SET removed_at = NULL, pin = ?, wrong = 0, wrong_at_s = NULL "
            "WHERE name = ?",
            (pin_hash, name),
        )
        writer.note("user brought back", name, by=by)


def set_role(writer: Writer, name: str, role: Role, *, by: str) -> None:
    """Give a user another role. The last supervisor stays one."""
    if role not in ROLES:
        raise RecordsError(f"roles are {', '.join(ROLES)}")
    with writer.transaction() as connection:
        _known(writer, name)
        if role != "supervisor" and supervisors(writer) == [name]:
            raise RecordsError(f"{name} is the only supervisor: add another one first")
        connection.execute("UPDATE user SET role = ? WHERE name = ?", (role, name))
        writer.note("user role changed", name, {"role": role}, by=by)


def sign_in(
    writer: Writer, name: str, pin: str, *, seconds: Callable[[], int] | None = None
) -> User:
    """The user of a name and PIN. SignInError where they do not fit or a pause is not over.

    seconds: the clock, in whole seconds since 1970.
    """
    now = writer.stamp().seconds if seconds is None else seconds()
    with writer.transaction():
        found = writer.rows(
            "SELECT role, pin, made_at, wrong, wrong_at_s FROM user "
            "WHERE name = ? AND removed_at IS NULL",
            (name,),
        )
        left = _left_s(writer, name, found[0][3], found[0][4], now) if found else 0
    if left > 0:
        raise SignInError(f"too many wrong PINs: wait {left} s and try again", left)
    if not found:
        # As long as for a name that exists, so that nobody learns the names.
        fits(pin, _nobody())
        writer.note("wrong PIN", details={"user": "unknown"}, by="nobody")
        raise SignInError("this name and PIN do not belong together", 0)
    role, known, made_at, wrong, _ = found[0]
    if fits(pin, known):
        with writer.transaction() as connection:
            connection.execute(
                "UPDATE user SET wrong = 0, wrong_at_s = NULL WHERE name = ?", (name,)
            )
            writer.note("signed in", name, by=name)
        return User(name, role, made_at, 0)
    with writer.transaction() as connection:
        connection.execute(
            "UPDATE user SET wrong = wrong + 1, wrong_at_s = ? WHERE name = ?", (now, name)
        )
        writer.note("wrong PIN", name, {"in a row": wrong + 1}, by="nobody")
    wait = pause_s(wrong + 1)
    then = f": wait {wait} s before the next try" if wait else ""
    raise SignInError(f"this name and PIN do not belong together{then}", wait)


def sign_out(writer: Writer, name: str, why: str = "") -> None:
    """Note that a user left; why: such as a pause that was too long."""
    writer.note("signed out", name, {"why": why} if why else {}, by=name)


def _left_s(writer: Writer, name: str, wrong: int, at_s: int | None, now: int) -> int:
    """What is left of a pause, in seconds. A clock that was put back does not end it."""
    pause = pause_s(wrong)
    if at_s is None or not pause:
        return 0
    if now < at_s:
        writer.connection.execute("UPDATE user SET wrong_at_s = ? WHERE name = ?", (now, name))
        at_s = now
    return max(0, at_s + pause - now)


def _known(writer: Writer, name: str) -> None:
    if not writer.rows("SELECT 1 FROM user WHERE name = ? AND removed_at IS NULL", (name,)):
        raise RecordsError(f"there is no user {name[:64]}; `edgehemo users list` shows them")


def supervisors(reader: Reader) -> list[str]:
    """Everybody who is one and may work."""
    rows = reader.rows(
        "SELECT name FROM user WHERE role = 'supervisor' AND removed_at IS NULL ORDER BY name"
    )
    return [row[0] for row in rows]


_NOBODY: list[str] = []


def _nobody() -> str:
    """The hash of a PIN that nobody has."""
    if not _NOBODY:
        _NOBODY.append(hashed("".join(secrets.choice("02468") for _ in range(10)) + "13"))
    return _NOBODY[0]
