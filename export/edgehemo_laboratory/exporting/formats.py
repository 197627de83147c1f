"""The formats of an export: one table, by which commands, pages and documentation go."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from edgehemo.errors import MissingDependencyError
from edgehemo.files.atomic import written_atomically
from edgehemo.interop.fhir import fhir_bundle
from edgehemo.interop.lab_result import LabResult, sent_lab_result
from edgehemo_laboratory.chain import note
from edgehemo_laboratory.exporting.rows import (
    COLUMNS,
    NUMBER,
    TEXT,
    WHOLE,
    Asked,
    Cell,
    exported,
    pages,
)
from edgehemo_laboratory.intake.contents import unpacked
from edgehemo_laboratory.storage.interface import Row, Statements, Storage

# What a spreadsheet takes for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Written:
    """What an export came to. left_out: results that the format cannot say, since they lack what
    it needs.
    """

    results: int
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Format:
    """One format. ending: of its file. write: results into an open file."""

    name: str
    about: str
    ending: str
    media_type: str
    write: Callable[[Statements, Asked, IO[bytes], Advance], Awaitable[Written]]


async def write_export(
    storage: Storage,
    kind: Format,
    asked: Asked,
    out: Path,
    *,
    by: str,
    advance: Advance = lambda _: None,
) -> Written:
    """Write an export, whole or not at all, and note it in the chain before anybody has it."""
    with written_atomically(out, private=True) as file:
        done = await kind.write(storage, asked, file, advance)
        details = {
            "format": kind.name, "results": done.results, "names": asked.names,
            "withdrawn": asked.withdrawn, "chosen": asked.chosen.query(),
        }  # fmt: skip
        await storage.change(lambda change: note(change, "results exported", "", details, by=by))
    return done


async def _csv(statements: Statements, asked: Asked, file: IO[bytes], advance: Advance) -> Written:
    """UTF-8 with a decimal point; an empty cell is a value that was not given."""
    file.write((",".join(COLUMNS) + "\r\n").encode())
    count = 0
    async for rows in exported(statements, asked):
        file.write(await asyncio.to_thread(_lines, rows))
        count += len(rows)
        advance(len(rows))
    return Written(count)


def _lines(rows: list[dict[str, Cell]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerows([_cell(row[name]) for name in COLUMNS] for row in rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


def _cell(value: Cell) -> Cell:
    """A value that a spreadsheet shows and does not compute."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


async def _parquet(
    statements: Statements, asked: Asked, file: IO[bytes], advance: Advance
) -> Written:
    """A row group for every few thousand results, zstd."""
    try:
        import pyarrow as arrow  # noqa: PLC0415 - only who writes Parquet needs it
        import pyarrow.parquet as parquet  # noqa: PLC0415
    except ModuleNotFoundError:
        raise MissingDependencyError(
            'Parquet needs pyarrow, which is not installed: pip install ".[laboratory]" in the '
            "folder of the source"
        ) from None
    kinds = {TEXT: arrow.string(), WHOLE: arrow.int64(), NUMBER: arrow.float64()}
    schema = arrow.schema(
        [(name, kinds.get(kind, arrow.bool_())) for name, kind in COLUMNS.items()]
    )
    count = 0
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        async for rows in exported(statements, asked):
            table: Any = arrow.Table.from_pylist(rows, schema=schema)
            await asyncio.to_thread(writer.write_table, table)
            count += len(rows)
            advance(len(rows))
    return Written(count)


async def _fhir(statements: Statements, asked: Asked, file: IO[bytes], advance: Advance) -> Written:
    """A line a result: its FHIR R4 transaction, as the kiosk itself would make it."""
    read = "r.counted_day, r.store, r.made_at, r.result_id, r.identified, v.body"
    joined = "JOIN version v ON v.identity = r.identity"
    count = left_out = 0
    async for rows in pages(statements, asked, read, joined):
        lines = await asyncio.to_thread(_bundles, rows, asked)
        file.write(b"".join(lines))
        count += len(lines)
        left_out += len(rows) - len(lines)
        advance(len(rows))
    return Written(count, left_out)


def _bundles(rows: list[Row], asked: Asked) -> list[bytes]:
    lines = []
    for *_place, identified, body in rows:
        try:
            told = sent_lab_result(json.loads(unpacked(bytes(body))))
        except (KeyError, TypeError, ValueError):
            continue
        hidden = bool(identified) and not asked.names
        lines.append(fhir_bundle(_without_names(told) if hidden else told) + b"\n")
    return lines


def _without_names(told: LabResult) -> LabResult:
    """A result without whose it is; its own identifier stands for the sample."""
    return replace(
        told,
        sample=told.id,
        site=None,
        operator=None,
        device="kiosk",
        made_at=told.made_at[:7],
        changed_at=told.changed_at[:7],
        signed_by=None,
        comment=None,
        why_changed="",
    )


FORMATS: Mapping[str, Format] = {
    each.name: each
    for each in (
        Format("csv", "a table, UTF-8", ".csv", "text/csv; charset=utf-8", _csv),
        Format(
            "parquet", "a table of columns", ".parquet", "application/vnd.apache.parquet", _parquet
        ),
        Format(
            "fhir",
            "a line a result: its FHIR R4 transaction",
            ".fhir.ndjson",
            "application/x-ndjson",
            _fhir,
        ),
    )
}
