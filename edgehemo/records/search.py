"""Stored results as a person looks for them: by what the result says now, corrections included."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from edgehemo.records.controls import MARKED, UNANSWERED
from edgehemo.records.results import Listed, State
from edgehemo.records.store import Reader

# What a result says of anaemia: the grade in force, that it was withheld, or that there is none.
SaidGrade = Literal["none", "mild", "moderate", "severe", "withheld", "ungraded"]
SAID_GRADES: tuple[SaidGrade, ...] = get_args(SaidGrade)
# to_sign: nobody answers for it yet. held: a person holds it, or a failed control marks it and
# nobody has answered for it since.
Pile = Literal["all", "to_sign", "held"]
PILES: tuple[Pile, ...] = get_args(Pile)


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for; None and empty leave a condition out. number: a part of the sample's
    number. since, until: dates of the result, the second is not among them. overridden: only those
    whose grade a person set or took away.
    """

    pile: Pile = "all"
    number: str = ""
    operator: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    grade: SaidGrade | None = None
    state: State | None = None
    overridden: bool = False

    @property
    def narrows(self) -> bool:
        """Whether it asks for more than its pile."""
        return self != Search(pile=self.pile)


@dataclass(frozen=True, slots=True)
class Found:
    """One result. said: what it says now. overridden: whether a person set that. marked: whether a
    control failed after it. reading_sha256: of the document with its numbers.
    """

    listed: Listed
    said: SaidGrade
    overridden: bool
    marked: bool
    reading_sha256: str


_OVERRIDDEN = "json_type(v.amendments, '$.override') IS NOT NULL"
_SAID = (
    f"CASE WHEN {_OVERRIDDEN} THEN coalesce(v.amendments ->> '$.override.grade', 'ungraded') "
    "WHEN r.outcome = 'withheld' THEN 'withheld' ELSE coalesce(r.grade, 'ungraded') END"
)
_PILES = {
    "all": "1",
    "to_sign": "l.state = 'unsigned'",
    "held": f"l.state = 'held' OR {UNANSWERED}",
}
_FROM = (
    "FROM latest l JOIN result r ON r.number = l.result "
    "JOIN version v ON v.result = l.result AND v.version = l.version"
)


def search(reader: Reader, wanted: Search, *, limit: int, offset: int = 0) -> list[Found]:
    """A page of what is found, newest first."""
    where, values = _conditions(wanted)
    query = (
        "SELECT r.number, r.id, l.sample, r.site, r.operator, r.made_at, r.clock, r.simulated, "
        f"r.outcome, r.hgb_g_per_l, r.grade, l.version, l.state, {_SAID}, {_OVERRIDDEN}, {MARKED}, "
        f"r.reading_sha256 {_FROM} WHERE {where} ORDER BY l.result DESC LIMIT ? OFFSET ?"
    )
    found = []
    for row in reader.rows(query, [*values, limit, offset]):
        *columns, said, overridden, marked, reading = row
        listed = dict(zip(Listed.__slots__, columns, strict=True))
        listed["simulated"] = bool(listed["simulated"])
        found.append(Found(Listed(**listed), said, bool(overridden), bool(marked), reading))
    return found


def found_count(reader: Reader, wanted: Search) -> int:
    """How many results there are of what is looked for."""
    where, values = _conditions(wanted)
    return int(reader.rows(f"SELECT count(*) {_FROM} WHERE {where}", values)[0][0])


def operators(reader: Reader) -> list[str]:
    """Everybody who took a stored sample, by name."""
    rows = reader.rows(
        "SELECT DISTINCT operator FROM result WHERE operator IS NOT NULL ORDER BY operator"
    )
    return [row[0] for row in rows]


def _conditions(wanted: Search) -> tuple[str, list[object]]:
    where = [f"({_PILES[wanted.pile]})"]
    values: list[object] = []
    for condition, value in (
        ("instr(lower(l.sample), lower(?)) > 0", wanted.number.strip() or None),
        ("r.operator = ?", wanted.operator),
        ("r.made_at_s >= ?", None if wanted.since is None else int(wanted.since.timestamp())),
        ("r.made_at_s < ?", None if wanted.until is None else int(wanted.until.timestamp())),
        (f"{_SAID} = ?", wanted.grade),
        ("l.state = ?", wanted.state),
    ):
        if value is not None:
            where.append(condition)
            values.append(value)
    if wanted.overridden:
        where.append(_OVERRIDDEN)
    return " AND ".join(where), values
