"""Publications as the storage keeps them: never changed once they are there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal

from edgehemo.interop.laboratory import Offer
from edgehemo.published.slide import SlideNumbers
from edgehemo.published.terms import Kind
from edgehemo_laboratory.errors import LaboratoryError, StorageError
from edgehemo_laboratory.steering.limits import Limits
from edgehemo_laboratory.steering.stages import Stage
from edgehemo_laboratory.storage.interface import Row, Statements

# Of the file's pieces; a part that a kiosk asks for lies in two of them at most.
PIECE_BYTES = 1_000_000
State = Literal["staged", "halted"]


@dataclass(frozen=True, slots=True)
class Publication:
    """One, and how it stands. stage: from 0. since_s: when that began. sites, kiosks: who it is
    for; empty for all.
    """

    number: int
    sha256: str
    kind: Kind
    name: str
    serial: int
    digest: str
    signed_by: str
    key: str
    size: int
    expected: SlideNumbers | None
    stages: tuple[Stage, ...]
    limits: Limits
    sites: frozenset[str]
    kiosks: frozenset[str]
    back_to: int | None
    made_at: str
    made_at_s: int
    by: str
    state: State
    stage: int
    since_s: int
    counted_from_s: int
    why: str
    by_itself: bool

    @property
    def called(self) -> str:
        """As people name it."""
        return f"{self.kind} {self.name} {self.serial}"

    @property
    def now(self) -> Stage:
        """The stage that it is in."""
        return self.stages[self.stage]

    @property
    def is_last(self) -> bool:
        """Whether no stage follows."""
        return self.stage == len(self.stages) - 1

    def is_for(self, kiosk: str, site: str) -> bool:
        """Whether it is for a kiosk at all, in whatever stage."""
        return (not self.sites or site in self.sites) and (not self.kiosks or kiosk in self.kiosks)

    @property
    def offer(self) -> Offer:
        """What a kiosk is told of it."""
        return Offer(
            sha256=self.sha256,
            kind=self.kind,
            name=self.name,
            serial=self.serial,
            bytes=self.size,
            expected=self.expected,
        )


_COLUMNS = (
    "p.number, p.sha256, p.kind, p.name, p.serial, p.digest, p.signed_by, p.key, p.size, "
    "p.expected, p.stages, p.limits, p.sites, p.kiosks, p.back_to, p.made_at, p.made_at_s, "
    "p.by_whom, s.state, s.stage, s.since_s, s.counted_from_s, s.why, s.by_itself"
)
_FROM = "FROM publication p JOIN publication_standing s ON s.publication = p.number"


def _publication(row: Row) -> Publication:
    values = dict(zip(Publication.__slots__, row, strict=True))
    expected, stages = values["expected"], json.loads(values["stages"])
    values |= {
        "expected": SlideNumbers.model_validate(json.loads(expected)) if expected else None,
        "stages": tuple(Stage.model_validate(each) for each in stages),
        "limits": Limits.model_validate(json.loads(values["limits"])),
        "sites": frozenset(json.loads(values["sites"])),
        "kiosks": frozenset(json.loads(values["kiosks"])),
        "by_itself": bool(values["by_itself"]),
    }
    return Publication(**values)


async def publications(statements: Statements, *, staged: bool = False) -> list[Publication]:
    """All of them, the newest first. staged: those alone that are not halted."""
    where = " WHERE s.state = 'staged'" if staged else ""
    rows = await statements.rows(f"SELECT {_COLUMNS} {_FROM}{where} ORDER BY p.number DESC")
    return [_publication(row) for row in rows]


async def publication(statements: Statements, number: int) -> Publication:
    """One of them; LaboratoryError where there is none."""
    rows = await statements.rows(f"SELECT {_COLUMNS} {_FROM} WHERE p.number = $1", number)
    if not rows:
        raise LaboratoryError(
            f"there is no publication {number}; `edgehemo laboratory publications` shows them"
        )
    return _publication(rows[0])


async def keep_file(statements: Statements, sha256: str, content: bytes) -> None:
    """Keep a file's bytes, piece by piece; those that are there already stay."""
    for position in range(-(-len(content) // PIECE_BYTES)):
        piece = content[position * PIECE_BYTES : (position + 1) * PIECE_BYTES]
        await statements.do(
            "INSERT INTO publication_part (sha256, position, body) VALUES ($1, $2, $3) "
            "ON CONFLICT DO NOTHING",
            sha256, position, piece,
        )  # fmt: skip


async def part_of(statements: Statements, sha256: str, first: int, last: int) -> bytes:
    """A part of a file, both ends within. StorageError where a piece of it is missing."""
    rows = await statements.rows(
        "SELECT position, body FROM publication_part WHERE sha256 = $1 AND position >= $2 "
        "AND position <= $3 ORDER BY position",
        sha256, first // PIECE_BYTES, last // PIECE_BYTES,
    )  # fmt: skip
    data = b"".join(bytes(row[1]) for row in rows)
    begin = first - (first // PIECE_BYTES) * PIECE_BYTES
    part = data[begin : begin + last - first + 1]
    if len(part) != last - first + 1:
        raise StorageError("a piece of a published file is missing")
    return part


async def file_of(statements: Statements, kept: Publication) -> bytes:
    """A whole file, held against its digest."""
    pieces = [piece async for piece in _pieces(statements, kept)]
    content = b"".join(pieces)
    if hashlib.sha256(content).hexdigest() != kept.sha256:
        raise StorageError(f"the file of {kept.called} is damaged in the storage")
    return content


async def _pieces(statements: Statements, kept: Publication) -> AsyncIterator[bytes]:
    for first in range(0, kept.size, PIECE_BYTES):
        yield await part_of(statements, kept.sha256, first, min(first + PIECE_BYTES, kept.size) - 1)


async def faults_of_files(statements: Statements) -> list[str]:
    """What is wrong with the files, a phrase each."""
    found = []
    for each in await publications(statements):
        try:
            await file_of(statements, each)
        except StorageError as error:
            found.append(f"{each.called}: {error}")
    return found


def as_json(names: Sequence[str] | frozenset[str]) -> str:
    """Names as a column holds them."""
    return json.dumps(sorted(names))
