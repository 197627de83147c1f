"""Rows that are inserted once, each vouched for by an entry of the chain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgehemo.records.audit import Action, digest_of
from edgehemo.records.store import Reader, Writer

# Table -> the columns that its rows' audit entries vouch for, in this order. A column that a later
# migration adds is not among them: what was hashed once stays as it was.
VOUCHED: Mapping[str, tuple[str, ...]] = {
    "review": (
        "result", "field", "cell", "kind", "model_type", "model_score", "verdict", "type", "by",
        "at",
    ),
    "paired": ("sample", "measurand", "value", "analyser", "by", "at"),
    "setting": ("name", "value", "by", "at"),
    "control": ("profile_made_at", "kind", "slide", "passed", "at", "content"),
    "control_taken_in": ("profile_made_at", "sha256", "records"),
}  # fmt: skip

# Table -> what its entries are called.
_ACTIONS: Mapping[str, Action] = {
    "review": "cell reviewed",
    "paired": "paired value entered",
    "setting": "setting changed",
    "control": "control recorded",
    "control_taken_in": "control history taken in",
}


def row_digest(table: str, row: Mapping[str, object]) -> str:
    """What the audit entry of a row vouches for."""
    return digest_of([table, *(row[name] for name in VOUCHED[table])])


def insert_vouched(
    writer: Writer,
    table: str,
    row: Mapping[str, object],
    subject: str = "",
    details: Mapping[str, Any] | None = None,
    *,
    by: str,
) -> int:
    """Insert a row and its audit entry together; returns the entry's number."""
    columns = VOUCHED[table]
    with writer.transaction() as connection:
        said = {**(details or {}), "row": row_digest(table, row)}
        entry = writer.entry(_ACTIONS[table], subject, said, by=by)
        places = ", ".join("?" for _ in columns)
        connection.execute(
            f"INSERT INTO {table} ({', '.join(columns)}, audit) VALUES ({places}, ?)",
            [*(row[name] for name in columns), entry.number],
        )
    return entry.number


def vouched_faults(reader: Reader) -> Iterator[str]:
    """Rows that are not what their audit entries vouch for, and rows that are gone."""
    for table, columns in VOUCHED.items():
        query = (
            f"SELECT t.audit, a.details ->> '$.row', {', '.join(f't.{name}' for name in columns)} "
            f"FROM {table} t LEFT JOIN audit a ON a.number = t.audit"
        )
        for number, vouched, *values in reader.rows(query):
            row = dict(zip(columns, values, strict=True))
            if vouched != row_digest(table, row):
                yield f"{table}: the row of audit entry {number} was changed"
        gone = reader.rows(
            "SELECT number FROM audit WHERE action = ? AND NOT EXISTS "
            f"(SELECT 1 FROM {table} WHERE audit = audit.number)",
            (_ACTIONS[table],),
        )
        for (number,) in gone:
            yield f"{table}: the row of audit entry {number} is not there any more"
