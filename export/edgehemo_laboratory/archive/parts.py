"""What a worker does: a batch is read, and comes to one part, whole or not at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyarrow as pa

from edgehemo_laboratory.archive import layout
from edgehemo_laboratory.archive.apart import Reader, ReaderSetting
from edgehemo_laboratory.archive.layout import Stage
from edgehemo_laboratory.archive.place import Archive, open_archive
from edgehemo_laboratory.archive.tables import (
    FIELD_ROWS,
    SAMPLE_PLAN,
    SAMPLE_ROWS,
    Row,
    read_table,
    table_bytes,
    table_of,
)
from edgehemo_laboratory.errors import StorageError

_OF_SAMPLE = pa.schema(
    [*SAMPLE_PLAN, ("status", pa.string()), ("error", pa.string()), ("reading", pa.binary())]
)
_LABELS = ("item", "sample_key", "site", "kiosk", "sample", "patient")


@dataclass(frozen=True, slots=True)
class Job:
    """What every batch of a run has in common; it travels to the workers. No key stands in it:
    S3's are in the workers' own environment.
    """

    reading: str
    reader: ReaderSetting


@dataclass(frozen=True, slots=True)
class BatchDone:
    """What became of a batch. new: whether this made its part, else another had. counts: of rows
    by their status. restarted: how often an item ended its reader. rss_bytes: the reader's memory.
    """

    stage: Stage
    plan: int
    batch: int
    new: bool
    counts: Mapping[str, int]
    restarted: int
    seconds: float
    rss_bytes: int


class _Kept(threading.local):
    """The reader of this thread of the worker, for as long as batches are of one run."""

    setting: ReaderSetting | None = None
    reader: Reader | None = None

    def get(self, setting: ReaderSetting) -> Reader:
        if self.reader is None or self.setting != setting:
            if self.reader is not None:
                self.reader.close()
            self.reader, self.setting = Reader(setting), setting
        return self.reader


_KEPT = _Kept()


def read_batch(job: Job, stage: Stage, plan: int, batch: int, rows: Sequence[Row]) -> BatchDone:
    """Read a batch and put its part.

    rows: of the plan. Raises StorageError where the archive cannot be reached or written, and
    `apart.ReaderBrokenError`; then there is no part, and the batch can be begun again.
    """
    begun_s = time.monotonic()
    archive = open_archive(job.reader.archive)
    key = layout.part_key(job.reading, stage, plan, batch)
    if archive.store.has(key):
        return BatchDone(stage, plan, batch, False, {}, 0, 0.0, 0)
    reader = _KEPT.get(job.reader)
    before = reader.restarted
    place = {"plan": plan, "batch": batch}
    if stage == "fields":
        found = [_field(reader, row) | place for row in rows]
        data = table_bytes(table_of(found, FIELD_ROWS))
    else:
        found = [sample | place for sample in _samples(archive, job.reading, reader, rows)]
        data = table_bytes(table_of(found, SAMPLE_ROWS))
    new = archive.store.put_new(key, data)
    counts: dict[str, int] = {}
    for each in found:
        counts[each["status"]] = counts.get(each["status"], 0) + 1
    return BatchDone(
        stage=stage,
        plan=plan,
        batch=batch,
        new=new,
        counts=counts,
        restarted=reader.restarted - before,
        seconds=time.monotonic() - begun_s,
        rss_bytes=reader.rss_bytes(),
    )


def _field(reader: Reader, row: Row) -> dict[str, Any]:
    asked = {key: row[key] for key in ("field", "sha256", "page", "profile", "um_per_px")}
    found, blob = reader.ask("field", asked)
    return {**found, "item": row["item"], "field": row["field"], "reading": blob or None}


def _samples(
    archive: Archive, reading: str, reader: Reader, rows: Sequence[Row]
) -> list[dict[str, Any]]:
    """The samples of a batch, each from its fields' parts."""
    read = _readings(archive, reading, rows)
    found = []
    for _, group in groupby(rows, key=lambda row: row["item"]):
        fields = [{**row, **read[row["field_item"]]} for row in group]
        sink = pa.BufferOutputStream()
        table = table_of(fields, _OF_SAMPLE)
        with pa.ipc.new_stream(sink, _OF_SAMPLE) as writer:
            writer.write_table(table)
        row, blob = reader.ask("sample", {}, sink.getvalue().to_pybytes())
        labels = {key: fields[0][key] for key in _LABELS}
        found.append({**row, **labels, "record": blob or None})
    return found


def _readings(archive: Archive, reading: str, rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """What was read of each field of a batch, each part of the archive opened once."""
    wanted = {row["field_item"] for row in rows}
    found: dict[str, dict[str, Any]] = {}
    for plan, batch in sorted({(row["part_plan"], row["part_batch"]) for row in rows}):
        key = layout.part_key(reading, "fields", plan, batch)
        data = archive.store.get(key)
        if data is None:
            raise StorageError(f"{archive.about}: {key} is gone")
        table = read_table(data, ["item", "status", "error_kind", "error", "reading"])
        for each in table.to_pylist():
            if each["item"] in wanted:
                kind = each.pop("error_kind")
                if kind is not None:
                    each["error"] = f"set aside, {kind}: {each['error']}"
                found[each.pop("item")] = each
    if lost := wanted - set(found):
        raise StorageError(f"{archive.about}: the reading of {min(lost)} is gone")
    return found
