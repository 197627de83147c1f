"""Whatever happens to runs, and however often a batch is begun: every field has one row."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edgehemo_laboratory.archive import layout
from edgehemo_laboratory.archive.layout import STAGES, Stage
from edgehemo_laboratory.archive.place import Archive, open_archive
from edgehemo_laboratory.archive.plan import (
    Work,
    batches_of,
    missing_batches,
    next_work,
    plan_numbers,
)
from edgehemo_laboratory.archive.queries import queries
from edgehemo_laboratory.archive.tables import (
    CATALOGUE,
    FIELD_ROWS,
    SAMPLE_ROWS,
    table_bytes,
    table_of,
)

READING = "abc-0.1.0"
BATCH_FIELDS = 3


def catalogued(archive: Archive, number: int, fields: list[int], *, update: bool = False) -> None:
    """An ingest of fields, three a sample; update: with another profile."""
    rows = []
    for each in fields:
        digest = hashlib.sha256(str(each).encode()).hexdigest()
        profile = "ff" * 32 if update else None
        rows.append(
            {
                "item": digest + ("@new" if update else ""), "field": digest, "sha256": digest,
                "page": 0, "bytes": 1, "name": f"{each}.png", "position": each % 3,
                "sample_key": f"k{each // 3:03d}", "site": "north", "sample": f"S{each // 3}",
                "profile": profile, "at_s": number, "ingest": f"{number:06d}", "simulated": True,
            }
        )  # fmt: skip
    data = table_bytes(table_of(rows, CATALOGUE))
    archive.store.put_new(f"{layout.CATALOGUE}{number:06d}.parquet", data)


def written(
    archive: Archive, work: Work, batch: int, rows: list[dict[str, Any]], aside: int
) -> None:
    """A worker writes the part of a batch; aside: fields whose number this divides are set aside
    (0: none).
    """
    found = []
    for item in dict.fromkeys(row["item"] for row in rows):
        first = next(row for row in rows if row["item"] == item)
        bad = bool(aside) and work.stage == "fields" and int(item[:6], 16) % aside == 0
        found.append(
            {
                "item": item, "plan": work.plan, "batch": batch,
                "status": "set aside" if bad else "read", "error_kind": "crash" if bad else None,
                "field": first.get("field"), "sample_key": first.get("sample_key"), "tries": 1,
            }
        )  # fmt: skip
    schema = FIELD_ROWS if work.stage == "fields" else SAMPLE_ROWS
    data = table_bytes(
        table_of([{k: v for k, v in row.items() if k in schema.names} for row in found], schema)
    )
    key = layout.part_key(READING, work.stage, work.plan, batch)
    archive.store.put_new(key, data)


def counted(archive: Archive) -> dict[str, tuple[Any, ...]]:
    with queries(archive, (READING, "")) as asked:
        return {
            "fields": asked.one("SELECT count(*), count(DISTINCT item) FROM fields"),
            "rows": asked.one(
                "SELECT count(*), count(DISTINCT item) FROM fields_parts SEMI JOIN fields "
                "USING (item)"
            ),
            "samples": asked.one("SELECT count(*) FROM samples"),
            "sample rows": asked.one("SELECT count(*), count(DISTINCT item) FROM samples_now"),
        }


def finish(archive: Archive) -> None:
    """A run that nothing disturbs."""
    for stage in STAGES:
        while work := next_work(archive, READING, stage, batch_fields=BATCH_FIELDS):
            for batch, rows in batches_of(archive, READING, work):
                written(archive, work, batch, rows, 0)


# What happens: fields come; a run (of two, that know nothing of each other) plans; a worker of one
# of them writes a batch that was handed out, perhaps long ago and perhaps again; all is killed, so
# that what was handed out is forgotten by the run, and perhaps still written by a worker.
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("ingest"), st.integers(0, 20), st.integers(1, 8)),
        st.tuples(st.just("update"), st.integers(0, 20), st.integers(1, 3)),
        st.tuples(st.just("plan"), st.sampled_from(STAGES), st.just(0)),
        st.tuples(st.just("write"), st.integers(0, 1000), st.just(0)),
        st.tuples(st.just("kill"), st.just(0), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=30, deadline=None)
@given(events=EVENTS)
def test_every_field_has_one_row_whatever_happens(events: list[tuple[str, Any, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive = open_archive(folder, make=True)
        handed: list[tuple[Work, int, list[dict[str, Any]]]] = []
        for number, (what, value, count) in enumerate([("ingest", 0, 4), *events], start=1):
            if what in ("ingest", "update"):
                fields = list(range(value, value + count))
                catalogued(archive, number, fields, update=what == "update")
            elif what == "plan":
                stage: Stage = value
                work = next_work(archive, READING, stage, batch_fields=BATCH_FIELDS)
                if work is not None:
                    for batch, rows in batches_of(archive, READING, work):
                        handed.append((work, batch, rows))
            elif what == "write" and handed:
                work, batch, rows = handed[value % len(handed)]
                written(archive, work, batch, rows, 0)
        finish(archive)
        for work, batch, rows in handed:  # workers that were thought dead
            written(archive, work, batch, rows, 0)
        found = counted(archive)
        assert found["rows"] == found["fields"]
        assert found["fields"][0] == found["fields"][1]
        assert found["sample rows"] == found["samples"] * 2
        assert next_work(archive, READING, "fields") is None
        assert next_work(archive, READING, "samples") is None


def test_two_runs_that_plan_at_once_make_one_plan(tmp_path: Path) -> None:
    archive = open_archive(str(tmp_path), make=True)
    catalogued(archive, 1, list(range(10)))
    one = next_work(archive, READING, "fields", batch_fields=BATCH_FIELDS)
    other = next_work(archive, READING, "fields", batch_fields=BATCH_FIELDS)
    assert one == other and one is not None
    assert (one.plan, one.batches, one.missing) == (1, 4, (0, 1, 2, 3))
    assert plan_numbers(archive, READING, "fields") == [1]
    # Its batches hold all fields, in the order of their samples, each once.
    names = [row["field"] for _, rows in batches_of(archive, READING, one) for row in rows]
    assert len(names) == len(set(names)) == 10
    for batch, rows in batches_of(archive, READING, one):
        if batch != 2:
            written(archive, one, batch, rows, 0)
    left = next_work(archive, READING, "fields", batch_fields=BATCH_FIELDS)
    assert left is not None and (left.plan, left.missing) == (1, (2,))
    assert [batch for batch, _ in batches_of(archive, READING, left)] == [2]


def test_samples_wait_for_their_fields_and_large_plans_are_cut(tmp_path: Path) -> None:
    archive = open_archive(str(tmp_path), make=True)
    catalogued(archive, 1, list(range(9)))
    assert next_work(archive, READING, "samples") is None
    work = next_work(archive, READING, "fields", batch_fields=2, most=5)
    assert work is not None and work.batches == 3
    for batch, rows in batches_of(archive, READING, work):
        written(archive, work, batch, rows, 0)
    # Of five fields of nine: one sample is whole.
    samples = next_work(archive, READING, "samples", batch_fields=BATCH_FIELDS)
    assert samples is not None and samples.batches == 1
    ((_, rows),) = batches_of(archive, READING, samples)
    assert [row["place"] for row in rows] == [0, 1, 2]
    assert {row["part_plan"] for row in rows} == {1}
    finish(archive)
    assert counted(archive)["rows"] == (9, 9)
    assert plan_numbers(archive, READING, "fields") == [1, 2]


def test_what_was_set_aside_is_read_again_once_it_is_asked_for(tmp_path: Path) -> None:
    archive = open_archive(str(tmp_path), make=True)
    catalogued(archive, 1, list(range(12)))
    work = next_work(archive, READING, "fields", batch_fields=BATCH_FIELDS)
    assert work is not None
    for batch, rows in batches_of(archive, READING, work):
        written(archive, work, batch, rows, 2)
    with queries(archive, (READING, "")) as asked:
        (aside,) = asked.one("SELECT count(*) FROM fields_rows WHERE status = 'set aside'")
    assert 0 < aside < 12
    assert next_work(archive, READING, "fields") is None
    again = next_work(archive, READING, "fields", again_upto=1, batch_fields=BATCH_FIELDS)
    assert again is not None and again.plan == 2
    planned = [row for _, rows in batches_of(archive, READING, again) for row in rows]
    assert len(planned) == aside
    for batch, rows in batches_of(archive, READING, again):
        written(archive, again, batch, rows, 2)  # they are set aside again
    # The same run does not go round and round.
    assert next_work(archive, READING, "fields", again_upto=1) is None
    with queries(archive, (READING, "")) as asked:
        still = asked.one("SELECT count(*), max(plan) FROM fields_rows WHERE status = 'set aside'")
    assert still == (aside, 2)


def test_missing_batches_are_those_without_a_part() -> None:
    assert missing_batches(4, {1, 3, 9}) == (0, 2)
    assert missing_batches(0, set()) == ()
