"""Walks the chain, the rows and the contents, and says what does not hold together."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edgehemo.errors import RecordsError
from edgehemo.records.audit import SHOWN_DIGITS, chain_faults, entries
from edgehemo.records.results import (
    FIELD_COLUMNS,
    RESULT_COLUMNS,
    VERSION_COLUMNS,
    result_digest,
    version_digest,
)
from edgehemo.records.rows import vouched_faults
from edgehemo.records.store import Reader
from edgehemo.records.versions import ACTIONS

# Called with how many contents were looked at, and how many there are.
OnContent = Callable[[int, int], None]
_HEAD = re.compile(rf"(?:chain )?(\d{{1,18}})-([0-9a-f]{{{SHOWN_DIGITS}}})")
# What the chain calls a new version.
_OF_VERSIONS = frozenset({"result recorded", *ACTIONS.values()})
# More faults than anyone reads; the count says how many there are.
SHOWN = 200


@dataclass(frozen=True, slots=True)
class Verified:
    """What was looked at, and every fault in a phrase. contents: that are there and what their
    names say; purged: deleted by the retention policy.
    """

    entries: int
    results: int
    versions: int
    contents: int
    purged: int
    faults: tuple[str, ...]

    @property
    def whole(self) -> bool:
        return not self.faults


def verify(
    reader: Reader, *, contents: bool = True, on_content: OnContent | None = None
) -> Verified:
    """Look at everything. contents: False only looks whether they are there, not what is in them.

    Reads in one transaction, so that what another process stores meanwhile does not matter.
    """
    connection = reader.connection
    connection.execute("BEGIN")
    try:
        faults = list(_database_faults(reader))
        faults += chain_faults(entries(connection))
        faults += _row_faults(reader)
        faults += vouched_faults(reader)
        looked_at, purged, wrong = _contents(reader, contents, on_content)
        faults += wrong
        number = {
            table: int(reader.rows(f"SELECT count(*) FROM {table}")[0][0])
            for table in ("audit", "result", "version")
        }
    finally:
        connection.execute("COMMIT")
    return Verified(
        entries=number["audit"],
        results=number["result"],
        versions=number["version"],
        contents=looked_at,
        purged=purged,
        faults=tuple(faults),
    )


def head_fault(reader: Reader, printed: str) -> str | None:
    """Why the chain is not the one of a printed head (``12-229286799f972d20``); None where it is.

    RecordsError for what is no head.
    """
    match = _HEAD.fullmatch(printed.strip().lower())
    if match is None:
        raise RecordsError(
            f"{printed[:40]!r} is no head of a chain; reports and exports print it as "
            "12-229286799f972d20"
        )
    number, digits = int(match[1]), match[2]
    found = reader.rows("SELECT hash FROM audit WHERE number = ?", (number,))
    if not found:
        return f"the chain has no entry {number}, and something left the device that names it"
    if not found[0][0].startswith(digits):
        return (
            f"entry {number} of the chain begins with {found[0][0][: len(digits)]}, on what left "
            f"the device it began with {digits}: this is another chain, or one made anew"
        )
    return None


def _database_faults(reader: Reader) -> Iterator[str]:
    for (said,) in reader.rows("PRAGMA integrity_check(20)"):
        if said != "ok":
            yield f"the database: {' '.join(str(said).split())}"
    if reader.rows("PRAGMA foreign_key_check"):
        yield "the database: a row names another that is not there"


def _row_faults(reader: Reader) -> Iterator[str]:
    """Results and versions that are not what their audit entries vouch for, read row by row."""
    connection = reader.connection
    results = connection.execute(
        f"SELECT r.number, a.action, a.subject, a.details, {_named('r', RESULT_COLUMNS)} "
        "FROM result r LEFT JOIN audit a ON a.number = r.audit ORDER BY r.number"
    )
    for number, action, subject, details, *values in results:
        row = dict(zip(RESULT_COLUMNS, values, strict=True))
        fields = [
            dict(zip(FIELD_COLUMNS, field, strict=True))
            for field in connection.execute(
                f"SELECT {', '.join(FIELD_COLUMNS)} FROM result_field WHERE result = ? "
                "ORDER BY position",
                (number,),
            )
        ]
        if (action, subject) != ("result recorded", row["id"]):
            yield f"result {row['id']}: no audit entry says that it was recorded"
        elif json.loads(details).get("row") != result_digest(row, fields):
            yield f"result {row['id']} was changed since it was recorded"
    yield from _version_faults(reader)
    stale = connection.execute(
        "SELECT r.id FROM result r LEFT JOIN latest l ON l.result = r.number "
        "LEFT JOIN version v ON v.result = r.number AND v.version = "
        "(SELECT max(version) FROM version WHERE result = r.number) "
        "WHERE l.version IS NOT v.version OR l.state IS NOT v.state OR l.sample IS NOT v.sample"
    )
    for (identifier,) in stale:
        yield f"result {identifier}: the list does not show its latest version"


def _version_faults(reader: Reader) -> Iterator[str]:
    connection = reader.connection
    versions = connection.execute(
        f"SELECT r.id, a.subject, a.details, {_named('v', VERSION_COLUMNS)} "
        "FROM version v JOIN result r ON r.number = v.result "
        "LEFT JOIN audit a ON a.number = v.audit ORDER BY v.result, v.version"
    )
    for identifier, subject, details, *values in versions:
        row = dict(zip(VERSION_COLUMNS, values, strict=True))
        said = json.loads(details) if subject == identifier else {}
        if said.get("version_row" if row["version"] == 1 else "row") != version_digest(row):
            yield f"result {identifier}: version {row['version']} was changed since it was made"
    places = ", ".join("?" for _ in _OF_VERSIONS)
    gone = connection.execute(
        f"SELECT subject, details FROM audit WHERE action IN ({places}) "
        "AND number NOT IN (SELECT audit FROM version)",
        sorted(_OF_VERSIONS),
    )
    for subject, details in gone:
        yield f"result {subject}: version {json.loads(details)['version']} is not there any more"


def _named(table: str, columns: tuple[str, ...]) -> str:
    return ", ".join(f"{table}.{name}" for name in columns)


def _contents(
    reader: Reader, look_inside: bool, on_content: OnContent | None
) -> tuple[int, int, list[str]]:
    """How many contents are right, how many were purged, and what is wrong with the rest."""
    faults = []
    right = purged = 0
    rows = reader.rows("SELECT sha256, kind, bytes, purged_at FROM content ORDER BY sha256")
    for number, (sha256, kind, size, gone) in enumerate(rows, start=1):
        if on_content is not None:
            on_content(number, len(rows))
        if gone is not None:
            purged += 1
            continue
        place = reader.contents.place(sha256)
        if not place.is_file():
            faults.append(f"the {kind} {sha256[:16]} is not there")
        elif place.stat().st_size != size or (
            look_inside and not reader.contents.is_intact(sha256)
        ):
            faults.append(f"the {kind} {sha256[:16]} was changed or is damaged")
        else:
            right += 1
    return right, purged, faults
