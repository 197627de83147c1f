"""An archive of real-size fields is read again: each stage, scaling, kills, and how it grows.

    export PYTHONPATH=.:benchmarks
    python benchmarks/archive_reread.py stages plans --out benchmarks/archive_reread.json
    python benchmarks/archive_reread.py scaling --fields 320 --out benchmarks/archive_reread.json
    python benchmarks/archive_reread.py whole --fields 20000 --out benchmarks/archive_reread.json

The pieces are measured one by one, and each writes its figures beside those that are there.
``whole`` goes on where it was stopped. Fields are varied copies of simulated ones, of two
megapixels; 20,000 of them need 10 GB below --work, which is removed at the end of ``whole``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from archive_load.fields import FIELDS_A_SAMPLE, arrivals, bases
from archive_load.growth import growth
from archive_load.runs import Watched, killed_run, rate
from archive_load.stages import joining, plans, stages

from edgehemo.files.atomic import write_json_atomically
from edgehemo_laboratory.archive import layout
from edgehemo_laboratory.archive.ingest import ingest
from edgehemo_laboratory.archive.place import open_archive
from edgehemo_laboratory.archive.queries import queries

_BEGUN_S = time.monotonic()
# Fields that come in at once: what a stopped ingest loses.
_INGESTED = 1000
JOINED_PARTS = 500


def said(words: str) -> None:
    print(f"{time.monotonic() - _BEGUN_S:7.0f} s: {words}", file=sys.stderr, flush=True)


def filled(store: Path, work: Path, fields: int) -> None:
    """An archive with so many fields; goes on where it was stopped."""
    archive = open_archive(str(store), make=True)
    with queries(archive) as asked:
        (there,) = asked.one("SELECT count(*) FROM fields")
    if there >= fields:
        return
    pictures = bases(work)
    for begin in range(there // _INGESTED * _INGESTED, fields, _INGESTED):
        ingest(
            archive, arrivals(pictures, range(begin, min(fields, begin + _INGESTED))), whole=False
        )
        said(f"{min(fields, begin + _INGESTED)} of {fields} fields are in the archive")


def scaling(work: Path, fields: int, rounds: int) -> dict[str, Any]:
    """One worker and two in turn over the same fields, each from the beginning."""
    store, batch = work / f"scaling-{fields}", 8
    filled(store, work, fields)
    rates: dict[int, list[float]] = {1: [], 2: []}
    for number in range(rounds):
        for workers in ((1, 2), (2, 1))[number % 2]:
            shutil.rmtree(store / "readings", ignore_errors=True)
            run = Watched(store, work / "scaling.json", workers, batch)
            told = run.ends()
            assert told["done"] and told["reading"]["read"] == fields, told
            rates[workers].append(round(rate(store, batch, workers), 3))
            said(f"{workers} workers: {rates[workers][-1]} fields a second")
    one, two = (statistics.median(rates[count]) for count in (1, 2))
    load = os.getloadavg()[2]
    return {
        "fields": fields,
        "one_worker_fields_a_s": rates[1],
        "two_workers_fields_a_s": rates[2],
        "efficiency": round(two / (2 * one), 3),
        "load_of_the_machine": round(load, 1),
    }


def whole(work: Path, fields: int, workers: int) -> dict[str, Any]:
    """All of it: read, killed, gone on with, counted."""
    store = work / f"whole-{fields}"
    filled(store, work, fields)
    batch = 64 if fields >= 2000 else 8
    found = killed_run(
        store, work / "whole.json", fields=fields, workers=workers, batch=batch, said=said
    )
    archive = open_archive(str(store))
    found_names = (layout.reading_of(key) for key in archive.store.keys(layout.READINGS))
    names = sorted({name for name in found_names if name is not None})
    assert len(names) == 1
    # Counted once more, past everything that a run says of itself.
    with queries(archive, (names[0], "")) as asked:
        found["counted"] = dict(
            zip(
                ("fields", "rows", "fields_in_rows"),
                asked.one(
                    "SELECT (SELECT count(*) FROM fields), (SELECT count(*) FROM fields_parts), "
                    "(SELECT count(DISTINCT field) FROM fields_parts)"
                ),
                strict=True,
            )
        )
    assert found["samples"] == -(-fields // FIELDS_A_SAMPLE)
    shutil.rmtree(store)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pieces", nargs="+", choices=("stages", "plans", "scaling", "whole"))
    parser.add_argument("--fields", type=int, default=320, help="of scaling and whole")
    parser.add_argument("--stage-fields", type=int, default=40, help="of stages")
    parser.add_argument("--rounds", type=int, default=3, help="of scaling")
    parser.add_argument("--workers", type=int, default=2, help="of whole")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000], help="of plans"
    )
    parser.add_argument("--work", type=Path, default=Path("runs/archive-reread"))
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    work = asked.work.absolute()
    pieces: dict[str, Callable[[], Any]] = {
        "stages": lambda: stages(work, asked.stage_fields, said),
        "plans": lambda: {
            "sizes": plans(work, asked.sizes, said),
            **joining(work, JOINED_PARTS),
        },
        "scaling": lambda: scaling(work, asked.fields, asked.rounds),
        "whole": lambda: whole(work, asked.fields, asked.workers),
    }
    for piece in asked.pieces:
        measured = pieces[piece]()
        there = json.loads(asked.out.read_text()) if asked.out.exists() else {}
        there[piece] = measured
        there["machine"] = (
            f"{platform.machine()}, {os.cpu_count()} processors, in use by others too"
        )
        if {"stages", "plans"} <= set(there):
            there["growth"] = growth(there["stages"], there["plans"]["sizes"], there.get("scaling"))
        write_json_atomically(asked.out, there)
        said(f"{piece}: {json.dumps(measured)[:600]}")


if __name__ == "__main__":
    main()
