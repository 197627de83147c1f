"""What the laboratory asks of a storage. One SQL for both engines, values as ``$1``, ``$2``.

What differs between the engines is what `Storage` has methods for: taking a batch, above all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from edgehemo.records.audit import Entry

Engine = Literal["postgresql", "sqlite"]
Value = str | int | float | bytes | None
Row = tuple[Any, ...]
T = TypeVar("T")

# Columns of `result` that a version's content gives, with PostgreSQL's name of their type. The
# statements of both engines are made from it.
RESULT_COLUMNS: Mapping[str, str] = {
    "outcome": "text",
    "standing": "text",
    "corrected": "integer",
    "sample": "text",
    "made_at": "text",
    "day": "text",
    "clock": "text",
    "simulated": "integer",
    "identified": "integer",
    "operator": "text",
    "withheld": "text",
    "grade": "text",
    "hgb_g_per_l": "double precision",
    "hgb_low": "double precision",
    "hgb_high": "double precision",
    "hct_l_per_l": "double precision",
    "rbc_1e12_per_l": "double precision",
    "hgb_index": "double precision",
    "hct_index": "double precision",
    "rbc_index": "double precision",
    "accepted": "integer",
    "refused": "integer",
    "checks": "text",
    "failed": "text",
    "types": "text",
    "person": "text",
    "bundle_sha256": "text",
    "profile_sha256": "text",
    "software_version": "text",
}
# What a result is at a version: a later one takes its place, whatever the order in which they
# came. Two contents of one version, as put-back records make them, are told apart by their date
# and digest, so that every order ends the same.
NEWER = "(excluded.version, excluded.changed_at, excluded.identity) > (result.version, result.changed_at, result.identity)"  # noqa: E501


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """One version of a result to be stored. size: of what came, in bytes. body: it, compressed.
    columns: a value for each of `RESULT_COLUMNS`.
    """

    identity: str
    sha256: str
    result_id: str
    version: int
    state: str
    change: str
    changed_at: str
    size: int
    body: bytes
    columns: Mapping[str, Value]

    @property
    def rank(self) -> tuple[int, str, str]:
        """Which of several versions of one result is the newest."""
        return self.version, self.changed_at, self.identity


@dataclass(frozen=True, slots=True)
class Arrived:
    """One item of a batch that was settled. words: why it was refused, empty where it was not."""

    sequence: int
    identity: str
    words: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """A batch, to be written whole or not at all. kiosk: number of who sends. entry: of its chain.
    at_s: when it came. sent_at: what the kiosk's clock said.
    """

    kiosk: int
    store: str
    device: str
    software_version: str
    sent_at: str
    at: str
    at_s: int
    chain: str
    entry: Entry
    arrived: Sequence[Arrived]
    versions: Sequence[StoredVersion]

    def newest(self) -> list[StoredVersion]:
        """The newest version of each result in it."""
        found: dict[str, StoredVersion] = {}
        for each in self.versions:
            known = found.get(each.result_id)
            if known is None or each.rank > known.rank:
                found[each.result_id] = each
        return sorted(found.values(), key=lambda each: each.result_id)


class Statements(Protocol):
    """Where SQL is said. Each raises StorageError, or one of its kinds."""

    async def rows(self, sql: str, *values: Value) -> list[Row]:
        """What a query gives."""

    async def do(self, sql: str, *values: Value) -> int:
        """How many rows a statement changed."""


class Storage(Statements, Protocol):
    """An open storage, migrated to the newest version. `rows` and `do` are transactions of their
    own.
    """

    @property
    def engine(self) -> Engine:
        """Which it is."""

    @property
    def about(self) -> str:
        """Where it is, for people; without a password."""

    async def change(self, work: Callable[[Statements], Awaitable[T]]) -> T:
        """Do something in one transaction, again where another changed the same meanwhile."""

    async def take(self, taken: Taken) -> dict[str, str]:
        """Write a batch: identity -> digest of what is stored after the commit.

        The same batch any number of times, in any order with others, ends the same. What is not
        named is not known to be stored. Raises ConflictError where the chain grew meanwhile.
        """

    async def close(self) -> None:
        """Let go of it."""
