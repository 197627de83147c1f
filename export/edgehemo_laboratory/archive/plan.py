"""What is still to be read, as a query; and plans, which say once and for all what a batch holds.

Every item is in one plan only, for the next plan holds what no plan has, and plans are numbered:
of two runs that make the same one, one finds it made. A batch comes to one part, of a name that
follows from plan and batch, and parts are made once. So however often a batch is begun, by whom,
and in whatever order its parts come, every item has one row.

An item that was set aside is planned again where that is asked for; then the newest plan's row
counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from edgehemo_laboratory.archive import layout
from edgehemo_laboratory.archive.layout import Stage
from edgehemo_laboratory.archive.place import Archive
from edgehemo_laboratory.archive.queries import Queries, join_parts, queries
from edgehemo_laboratory.archive.tables import (
    FIELD_PLAN,
    PERSON_COLUMNS,
    SAMPLE_PLAN,
    Table,
    table_bytes,
)

# Items of one plan: as a table it must fit into memory.
MOST_PLANNED = 500_000
# Fields of one batch. What a killed worker loses is at most a batch; a part is one file.
BATCH_FIELDS = 128
# Batches of a row group of a plan: a run reads one at a time.
_BATCHES_A_GROUP = 64


@dataclass(frozen=True, slots=True)
class Work:
    """A plan that is not finished. missing: its batches that have no part."""

    stage: Stage
    plan: int
    batches: int
    missing: tuple[int, ...]


def next_work(
    archive: Archive,
    reading: str,
    stage: Stage,
    *,
    again_upto: int = 0,
    most: int = MOST_PLANNED,
    batch_fields: int = BATCH_FIELDS,
) -> Work | None:
    """What a run does next: the oldest plan that is not finished, else a new one; None where
    nothing is to be read. again_upto: items that were set aside in plans up to this number are
    planned anew.

    Of samples those are planned of which every field has its row.
    """
    while True:
        numbers = plan_numbers(archive, reading, stage)
        keys = archive.store.keys(layout.joined_of(reading, stage))
        joined = {layout.joined_number(key) for key in keys}
        for number in numbers:
            if number in joined:
                continue
            work = _unfinished(archive, reading, stage, number)
            if work is not None:
                return work
            join_parts(archive, reading, stage, number)
        with queries(archive, (reading, "")) as asked:
            table = _planned(asked, stage, again_upto, most, batch_fields)
        if not table.num_rows:
            return None
        number = max(numbers, default=0) + 1
        data = table_bytes(table, rows_a_group=_BATCHES_A_GROUP * batch_fields)
        # Where another run has made this one meanwhile, its plan counts.
        archive.store.put_new(layout.plan_key(reading, stage, number), data)


def plan_numbers(archive: Archive, reading: str, stage: Stage) -> list[int]:
    """The numbers of a stage's plans, in order."""
    keys = archive.store.keys(layout.plans_of(reading, stage))
    return sorted(number for key in keys if (number := layout.plan_number(key)) is not None)


def batches_of(
    archive: Archive, reading: str, work: Work
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """The missing batches of a plan with their rows, in order; few are in memory at once."""
    wanted = set(work.missing)
    key = layout.plan_key(reading, work.stage, work.plan)
    (file,) = archive.table_files([key])
    number, rows = -1, list[dict[str, Any]]()
    for piece in pq.ParquetFile(file).iter_batches():
        for row in piece.to_pylist():
            if row["batch"] != number:
                if number in wanted:
                    yield number, rows
                number, rows = row["batch"], []
            rows.append(row)
    if number in wanted:
        yield number, rows


def _unfinished(archive: Archive, reading: str, stage: Stage, plan: int) -> Work | None:
    (file,) = archive.table_files([layout.plan_key(reading, stage, plan)])
    opened = pq.ParquetFile(file)
    last = opened.read_row_group(opened.num_row_groups - 1, columns=["batch"])
    batches = last.column("batch")[-1].as_py() + 1
    missing = missing_batches(batches, parts_there(archive, reading, stage, plan))
    return Work(stage, plan, batches, missing) if missing else None


def missing_batches(batches: int, there: Collection[int]) -> tuple[int, ...]:
    """The batches of a plan that have no part; pure."""
    return tuple(number for number in range(batches) if number not in there)


def parts_there(archive: Archive, reading: str, stage: Stage, plan: int) -> set[int]:
    """The batches of a plan that have their part."""
    keys = archive.store.keys(layout.parts_of(reading, stage, plan))
    numbers = (layout.part_number(key) for key in keys)
    return {number[1] for number in numbers if number is not None}


def _planned(asked: Queries, stage: Stage, again_upto: int, most: int, batch_fields: int) -> Table:
    """The rows of the next plan, in its order."""
    items = "fields" if stage == "fields" else "samples"
    asked.do(
        f"CREATE OR REPLACE TEMP VIEW wanted AS SELECT * FROM {items} i WHERE NOT EXISTS "
        f"(SELECT 1 FROM {stage}_plan p WHERE p.item = i.item) OR EXISTS "
        f"(SELECT 1 FROM {stage}_rows r WHERE r.item = i.item AND r.status = 'set aside' "
        f"AND r.plan <= {again_upto})"
    )
    if stage == "fields":
        order = "site, kiosk, sample, position, field"
        return asked.table(
            f"SELECT ((row_number() OVER (ORDER BY {order}) - 1) // {batch_fields})::INTEGER AS "
            "batch, item, field, sha256, page, profile, um_per_px FROM wanted "
            f"ORDER BY {order} LIMIT {most}"
        ).cast(FIELD_PLAN)
    # A sample is of one batch. Batches are numbered without a gap, whatever sizes samples have.
    return asked.table(
        "WITH chosen AS (SELECT sample_key, item, fields, sum(fields) OVER (ORDER BY sample_key) "
        f"AS upto FROM wanted WHERE read = fields QUALIFY upto - fields < {most}) "
        f"SELECT (dense_rank() OVER (ORDER BY (c.upto - c.fields) // {batch_fields}) - 1)::INTEGER "
        "AS batch, c.item, f.sample_key, f.site, kiosk, f.sample, f.patient, (row_number() OVER "
        "(PARTITION BY f.sample_key ORDER BY position, name, field) - 1)::INTEGER AS place, "
        "f.item AS field_item, sha256, page, name, profile, um_per_px, simulated, "
        f"{', '.join(PERSON_COLUMNS)}, part_plan, part_batch "
        "FROM sample_fields f JOIN chosen c USING (sample_key) ORDER BY batch, sample_key, place"
    ).cast(SAMPLE_PLAN)
