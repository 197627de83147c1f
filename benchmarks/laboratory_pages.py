"""How long the laboratory's pages take over a large fleet: SQLite and PostgreSQL.

    PYTHONPATH=. python benchmarks/laboratory_pages.py --out benchmarks/laboratory_pages.json

Results of simulated kiosks are taken as they are taken from kiosks; then each page is asked for, as
the server makes it, without a network. Exports are written in a process of their own, whose memory
is looked at.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from edgehemo.files.atomic import write_json_atomically
from edgehemo_laboratory.enrolment.certificates import Certificates
from edgehemo_laboratory.people import add_person, sign_in
from edgehemo_laboratory.server.app import application
from edgehemo_laboratory.server.people_pages import COOKIE, Desk
from edgehemo_laboratory.server.starting import pages_of
from edgehemo_laboratory.simulated.fleet import example, fill
from edgehemo_laboratory.storage import open_storage
from edgehemo_laboratory.storage.interface import Storage
from edgehemo_laboratory.storage.own_postgres import own_postgres

TIMES = 7
# Pages, and what is asked of them; {kiosk}, {store} and {result} are those of one in the middle.
PAGES = {
    "kiosks": "/",
    "kiosks that ask for a look": "/?only=look",
    "one kiosk": "/kiosks/{kiosk}",
    "results of 30 days": "/results",
    "all results": "/results?from=",
    "all results, a later page": "/results?from=&after={after}",
    "results of a site": "/results?from=&site=south",
    "results of a kiosk": "/results?from=&kiosk={kiosk}",
    "withdrawn results": "/results?from=&outcome=withdrawn",
    "severe results": "/results?from=&grade=severe",
    "one result": "/results/{store}/{result}",
    "outliers": "/outliers",
    "agreement": "/agreement",
}


async def measured(storage: Storage, folder: Path) -> dict[str, Any]:
    """Milliseconds of each page: the median, that of the processor, the first and the longest of
    the others.
    """
    made = Certificates(folder / "certificates")
    made.make(["localhost"])
    await add_person(storage, "grace", "supervisor", "correct horse battery", by="benchmark")
    _, cookie = await sign_in(storage, "grace", "correct horse battery")
    app: Any = application(storage, made, None, pages_of(Desk(storage, made)))
    ((kiosk, store, result, day, made_at),) = await storage.rows(
        "SELECT k.name, r.store, r.result_id, r.counted_day, r.made_at FROM result r "
        "JOIN records s ON s.store = r.store JOIN kiosk k ON k.number = s.kiosk "
        "ORDER BY r.counted_day, r.store, r.made_at, r.result_id "
        "LIMIT 1 OFFSET (SELECT count(*) / 2 FROM result)"
    )
    after = "~".join((day, store, made_at.replace("+", "%2B"), result))
    found: dict[str, Any] = {}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app),
        base_url="https://lab.example",
        cookies={COOKIE: cookie},
    ) as client:
        for name, path in PAGES.items():
            url = path.format(kiosk=kiosk, store=store, result=result, after=after)
            took: list[float] = []
            used: list[float] = []
            for _ in range(TIMES):
                begun, cpu = time.perf_counter(), time.process_time()
                answer = await client.get(url)
                used.append(1000 * (time.process_time() - cpu))
                took.append(1000 * (time.perf_counter() - begun))
                assert answer.status_code == 200, (name, answer.text[:500])
            found[name] = {
                "median_ms": round(median(took), 1),
                # Of this process, SQLite's in it: what a machine without other work would take.
                "processor_ms": round(median(used), 1),
                "first_ms": round(took[0], 1),
                "most_ms": round(max(took[1:]), 1),
                "kilobytes": round(len(answer.content) / 1000),
            }
    return found


def exports(where: str, folder: Path) -> dict[str, Any]:
    """Each format by the command, in a process of its own: seconds and megabytes."""
    (folder / "laboratory.toml").write_text(
        f'schema = "edgehemo.laboratory/1"\nnames = ["localhost"]\nstorage = "{where}"\n'
    )
    found = {}
    for kind in ("csv", "parquet", "fhir"):
        out = folder / f"out-{kind}"
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", _MEASURED, "laboratory", "export", "--format", kind,
             "--out", str(out), "--data", str(folder)],
            check=True,
        )  # fmt: skip
        found[kind] = {
            "seconds": round(time.perf_counter() - begun, 1),
            "megabytes_of_memory": round(float((folder / "memory").read_text()) / 1024),
            "megabytes_of_file": round(out.stat().st_size / 1e6, 1),
        }
    return found


_MEASURED = """
import resource, sys
from pathlib import Path
from edgehemo.cli import main
try:
    main()
except SystemExit as done:
    assert not done.code, done.code
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
Path(sys.argv[-1], "memory").write_text(str(used))
"""


async def filled(
    where: str, kiosks: int, results: int, folder: Path, *, with_exports: bool
) -> dict[str, Any]:
    storage = await open_storage(where)
    try:
        if storage.engine == "sqlite":
            # Filling alone: what is measured only reads.
            await storage.rows("PRAGMA synchronous = OFF")
        days = 50
        fleet = example(kiosks, days=days, results=results / kiosks / (days * 6 / 7))
        begun = time.perf_counter()
        count = await fill(storage, fleet, datetime.now(UTC))
        took = time.perf_counter() - begun
        if storage.engine == "postgresql":
            # What its own housekeeping does within minutes.
            for table in ("result", "result_day", "arrival", "version", "records", "kiosk"):
                await storage.do(f"VACUUM ANALYZE {table}")
        pages = await measured(storage, folder)
    finally:
        await storage.close()
    return {
        "results": count,
        "kiosks": kiosks,
        "filled_s": round(took, 1),
        "pages": pages,
        "longest_processor_ms": max(each["processor_ms"] for each in pages.values()),
        "exports": exports(where, folder) if with_exports else {},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kiosks", type=int, default=500)
    parser.add_argument("--results", type=int, default=100_000)
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), action="append")
    parser.add_argument("--no-exports", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    found: dict[str, Any] = {}
    wanted = not given.no_exports
    for engine in given.engine or ("sqlite", "postgresql"):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if engine == "sqlite":
                where = str(folder / "laboratory.sqlite3")
                found[engine] = asyncio.run(
                    filled(where, given.kiosks, given.results, folder, with_exports=wanted)
                )
            else:
                with own_postgres(folder) as cluster:
                    found[engine] = asyncio.run(
                        filled(
                            cluster.url, given.kiosks, given.results, folder, with_exports=wanted
                        )
                    )
        write_json_atomically(given.out, found)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "MB")


if __name__ == "__main__":
    main()
