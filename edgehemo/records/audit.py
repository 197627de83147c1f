"""The chain of everything that was done: each entry holds the hash of the one before.

A changed, missing or added entry breaks the chain from there on. Whoever can rewrite the whole
chain can make a new one that holds together; against that stand the head's number and first digits
on every report, export and message that left the device. So it is tamper-evident, never
tamper-proof.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from edgehemo.screening.recorded import AuditHead

Action = Literal[
    "store made",
    "store migrated",
    "store set aside",
    "store restored",
    "kiosk state set aside",
    "clock trusted",
    "sample abandoned",
    "result recorded",
    "result signed",
    "result corrected",
    "result held",
    "result released",
    "result withdrawn",
    "result viewed",
    "result exported",
    "result replayed",
    "records verified",
    "records backed up",
    "pictures purged",
    "cell reviewed",
    "paired value entered",
    "setting changed",
    "control recorded",
    "control history taken in",
    "user added",
    "user reset",
    "user removed",
    "user brought back",
    "user role changed",
    "signed in",
    "signed out",
    "wrong PIN",
    "bundle changed",
    "language changed",
    "profile changed",
    "message delivered",
    "message refused",
    "message asked for again",
    "message viewed",
    "configuration changed",
]
ACTIONS: tuple[Action, ...] = get_args(Action)

# What stands before the first entry.
ORIGIN = "0" * 64
# So many digits of a hash are printed: 64 bits are enough to tell one chain from another.
SHOWN_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. details: JSON values, among them the digests of the rows it vouches for."""

    number: int
    at: str
    actor: str
    action: str
    subject: str
    details: dict[str, Any]
    before: str
    hash: str

    def expected_hash(self) -> str:
        """The hash that follows from what the entry says."""
        return hash_of(
            self.number, self.at, self.actor, self.action, self.subject, self.details, self.before
        )


def canonical(value: object) -> str:
    """JSON in the one way that is hashed: no spaces, sorted keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest_of(value: object) -> str:
    """SHA-256 of JSON values."""
    return hashlib.sha256(canonical(value).encode("utf-8", "surrogatepass")).hexdigest()


def hash_of(
    number: int,
    at: str,
    actor: str,
    action: str,
    subject: str,
    details: Mapping[str, Any],
    before: str,
) -> str:
    """The hash of an entry."""
    return digest_of(["edgehemo.audit/1", number, at, actor, action, subject, details, before])


def appended(
    connection: sqlite3.Connection,
    *,
    at: str,
    actor: str,
    action: Action,
    subject: str = "",
    details: Mapping[str, Any] | None = None,
) -> Entry:
    """Add an entry, inside the transaction of what it describes."""
    last = connection.execute(
        "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1"
    ).fetchone()
    number, before = (1, ORIGIN) if last is None else (last[0] + 1, last[1])
    said = dict(details or {})
    entry = Entry(
        number, at, actor, action, subject, said, before,
        hash_of(number, at, actor, action, subject, said, before),
    )  # fmt: skip
    connection.execute(
        "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (number, at, actor, action, subject, canonical(said), before, entry.hash),
    )
    return entry


def head_of(connection: sqlite3.Connection) -> AuditHead:
    """The head of the chain; number 0 and zeros where nothing was done yet."""
    last = connection.execute(
        "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1"
    ).fetchone()
    number, digits = (0, ORIGIN) if last is None else last
    store = connection.execute("SELECT id FROM store").fetchone()
    named = "unnamed" if store is None else store[0]
    return AuditHead(number=number, digits=digits[:SHOWN_DIGITS], store=named)


def entries(
    connection: sqlite3.Connection, *, subject: str | None = None, first: int = 1
) -> Iterator[Entry]:
    """The entries in order, of one subject where it is named, from the number ``first`` on."""
    where, values = "number >= ?", [first]
    query = f"SELECT * FROM audit WHERE {where} ORDER BY number"
    arguments: Sequence[object] = values
    if subject is not None:
        query = f"SELECT * FROM audit WHERE subject = ? AND {where} ORDER BY number"
        arguments = [subject, *values]
    for row in connection.execute(query, arguments):
        number, at, actor, action, named, details, before, found = row
        yield Entry(number, at, actor, action, named, json.loads(details), before, found)


def chain_faults(found: Iterator[Entry], before: Entry | None = None) -> Iterator[str]:
    """What is wrong with the chain, one phrase a fault; before: the entry that comes first."""
    number, last = (0, ORIGIN) if before is None else (before.number, before.hash)
    for entry in found:
        if entry.number != number + 1:
            yield f"audit entries {number + 1} to {entry.number - 1} are missing"
        if entry.before != last:
            yield f"audit entry {entry.number} does not follow the one before it"
        if entry.expected_hash() != entry.hash:
            yield f"audit entry {entry.number} was changed"
        number, last = entry.number, entry.hash
