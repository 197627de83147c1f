"""Each stage of reading an archive again, by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from archive_load.fields import arrivals, bases
from archive_load.runs import Said, timed
from edgehemo.bundle.bundle import load_bundle
from edgehemo_laboratory.archive import cluster, layout, parts
from edgehemo_laboratory.archive.apart import Reader, ReaderSetting
from edgehemo_laboratory.archive.equipment import begun_reading
from edgehemo_laboratory.archive.ingest import ingest
from edgehemo_laboratory.archive.parts import Job, read_batch
from edgehemo_laboratory.archive.place import open_archive
from edgehemo_laboratory.archive.plan import batches_of, next_work
from edgehemo_laboratory.archive.queries import join_parts, queries
from edgehemo_laboratory.archive.store import open_store
from edgehemo_laboratory.archive.tables import FIELD_ROWS, light, table_bytes, table_of
from tests.support.s3_server import s3_server

BATCH = 128
NOTHING_TASKS = 3000


def stages(work: Path, fields: int, said: Said) -> dict[str, Any]:
    """Milliseconds a field of what a field costs, and of what a batch costs."""
    found: dict[str, Any] = {"fields": fields}
    pictures = bases(work)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        archive = open_archive(folder, make=True)
        made = [each.load() for each in arrivals(pictures, range(fields))]
        found["bytes_a_field"] = round(sum(map(len, made)) / fields)
        come = [
            replace(each, load=partial(bytes, data))
            for each, data in zip(arrivals(pictures, range(fields)), made, strict=True)
        ]
        with timed(found, "ingest_ms", fields):
            ingest(archive, come)
        said("ingest is timed")
        bundle = load_bundle(None)
        file = begun_reading(archive, bundle)
        setting = ReaderSetting(folder, None, bundle.digest, (), 120.0, 2)
        reader = Reader(setting)
        with queries(archive) as asked:
            rows = asked.table(
                "SELECT field, sha256, page, profile, um_per_px FROM fields"
            ).to_pylist()
        reader.ask("field", rows[0])
        before_s = _cpu_s(reader)
        with timed(found, "reading_ms", fields):
            answers = [reader.ask("field", row) for row in rows]
        found["reading_cpu_ms"] = round(1000 * (_cpu_s(reader) - before_s) / fields, 1)
        found["reader_mb"] = round(reader.rss_bytes() / 1e6, 1)
        reader.close()
        said("reading is timed")
        table = [
            {**row, "item": at["field"], "field": at["field"], "reading": blob or None}
            for at, (row, blob) in zip(rows, answers, strict=True)
        ]
        full = (table * (1 + BATCH // len(table)))[:BATCH]
        with timed(found, "part_made_ms"):
            data = table_bytes(table_of(full, FIELD_ROWS))
        alone = table_bytes(table_of(table, FIELD_ROWS))  # what comes twice shrinks too well
        found["part_bytes_a_field"] = round(len(alone) / len(table))
        with timed(found, "part_put_ms", 10):
            for number in range(10):
                archive.store.put_new(f"test/{number}", data)
        job = Job(file.reading, setting)
        plan = next_work(archive, file.reading, "fields", batch_fields=BATCH)
        assert plan is not None
        for batch, planned in batches_of(archive, file.reading, plan):
            read_batch(job, "fields", plan.plan, batch, planned)
        samples = next_work(archive, file.reading, "samples", batch_fields=BATCH)
        assert samples is not None
        ((_, planned), *_) = list(batches_of(archive, file.reading, samples))
        before_s = _cpu_s(parts._KEPT.get(setting))
        with timed(found, "sample_ms", len(planned)):
            read_batch(job, "samples", samples.plan, 0, planned)
        after_s = _cpu_s(parts._KEPT.get(setting))
        found["sample_cpu_ms"] = round(1000 * (after_s - before_s) / len(planned), 1)
        assert archive.store.has(layout.part_key(file.reading, "samples", samples.plan, 0))
        said("samples are timed")
    found |= _s3(work, data)
    said("S3 is timed")
    found |= _nothing(rows[0])
    said("Dask is timed")
    return found


def _cpu_s(reader: Reader) -> float:
    """Processor time that a reader has used, seconds; 0 where it cannot be told."""
    child = reader._child
    if child is None:
        return 0.0
    text = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    ticks: int = int(text[11]) + int(text[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _s3(work: Path, part: bytes) -> dict[str, Any]:
    """Putting and getting a part and a picture, at moto's server on this machine."""
    found: dict[str, Any] = {}
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "test")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "test")
    picture = next(iter(arrivals(bases(work), range(1)))).load()
    with s3_server(work, "smears") as address:
        store = open_store(f"s3://smears/x?endpoint={address}&region=us-east-1")
        for name, data in (("part", part), ("picture", picture)):
            with timed(found, f"s3_put_{name}_ms", 20):
                for number in range(20):
                    store.put_new(f"{name}/{number}", data)
            with timed(found, f"s3_get_{name}_ms", 20):
                for number in range(20):
                    store.get(f"{name}/{number}")
    return found


def nothing(rows: Sequence[Any]) -> int:
    """A task without work."""
    return len(rows)


def _nothing(row: dict[str, Any]) -> dict[str, Any]:
    """How many tasks a second a scheduler with two workers takes, each with a batch's digests."""
    rows = [{**row, "item": row["field"]} for _ in range(BATCH)]
    with cluster.own_cluster(2) as client:
        client.gather([client.submit(nothing, rows, pure=False) for _ in range(20)])
        begun_s = time.perf_counter()
        left = NOTHING_TASKS
        while left:
            count = min(left, 200)
            client.gather([client.submit(nothing, rows, pure=False) for _ in range(count)])
            left -= count
        passed_s = time.perf_counter() - begun_s
    return {"tasks_a_s": round(NOTHING_TASKS / passed_s)}


_PLAN = """
import json, resource, sys, time
from edgehemo_laboratory.archive.place import open_archive
from edgehemo_laboratory.archive.plan import next_work
from edgehemo_laboratory.archive.queries import join_parts, queries
archive = open_archive(sys.argv[1])
begun_s = time.perf_counter()
with queries(archive, ("r-0.1.0", "")) as asked:
    (left,) = asked.one("SELECT count(*) FROM fields f ANTI JOIN fields_rows r ON r.item = f.item")
count_s = time.perf_counter() - begun_s
begun_s = time.perf_counter()
work = next_work(archive, "r-0.1.0", "fields")
plan_s = time.perf_counter() - begun_s
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
print(json.dumps({"left": left, "count_s": round(count_s, 2), "plan_s": round(plan_s, 2),
    "planned": 0 if work is None else work.batches, "peak_mb": round(peak)}))
"""


def plans(work: Path, sizes: Sequence[int], said: Said) -> list[dict[str, Any]]:
    """How long the plan takes over archives of such sizes of which a tenth is still to be read."""
    found = []
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=work) as folder:
            _catalogue(folder, size)
            done = subprocess.run(
                [sys.executable, "-c", _PLAN, folder], stdout=subprocess.PIPE, text=True, check=True
            )
            told = json.loads(done.stdout)
            files = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet"))
            found.append({"fields": size, "tables_mb": round(files / 1e6, 1), **told})
            said(f"a plan over {size} fields: {told}")
    return found


def _catalogue(folder: str, size: int) -> None:
    """An archive of so many fields, made by the query engine itself: catalogue, plans and joined
    parts as runs leave them, but for the readings, which no plan looks at.
    """
    import duckdb

    archive = open_archive(folder, make=True)
    connection = duckdb.connect(":memory:")
    connection.execute("SET preserve_insertion_order = true")
    read = size * 9 // 10
    top = Path(folder)
    for name in (
        "catalogue",
        "readings/r-0.1.0/fields/plans",
        "readings/r-0.1.0/fields/parts/000001",
    ):
        (top / name).mkdir(parents=True)
    connection.execute(
        f"CREATE TABLE f AS SELECT i, sha256(i::VARCHAR) AS d, i // 20 AS s FROM range({size}) t(i)"
    )
    said = (
        "d AS item, d AS field, d AS sha256, 0::INTEGER AS page, 500000::BIGINT AS bytes, "
        "'jpeg' AS format, 1600::INTEGER AS width, 1200::INTEGER AS height, "
        "'field_' || i || '.jpg' AS name, "
        "(i % 20)::INTEGER AS position, md5(s::VARCHAR) AS sample_key, 'site-' || s % 40 AS site, "
        "NULL::VARCHAR AS kiosk, 'S-' || s AS sample, NULL::VARCHAR AS patient, NULL::VARCHAR AS "
        "profile, NULL::DOUBLE AS um_per_px, '' AS licence, true AS simulated, NULL::DOUBLE AS "
        "age_years, NULL::VARCHAR AS sex, NULL::INTEGER AS pregnancy_trimester, NULL::DOUBLE AS "
        "altitude_m, NULL::BOOLEAN AS smoker, NULL::DOUBLE AS cigarettes_per_day, NULL::DOUBLE AS "
        "hgb_g_per_l, NULL::DOUBLE AS hct_l_per_l, NULL::DOUBLE AS rbc_1e12_per_l, '' AS origin, "
        "1::BIGINT AS at_s, 'x' AS ingest, NULL::VARCHAR AS error"
    )
    options = "(FORMAT parquet, COMPRESSION zstd)"
    for at in range(0, size, 1_000_000):
        connection.execute(
            f"COPY (SELECT {said} FROM f WHERE i >= {at} AND i < {at + 1_000_000}) TO "
            f"'{top}/catalogue/{at:09d}.parquet' {options}"
        )
    for plan, begin in enumerate(range(0, read, 500_000), start=1):
        end = min(read, begin + 500_000)
        connection.execute(
            f"COPY (SELECT ((i - {begin}) // {BATCH})::INTEGER AS batch, d AS item, d AS field, "
            "d AS sha256, 0::INTEGER AS page, NULL::VARCHAR AS profile, NULL::DOUBLE AS um_per_px "
            f"FROM f WHERE i >= {begin} AND i < {end} ORDER BY i) TO "
            f"'{top}/readings/r-0.1.0/fields/plans/{plan:06d}.parquet' {options}"
        )
        _rows(connection, top, plan, begin, end)
    connection.close()
    assert archive.store.has(layout.ARCHIVE)


def _rows(connection: Any, top: Path, plan: int, begin: int, end: int) -> None:
    """The rows of a plan: as parts where a run would not have joined them yet, else joined."""
    made = (
        f"d AS item, d AS field, {plan}::INTEGER AS plan, ((i - {begin}) // {BATCH})::INTEGER AS "
        "batch, 'read' AS status, 1::INTEGER AS tries"
    )
    known = {"item", "field", "plan", "batch", "status", "tries"}
    empty = ", ".join(
        f'NULL::{_SQL_TYPES[str(FIELD_ROWS.field(name).type)]} AS "{name}"'
        for name in light(FIELD_ROWS.names)
        if name not in known
    )
    place = top / "readings/r-0.1.0/fields/joined"
    place.mkdir(exist_ok=True)
    connection.execute(
        f"COPY (SELECT {made}, {empty} FROM f WHERE i >= {begin} AND i < {end} ORDER BY i) TO "
        f"'{place}/{plan:06d}.parquet' (FORMAT parquet, COMPRESSION zstd)"
    )


_SQL_TYPES = {
    "string": "VARCHAR", "int32": "INTEGER", "double": "DOUBLE", "bool": "BOOLEAN",
    "list<item: string>": "VARCHAR[]", "list<element: string>": "VARCHAR[]",
}  # fmt: skip


def joining(work: Path, parts_: int) -> dict[str, Any]:
    """How long a finished plan's parts take to be joined."""
    found: dict[str, Any] = {"parts": parts_}
    with tempfile.TemporaryDirectory(dir=work) as folder:
        archive = open_archive(folder, make=True)
        for batch in range(parts_):
            rows = [
                {"item": f"{batch}-{row}", "plan": 1, "batch": batch, "status": "read", "tries": 1}
                for row in range(BATCH)
            ]
            path = Path(folder) / layout.part_key("r-0.1.0", "fields", 1, batch)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(table_bytes(table_of(rows, FIELD_ROWS)))
        with timed(found, "joining_ms", parts_):
            join_parts(archive, "r-0.1.0", "fields", 1)
    return found
