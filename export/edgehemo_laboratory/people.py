"""Who may do what at the laboratory: people with a passphrase and a role, as on the kiosk.

An operator sees results; a supervisor looks after kiosks and people besides; an engineer publishes
what kiosks run. Every sign-in, wrong passphrase and change is an entry of the chain; wrong tries
are answered by a pause that doubles.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from dataclasses import dataclass

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from edgehemo.records.pins import pause_s
from edgehemo.records.users import ROLES, Role
from edgehemo_laboratory.chain import note
from edgehemo_laboratory.clock import now, seconds_of, text_of
from edgehemo_laboratory.errors import LaboratoryError
from edgehemo_laboratory.storage.interface import Statements, Storage

SHORTEST, LONGEST = 12, 200
# A session ends after so long without a page, and in any case after the other.
IDLE_S, LONGEST_SESSION_S = 3600, 12 * 3600
# Noted at most so often that somebody is there.
_SEEN_EVERY_S = 60
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Of a passphrase: 64 MiB and three passes, some 0.1 s of a server's time.
_HASHER = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=1)


class NotSignedInError(LaboratoryError):
    """A name and passphrase that were not taken. wait_s: seconds until the next try is."""

    def __init__(self, message: str, wait_s: int = 0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who works here."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Whether what a role may do is theirs to do: each may do what those before it may."""
        return ROLES.index(self.role) >= ROLES.index(role)


@dataclass(frozen=True, slots=True)
class KnownPerson:
    """removed_at: None where they may work."""

    name: str
    role: Role
    made_at: str
    removed_at: str | None


async def people(statements: Statements) -> list[KnownPerson]:
    """Everybody, those first who may work."""
    rows = await statements.rows(
        "SELECT name, role, made_at, removed_at FROM person ORDER BY removed_at IS NOT NULL, name"
    )
    return [KnownPerson(*row) for row in rows]


async def _hashed(passphrase: str) -> str:
    if not SHORTEST <= len(passphrase) <= LONGEST or not passphrase.isprintable():
        raise LaboratoryError(f"a passphrase has {SHORTEST} to {LONGEST} characters on one line")
    if len(set(passphrase)) < 5:
        raise LaboratoryError("this passphrase is guessed first: use more different characters")
    return await asyncio.to_thread(_HASHER.hash, passphrase)


async def _fits(passphrase: str, known: str) -> bool:
    def look() -> bool:
        try:
            return bool(_HASHER.verify(known, passphrase))
        except (VerificationError, InvalidHashError):
            return False

    return await asyncio.to_thread(look)


async def add_person(
    storage: Storage, name: str, role: Role, passphrase: str, *, by: str
) -> Person:
    """Add somebody, or let somebody in again who was removed. LaboratoryError where they are known
    and may work.
    """
    if not _NAME.fullmatch(name):
        raise LaboratoryError("a name has up to 64 letters, digits and any of . _ -, no space")
    if role not in ROLES:
        raise LaboratoryError(f"roles are {', '.join(ROLES)}")
    hashed = await _hashed(passphrase)

    async def work(change: Statements) -> None:
        found = await change.rows("SELECT removed_at FROM person WHERE name = $1", name)
        if found and found[0][0] is None:
            raise LaboratoryError(
                f"{name} is known already; `edgehemo laboratory people list` shows them"
            )
        await change.do(
            "INSERT INTO person (name, role, passphrase, made_at) VALUES ($1, $2, $3, $4) "
            "ON CONFLICT (name) DO UPDATE SET role = excluded.role, "
            "passphrase = excluded.passphrase, wrong = 0, wrong_at_s = NULL, removed_at = NULL",
            name, role, hashed, text_of(now()),
        )  # fmt: skip
        await note(change, "person added", name, {"role": role}, by=by)

    await storage.change(work)
    return Person(name, role)


async def reset_passphrase(storage: Storage, name: str, passphrase: str, *, by: str) -> None:
    """Another passphrase; who is signed in by the old one is signed out."""
    hashed = await _hashed(passphrase)

    async def work(change: Statements) -> None:
        await _known(change, name)
        await change.do(
            "UPDATE person SET passphrase = $1, wrong = 0, wrong_at_s = NULL WHERE name = $2",
            hashed, name,
        )  # fmt: skip
        await change.do("DELETE FROM session WHERE person = $1", name)
        await note(change, "person reset", name, by=by)

    await storage.change(work)


async def remove_person(storage: Storage, name: str, *, by: str) -> None:
    """Somebody may do nothing here any more, from this moment on."""

    async def work(change: Statements) -> None:
        await _known(change, name)
        await change.do("UPDATE person SET removed_at = $1 WHERE name = $2", text_of(now()), name)
        await change.do("DELETE FROM session WHERE person = $1", name)
        await note(change, "person removed", name, by=by)

    await storage.change(work)


async def _known(change: Statements, name: str) -> None:
    found = await change.rows("SELECT 1 FROM person WHERE name = $1 AND removed_at IS NULL", name)
    if not found:
        raise LaboratoryError(
            f"nobody is called {name[:64]}; `edgehemo laboratory people list` shows them"
        )


async def sign_in(storage: Storage, name: str, passphrase: str) -> tuple[Person, str]:
    """Somebody, and the cookie of their session. NotSignedInError where the two do not fit."""
    at_s = seconds_of(now())
    found = await storage.rows(
        "SELECT role, passphrase, wrong, wrong_at_s FROM person "
        "WHERE name = $1 AND removed_at IS NULL",
        name,
    )
    role, known, wrong, wrong_at_s = found[0] if found else ("operator", _NOBODY, 0, None)
    if wrong_at_s is not None and (left := _left_s(wrong, wrong_at_s, at_s)) > 0:
        raise NotSignedInError(f"too many wrong tries: wait {left} s and try again", left)
    # A name that nobody has takes as long, so that nobody learns the names.
    if not await _fits(passphrase, known) or not found:
        await storage.change(lambda change: _wrong(change, name if found else "", at_s))
        wait = pause_s(wrong + 1) if found else 0
        then = f": wait {wait} s before the next try" if wait else ""
        raise NotSignedInError(f"this name and passphrase do not belong together{then}", wait)
    cookie = secrets.token_urlsafe(32)

    async def work(change: Statements) -> None:
        await change.do("UPDATE person SET wrong = 0, wrong_at_s = NULL WHERE name = $1", name)
        await change.do("DELETE FROM session WHERE made_at_s < $1", at_s - LONGEST_SESSION_S)
        await change.do(
            "INSERT INTO session (cookie, person, made_at_s, seen_at_s) VALUES ($1, $2, $3, $3)",
            _digest(cookie), name, at_s,
        )  # fmt: skip
        await note(change, "signed in", name, by=name)

    await storage.change(work)
    return Person(name, role), cookie


async def _wrong(change: Statements, name: str, at_s: int) -> None:
    await change.do(
        "UPDATE person SET wrong = wrong + 1, wrong_at_s = $1 WHERE name = $2", at_s, name
    )
    await note(change, "wrong passphrase", name, by="nobody")


def _left_s(wrong: int, wrong_at_s: int, at_s: int) -> int:
    """What is left of a pause. A clock that was put back ends none, and makes none longer."""
    pause = pause_s(wrong)
    return max(0, min(pause, wrong_at_s + pause - at_s))


async def signed_in(storage: Storage, cookie: str | None) -> Person | None:
    """Whose session a cookie is; None where there is none, or not any more."""
    if not cookie or len(cookie) > 100:
        return None
    at_s = seconds_of(now())
    found = await storage.rows(
        "SELECT p.name, p.role, s.made_at_s, s.seen_at_s FROM session s "
        "JOIN person p ON p.name = s.person WHERE s.cookie = $1 AND p.removed_at IS NULL",
        _digest(cookie),
    )
    if not found:
        return None
    name, role, made_at_s, seen_at_s = found[0]
    if at_s - made_at_s > LONGEST_SESSION_S or at_s - seen_at_s > IDLE_S:
        await storage.do("DELETE FROM session WHERE cookie = $1", _digest(cookie))
        return None
    if at_s - seen_at_s > _SEEN_EVERY_S:
        await storage.do(
            "UPDATE session SET seen_at_s = $1 WHERE cookie = $2", at_s, _digest(cookie)
        )
    return Person(name, role)


async def sign_out(storage: Storage, cookie: str) -> None:
    """End a session."""

    async def work(change: Statements) -> None:
        found = await change.rows(
            "DELETE FROM session WHERE cookie = $1 RETURNING person", _digest(cookie)
        )
        if found:
            await note(change, "signed out", found[0][0], by=found[0][0])

    await storage.change(work)


def form_token(cookie: str) -> str:
    """What every form of a session must send back: only pages of the session know it."""
    return hashlib.sha256(f"edgehemo laboratory form\0{cookie}".encode()).hexdigest()


def _digest(cookie: str) -> str:
    return hashlib.sha256(f"edgehemo laboratory session\0{cookie}".encode()).hexdigest()


# The hash of a passphrase that nobody has.
_NOBODY = _HASHER.hash(secrets.token_urlsafe(32))
