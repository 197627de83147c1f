"""Everything that was done here, as on a kiosk: each entry holds the hash of the one before.

The laboratory has a chain of what people do, and one for each kiosk of what came from it, so that
hundreds of kiosks do not wait for each other. That a kiosk's chain exists stands in the
laboratory's. Tamper-evident, never tamper-proof: see `edgehemo.records.audit`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from edgehemo.records.audit import Entry, canonical, chain_faults, hash_of
from edgehemo_laboratory.clock import now, text_of
from edgehemo_laboratory.storage.interface import Row, Statements

# The chain of what people and the server itself do.
LABORATORY = "laboratory"

Deed = Literal[
    "laboratory made",
    "results received",
    "analyser values received",
    "pictures received",
    "pictures asked for",
    "pictures settled",
    "pairing code made",
    "kiosk added",
    "kiosk enrolled",
    "kiosk changed",
    "kiosk revoked",
    "certificate renewed",
    "certificate prepared",
    "certificate put into use",
    "person added",
    "person reset",
    "person removed",
    "signed in",
    "signed out",
    "wrong passphrase",
    "result viewed",
    "results exported",
    "storage verified",
    "published",
    "publication advanced",
    "publication halted",
    "publication resumed",
    "publication rolled back",
    "publication settled",
    "kiosk runs",
    "stick written",
]


def chain_of(kiosk: int) -> str:
    """What the chain of a kiosk is called; kiosk: its number."""
    return f"kiosk {kiosk}"


def origin_of(chain: str) -> str:
    """What stands before a chain's first entry: no two chains can be taken for each other."""
    return hashlib.sha256(f"edgehemo laboratory chain\0{chain}".encode()).hexdigest()


def next_entry(
    chain: str,
    head: tuple[int, str] | None,
    deed: Deed,
    subject: str = "",
    details: Mapping[str, Any] | None = None,
    *,
    by: str,
    at: datetime | None = None,
) -> Entry:
    """The entry that follows the head of a chain; head: its number and hash, None of an empty
    chain.
    """
    number, before = (0, origin_of(chain)) if head is None else head
    said = dict(details or {})
    when = text_of(now() if at is None else at)
    digits = hash_of(number + 1, when, by, deed, subject, said, before)
    return Entry(number + 1, when, by, deed, subject, said, before, digits)


async def head_of(statements: Statements, chain: str) -> tuple[int, str] | None:
    """The newest entry's number and hash; None of an empty chain."""
    found = await statements.rows(
        "SELECT number, hash FROM audit WHERE chain = $1 ORDER BY number DESC LIMIT 1", chain
    )
    return (found[0][0], found[0][1]) if found else None


async def note(
    statements: Statements,
    deed: Deed,
    subject: str = "",
    details: Mapping[str, Any] | None = None,
    *,
    by: str,
    chain: str = LABORATORY,
) -> Entry:
    """Add an entry, inside the transaction of what it describes (`Storage.change`): where another
    was faster the transaction is done again.
    """
    entry = next_entry(chain, await head_of(statements, chain), deed, subject, details, by=by)
    await statements.do(
        "INSERT INTO audit (chain, number, at, actor, action, subject, details, before, hash) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        chain, entry.number, entry.at, entry.actor, entry.action, entry.subject,
        canonical(entry.details), entry.before, entry.hash,
    )  # fmt: skip
    return entry


def entry_of(row: Row) -> Entry:
    """An entry of a row of ``audit``, its columns without the chain."""
    number, at, actor, action, subject, details, before, digits = row
    return Entry(number, at, actor, action, subject, json.loads(details), before, digits)


async def faults_of(statements: Statements, chain: str, *, at_once: int = 5000) -> list[str]:
    """What is wrong with a chain, a phrase each."""
    found: list[str] = []
    last = Entry(0, "", "", "", "", {}, "", origin_of(chain))
    while True:
        rows = await statements.rows(
            "SELECT number, at, actor, action, subject, details, before, hash FROM audit "
            "WHERE chain = $1 AND number > $2 ORDER BY number LIMIT $3",
            chain, last.number, at_once,
        )  # fmt: skip
        if not rows:
            return found
        entries = [entry_of(row) for row in rows]
        found += [f"{chain}: {fault}" for fault in chain_faults(iter(entries), last)]
        last = entries[-1]
