"""The kiosks of a laboratory: added with a pairing code, enrolled by it, known by a certificate,
revoked when they are lost.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgehemo.interop.laboratory import (
    ENROLMENT_PROOF,
    RENEWAL_PROOF,
    DeviceState,
    Enrolled,
    Enrolment,
    PicturesRule,
    Renewal,
    Renewed,
    message_of,
)
from edgehemo.interop.pairing import PairingCode, digest_of_secret, new_code
from edgehemo_laboratory.chain import chain_of, note
from edgehemo_laboratory.clock import now, seconds_of, text_of
from edgehemo_laboratory.enrolment.certificates import Certificates, digest_of_pem
from edgehemo_laboratory.errors import LaboratoryError
from edgehemo_laboratory.storage.interface import Row, Statements, Storage

# How long a pairing code may be used.
CODE_DAYS = 7
# A kiosk is asked to renew its certificate after so long.
RENEW_AFTER_DAYS = 90
_DAY_S = 86_400
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SITE = re.compile(r"[A-Za-z0-9][\w .-]{0,63}")
PICTURES: tuple[PicturesRule, ...] = ("never", "asked", "all")


@dataclass(frozen=True, slots=True)
class Kiosk:
    """One kiosk. device, software_version: what it says of itself. heard_at_s: when it was last
    heard, seconds since 1970 by this machine's clock; None before the first time. sent_at: what its
    own clock said then. pinned: digests of the laboratory's certificates that it trusts. state: how
    it last said it is, at state_at_s; None where it never did.
    """

    number: int
    name: str
    site: str
    made_at: str
    enrolled_at: str | None
    revoked_at: str | None
    revoked_why: str
    identified: bool
    pictures: PicturesRule
    device: str
    software_version: str
    heard_at_s: int | None
    sent_at: str
    pinned: tuple[str, ...]
    state: DeviceState | None
    state_at_s: int | None

    @property
    def chain(self) -> str:
        """The chain of what came from it."""
        return chain_of(self.number)


_COLUMNS = (
    "number, name, site, made_at, enrolled_at, revoked_at, revoked_why, identified, pictures, "
    "device, software_version, heard_at_s, sent_at, pinned, state, state_at_s"
)


def _kiosk(row: Row) -> Kiosk:
    values = dict(zip(Kiosk.__slots__, row, strict=True))
    said = values["state"]
    values |= {
        "identified": bool(values["identified"]),
        "pinned": tuple(values["pinned"].split()),
        "state": message_of(DeviceState, said.encode()) if said else None,
    }
    return Kiosk(**values)


async def kiosks(statements: Statements) -> list[Kiosk]:
    """All of them, by name; revoked ones too."""
    return [
        _kiosk(row) for row in await statements.rows(f"SELECT {_COLUMNS} FROM kiosk ORDER BY name")
    ]


async def kiosk_named(statements: Statements, name: str) -> Kiosk:
    """One of them; LaboratoryError where there is none."""
    found = await statements.rows(f"SELECT {_COLUMNS} FROM kiosk WHERE name = $1", name)
    if not found:
        raise LaboratoryError(
            f"there is no kiosk {name[:64]!r}; `edgehemo laboratory kiosks` shows them"
        )
    return _kiosk(found[0])


@dataclass(frozen=True, slots=True)
class Known:
    """Whose certificate was shown. fresh: it was never shown before. made_at_s: its age."""

    kiosk: Kiosk
    digest: str
    fresh: bool
    made_at_s: int


async def known_by(statements: Statements, digest: str) -> Known | None:
    """Who shows a certificate; None where it does not count, or not any more."""
    columns = ", ".join(f"k.{name}" for name in _COLUMNS.split(", "))
    found = await statements.rows(
        f"SELECT c.used_at, c.made_at_s, {columns} FROM certificate c "
        "JOIN kiosk k ON k.number = c.kiosk "
        "WHERE c.digest = $1 AND c.ended_at IS NULL AND k.revoked_at IS NULL",
        digest,
    )
    if not found:
        return None
    used_at, made_at_s, *row = found[0]
    return Known(_kiosk(tuple(row)), digest, used_at is None, made_at_s)


async def certificate_shown(storage: Storage, known: Known) -> None:
    """A certificate was shown for the first time: those before it end."""

    async def work(change: Statements) -> None:
        at = text_of(now())
        await change.do(
            "UPDATE certificate SET ended_at = $1 WHERE kiosk = $2 AND digest <> $3 "
            "AND ended_at IS NULL AND made_at_s <= $4",
            at, known.kiosk.number, known.digest, known.made_at_s,
        )  # fmt: skip
        await change.do(
            "UPDATE certificate SET used_at = $1 WHERE digest = $2 AND used_at IS NULL",
            at, known.digest,
        )  # fmt: skip

    await storage.change(work)


async def add_kiosk(
    storage: Storage,
    certificates: Certificates,
    name: str,
    site: str,
    *,
    identified: bool = False,
    pictures: PicturesRule = "asked",
    by: str,
) -> PairingCode:
    """A pairing code for a kiosk, which is added where there is none of this name.

    One that was revoked, or whose device was replaced, gets a code likewise: it is enrolled again.
    """
    if not _NAME.fullmatch(name):
        raise LaboratoryError(
            "a kiosk's name has up to 64 letters, digits and any of . _ -, no space"
        )
    if not _SITE.fullmatch(site):
        raise LaboratoryError("a site is a code of up to 64 letters, digits, spaces, . _ and -")
    code = new_code(certificates.server.der)
    at = now()

    async def work(change: Statements) -> None:
        found = await change.rows("SELECT number FROM kiosk WHERE name = $1", name)
        if not found:
            found = await change.rows(
                "INSERT INTO kiosk (name, site, made_at, identified, pictures) "
                "VALUES ($1, $2, $3, $4, $5) RETURNING number",
                name, site, text_of(at), int(identified), pictures,
            )  # fmt: skip
            told = {"site": site, "identified": identified, "pictures": pictures}
            await note(change, "kiosk added", name, {**told, "chain": chain_of(found[0][0])}, by=by)
        await change.do(
            "INSERT INTO pairing (code, kiosk, made_at, until_s) VALUES ($1, $2, $3, $4)",
            code.secret_digest, found[0][0], text_of(at), seconds_of(at) + CODE_DAYS * _DAY_S,
        )  # fmt: skip
        await note(change, "pairing code made", name, by=by)

    await storage.change(work)
    return code


async def enrol(storage: Storage, certificates: Certificates, asked: Enrolment) -> Enrolled:
    """A kiosk that came with a code: its certificate. LaboratoryError for a code that does not
    count.
    """
    digest = digest_of_secret(asked.secret)
    said = ENROLMENT_PROOF + asked.secret.encode()

    async def work(change: Statements) -> tuple[Kiosk, str]:
        at = now()
        used = await change.rows(
            "UPDATE pairing SET used_at = $1 WHERE code = $2 AND used_at IS NULL AND until_s > $3 "
            "RETURNING kiosk",
            text_of(at), digest, seconds_of(at),
        )  # fmt: skip
        if not used:
            raise LaboratoryError(
                "this pairing code does not count: it was used, is too old, or was mistyped; have "
                "the laboratory give another"
            )
        number = used[0][0]
        row = await change.rows(f"SELECT {_COLUMNS} FROM kiosk WHERE number = $1", number)
        kiosk = _kiosk(row[0])
        pem = certificates.for_kiosk(kiosk.name, asked.public_key, asked.proof, said)
        # Whoever enrols takes the place of the device before: a lost one is locked out by it.
        await change.do(
            "UPDATE certificate SET ended_at = $1 WHERE kiosk = $2 AND ended_at IS NULL",
            text_of(at), number,
        )  # fmt: skip
        await _insert_certificate(change, pem, number)
        await change.do(
            "UPDATE kiosk SET enrolled_at = $1, revoked_at = NULL, revoked_why = '', device = $2, "
            "software_version = $3, heard_at_s = $4 WHERE number = $5",
            text_of(at), asked.device, asked.software_version, seconds_of(at), number,
        )  # fmt: skip
        told = {"certificate": digest_of_pem(pem), "device": asked.device}
        await note(change, "kiosk enrolled", kiosk.name, told, by=kiosk.name)
        return kiosk, pem

    kiosk, pem = await storage.change(work)
    return Enrolled(
        kiosk=kiosk.name,
        site=kiosk.site,
        certificate=pem,
        laboratory=tuple(each.pem for each in certificates.to_trust),
        identified=kiosk.identified,
        pictures=kiosk.pictures,
    )


async def renew(
    storage: Storage, certificates: Certificates, known: Known, asked: Renewal
) -> Renewed:
    """Another certificate for a kiosk; its old one counts until this one was shown."""
    kiosk = known.kiosk
    said = RENEWAL_PROOF + asked.public_key.encode()
    pem = certificates.for_kiosk(kiosk.name, asked.public_key, asked.proof, said)

    async def work(change: Statements) -> None:
        # One that was made and never shown has come to nothing: the answer was lost.
        await change.do(
            "UPDATE certificate SET ended_at = $1 WHERE kiosk = $2 AND used_at IS NULL "
            "AND ended_at IS NULL AND digest <> $3",
            text_of(now()), kiosk.number, known.digest,
        )  # fmt: skip
        await _insert_certificate(change, pem, kiosk.number)
        told = {"certificate": digest_of_pem(pem)}
        await note(change, "certificate renewed", kiosk.name, told, by=kiosk.name)

    await storage.change(work)
    return Renewed(certificate=pem)


async def _insert_certificate(change: Statements, pem: str, kiosk: int) -> None:
    at = now()
    await change.do(
        "INSERT INTO certificate (digest, kiosk, made_at, made_at_s) VALUES ($1, $2, $3, $4)",
        digest_of_pem(pem), kiosk, text_of(at), seconds_of(at),
    )  # fmt: skip


async def revoke(storage: Storage, name: str, why: str, *, by: str) -> Kiosk:
    """A lost or stolen kiosk: nothing is taken from it any more, and its codes are void."""
    if not why.strip():
        raise LaboratoryError("say why, such as: stolen")

    async def work(change: Statements) -> Kiosk:
        kiosk = await kiosk_named(change, name)
        if kiosk.revoked_at is not None:
            raise LaboratoryError(f"{name} was revoked already, {kiosk.revoked_at}")
        at = text_of(now())
        await change.do(
            "UPDATE kiosk SET revoked_at = $1, revoked_why = $2 WHERE number = $3",
            at, why, kiosk.number,
        )  # fmt: skip
        await change.do(
            "UPDATE certificate SET ended_at = $1 WHERE kiosk = $2 AND ended_at IS NULL",
            at, kiosk.number,
        )  # fmt: skip
        await change.do(
            "UPDATE pairing SET used_at = $1 WHERE kiosk = $2 AND used_at IS NULL",
            at, kiosk.number,
        )  # fmt: skip
        await note(change, "kiosk revoked", name, {"why": why}, by=by)
        return await kiosk_named(change, name)

    return await storage.change(work)


async def set_policy(
    storage: Storage,
    name: str,
    *,
    site: str | None = None,
    identified: bool | None = None,
    pictures: PicturesRule | None = None,
    by: str,
) -> Kiosk:
    """Change where a kiosk stands and what may come from it; None leaves it."""
    if site is not None and not _SITE.fullmatch(site):
        raise LaboratoryError("a site is a code of up to 64 letters, digits, spaces, . _ and -")
    given: dict[str, str | int] = {}
    if site is not None:
        given["site"] = site
    if identified is not None:
        given["identified"] = int(identified)
    if pictures is not None:
        given["pictures"] = pictures

    async def work(change: Statements) -> Kiosk:
        kiosk = await kiosk_named(change, name)
        for column, value in given.items():
            await change.do(
                f"UPDATE kiosk SET {column} = $1 WHERE number = $2", value, kiosk.number
            )
        if given:
            await note(change, "kiosk changed", name, given, by=by)
        return await kiosk_named(change, name)

    return await storage.change(work)


async def without(statements: Statements, digest: str) -> Sequence[str]:
    """Kiosks in service that do not say that they trust a certificate of the laboratory."""
    return [
        each.name
        for each in await kiosks(statements)
        if each.enrolled_at and not each.revoked_at and digest not in each.pinned
    ]
