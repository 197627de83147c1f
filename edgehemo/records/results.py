"""Results as the store holds them, found and listed. See `versions` for how one changes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from edgehemo.anaemia.who_grade import Person
from edgehemo.errors import RecordsError
from edgehemo.records.audit import canonical, digest_of
from edgehemo.records.circumstances import Circumstances, circumstances_of, person_of
from edgehemo.records.clock import ClockState
from edgehemo.records.identifiers import SampleFrom, written
from edgehemo.records.pictures import KeptPicture, PictureForm, frame_of
from edgehemo.records.reading_document import ReadingDocument, unpacked
from edgehemo.records.store import Reader

State = Literal["unsigned", "signed", "corrected", "held", "withdrawn"]
Change = Literal["recorded", "signed", "corrected", "held", "released", "withdrawn"]
Outcome = Literal["reported", "withheld"]
# The columns of a result and of its fields that its audit entry vouches for, in this order.
RESULT_COLUMNS = (
    "id", "sample", "sample_from", "site", "operator", "device", "made_at", "made_at_s", "clock",
    "simulated", "outcome", "hgb_g_per_l", "grade", "accepted", "examined", "person",
    "circumstances", "bundle_sha256", "profile_sha256", "profile_made_at", "software_version",
    "reading_sha256",
)  # fmt: skip
FIELD_COLUMNS = (
    "position", "source", "sha256", "form", "page", "taken_at", "metadata", "error",
)  # fmt: skip
VERSION_COLUMNS = (
    "result", "version", "state", "change", "sample", "amendments", "by", "at", "clock", "reason",
)  # fmt: skip
# A page of a list, unless the caller says otherwise.
PAGE = 50


@dataclass(frozen=True, slots=True)
class Listed:
    """One row of a list. number: counts the results of this store. sample: as it is called now,
    corrections included. version, state: the ones that count.
    """

    number: int
    id: str
    sample: str
    site: str | None
    operator: str | None
    made_at: str
    clock: ClockState
    simulated: bool
    outcome: Outcome
    hgb_g_per_l: float | None
    grade: str | None
    version: int
    state: State


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a result. sample: its number in this version. amendments: all that a person
    set in the place of what was measured, as it holds in this version.
    """

    version: int
    state: State
    change: Change
    sample: str
    amendments: dict[str, Any]
    by: str
    at: str
    clock: ClockState
    reason: str
    audit: int


@dataclass(frozen=True, slots=True)
class StoredField:
    """One image of a result. sha256: of its picture, None where there was nothing to be read."""

    position: int
    source: str
    sha256: str | None
    form: PictureForm | None
    page: int
    taken_at: str | None
    metadata: dict[str, Any]
    error: str | None

    def frame(self, reader: Reader) -> Any:
        """The frame as it was screened. RecordsError where its picture is gone."""
        if self.sha256 is None or self.form is None:
            raise RecordsError(f"{self.source}: there is no picture of it")
        return frame_of(
            KeptPicture(reader.contents.read(self.sha256), self.form, self.page),
            self.source,
            taken_at=None if self.taken_at is None else datetime.fromisoformat(self.taken_at),
            metadata=self.metadata,
        )


@dataclass(frozen=True, slots=True)
class StoredResult:
    """One result whole: what was measured, which never changes, and its versions."""

    number: int
    id: str
    sample: str
    sample_from: SampleFrom
    site: str | None
    operator: str | None
    device: str
    made_at: str
    clock: ClockState
    simulated: bool
    outcome: Outcome
    hgb_g_per_l: float | None
    grade: str | None
    accepted: int
    examined: int
    person: Person | None
    circumstances: Circumstances
    bundle_sha256: str
    profile_sha256: str | None
    profile_made_at: str | None
    software_version: str
    reading_sha256: str
    audit: int
    fields: tuple[StoredField, ...] = field(repr=False)
    versions: tuple[Version, ...] = field(repr=False)

    @property
    def latest(self) -> Version:
        """The version that counts."""
        return self.versions[-1]

    @property
    def sample_now(self) -> str:
        """The sample's number, a correction included."""
        return self.latest.sample

    def document(self, reader: Reader) -> ReadingDocument:
        """What was read of its images. RecordsError where it is gone or damaged."""
        return unpacked(reader.contents.read(self.reading_sha256))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a list is asked for; None leaves a condition out. since, until: dates of the result,
    the second is not among them. sample: its number as it is now.
    """

    since: datetime | None = None
    until: datetime | None = None
    sample: str | None = None
    state: State | None = None


_LISTED = (
    "SELECT r.number, r.id, l.sample, r.site, r.operator, r.made_at, r.clock, r.simulated, "
    "r.outcome, r.hgb_g_per_l, r.grade, l.version, l.state "
    "FROM latest l JOIN result r ON r.number = l.result"
)


def listed(
    reader: Reader, wanted: Wanted | None = None, *, limit: int = PAGE, before: int | None = None
) -> list[Listed]:
    """A page of the list, newest first. before: the number of the last one of the page before."""
    where, values = _conditions(wanted or Wanted())
    if before is not None:
        where.append("l.result < ?")
        values.append(before)
    query = f"{_LISTED}{_where(where)} ORDER BY l.result DESC LIMIT ?"
    return [
        Listed(**{**dict(zip(Listed.__slots__, row, strict=True)), "simulated": bool(row[7])})
        for row in reader.rows(query, [*values, limit])
    ]


def count(reader: Reader, wanted: Wanted | None = None) -> int:
    """How many results there are of what is wanted."""
    where, values = _conditions(wanted or Wanted())
    query = f"SELECT count(*) FROM latest l JOIN result r ON r.number = l.result{_where(where)}"
    return int(reader.rows(query, values)[0][0])


def _conditions(wanted: Wanted) -> tuple[list[str], list[object]]:
    where: list[str] = []
    values: list[object] = []
    for condition, value in (
        ("r.made_at_s >= ?", None if wanted.since is None else int(wanted.since.timestamp())),
        ("r.made_at_s < ?", None if wanted.until is None else int(wanted.until.timestamp())),
        ("l.sample = ?", wanted.sample),
        ("l.state = ?", wanted.state),
    ):
        if value is not None:
            where.append(condition)
            values.append(value)
    return where, values


def _where(conditions: list[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def number_of(reader: Reader, identifier: str) -> int:
    """The number of the result that an identifier, or the beginning of one, names.

    RecordsError where there is none or where several begin so.
    """
    name = written(identifier)
    found = reader.rows(
        "SELECT number, id FROM result WHERE id >= ? AND id < ? ORDER BY id LIMIT 3",
        (name, name + "~"),
    )
    if not found:
        raise RecordsError(f"no result is called {name}; `edgehemo records list` shows them")
    if len(found) > 1:
        both = ", ".join(row[1] for row in found)
        raise RecordsError(f"{name} begins the identifiers of several results: {both}")
    return int(found[0][0])


def result_of(reader: Reader, identifier: str) -> StoredResult:
    """One result; see `number_of` for how it may be named."""
    return result_at(reader, number_of(reader, identifier))


def result_at(reader: Reader, number: int) -> StoredResult:
    """The result of a number of this store."""
    found = reader.rows(
        f"SELECT {', '.join(RESULT_COLUMNS)}, audit FROM result WHERE number = ?", (number,)
    )
    if not found:
        raise RecordsError(f"there is no result of number {number}")
    values: dict[str, Any] = dict(zip((*RESULT_COLUMNS, "audit"), found[0], strict=True))
    del values["made_at_s"]
    return StoredResult(
        number=number,
        **{
            **values,
            "simulated": bool(values["simulated"]),
            "person": person_of(values["person"]),
            "circumstances": circumstances_of(values["circumstances"]),
        },
        fields=fields_of(reader, number),
        versions=versions_of(reader, number),
    )


def fields_of(reader: Reader, number: int) -> tuple[StoredField, ...]:
    """The images of a result, in the order they were taken."""
    rows = reader.rows(
        f"SELECT {', '.join(FIELD_COLUMNS)} FROM result_field WHERE result = ? ORDER BY position",
        (number,),
    )
    return tuple(
        StoredField(**{**_named(FIELD_COLUMNS, row), "metadata": json.loads(row[6])})
        for row in rows
    )


def _named(columns: tuple[str, ...], row: Iterable[Any]) -> dict[str, Any]:
    return dict(zip(columns, row, strict=True))


def versions_of(reader: Reader, number: int) -> tuple[Version, ...]:
    """The versions of a result, oldest first."""
    columns = (*VERSION_COLUMNS[1:], "audit")
    rows = reader.rows(
        f"SELECT {', '.join(columns)} FROM version WHERE result = ? ORDER BY version", (number,)
    )
    return tuple(
        Version(**{**_named(columns, row), "amendments": json.loads(row[4])}) for row in rows
    )


def inserted(connection: sqlite3.Connection, table: str, values: Mapping[str, object]) -> None:
    """Insert a row; table and columns are ours, never a user's."""
    places = ", ".join("?" for _ in values)
    connection.execute(
        f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places})", list(values.values())
    )


def result_digest(row: Mapping[str, object], fields: Sequence[Mapping[str, object]]) -> str:
    """What the audit entry of a result vouches for: its row and its fields'."""
    return digest_of(
        [
            [row[name] for name in RESULT_COLUMNS],
            [[entry[name] for name in FIELD_COLUMNS] for entry in fields],
        ]
    )


def version_digest(row: Mapping[str, object]) -> str:
    """What the audit entry of a version vouches for."""
    return digest_of([row[name] for name in VERSION_COLUMNS])


def json_text(value: object) -> str:
    """JSON values as a column holds them."""
    return canonical(value)
