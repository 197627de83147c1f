"""Kiosks post to a laboratory for an hour: how long a batch takes, and whether anything is lost.

    PYTHONPATH=. python benchmarks/laboratory_intake.py --kiosks 500 --seconds 3600 --out FILE

Each kiosk is a coroutine with a certificate of its own that posts batches over TLS as the outbox
does: in order, again under the same identity where an answer was lost. Answers are lost on purpose
all the time, and there are corrections and withdrawals. In turn (`laboratory_load.faults.PHASES`)
the server and PostgreSQL are killed (`kill -9`), the clocks of kiosks and server jump, the disk of
the database is filled, and kiosks come back after a week with all that they made in it. At the end
everything is looked for. The full disk needs root (a file that is mounted), the server's clock
Debian's faketime; what cannot be done is told and counted as not done. Ctrl-C ends it before its
time; all is counted all the same.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from laboratory_load.counting import counted
from laboratory_load.disk import SmallDisk, small_disk
from laboratory_load.faults import PHASES, Trouble
from laboratory_load.kiosks import WEEK_S, kiosks
from laboratory_load.machine import Usage
from laboratory_load.posting import Found, Pace, clients, posts

from edgehemo.files.atomic import write_json_atomically
from edgehemo_laboratory.storage.own_postgres import OwnPostgres, own_postgres, programs
from tests.support.laboratory_process import Laboratory

# Of the kiosks, so many are without a network at first.
AWAY = 0.1
# Into the last quiet part, before the server's memory is looked at for growth.
WARM_S = 120.0
_BEGUN_S = time.monotonic()


def said(words: str) -> None:
    print(f"{time.monotonic() - _BEGUN_S:7.0f} s: {words}", file=sys.stderr, flush=True)


async def measured(
    lab: Laboratory, cluster: OwnPostgres, disk: SmallDisk | None, folder: Path, asked: Any
) -> dict[str, Any]:
    """Let them post, then count."""
    made = kiosks(asked.kiosks, AWAY)
    away = sum(kiosk.away_until_s is not None for kiosk in made)
    ways = await clients(lab, made, folder)
    said(f"{len(made)} kiosks are enrolled")
    found = Found()
    trouble = Trouble(lab, cluster, made, found, disk, folder, said)
    usage = Usage(
        lambda: None if lab.process is None else lab.process.pid,
        lambda: None if cluster.process is None else cluster.process.pid,
    )
    pace = Pace((asked.pause * 0.8, asked.pause * 1.2), time.monotonic() + asked.seconds)

    def enough() -> None:
        pace.until_s = min(pace.until_s, time.monotonic())

    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, enough)
    begun_s = time.monotonic()
    watching = asyncio.create_task(usage.watch())
    await asyncio.gather(
        *(posts(kiosk, way, pace, found) for kiosk, way in zip(made, ways, strict=True)),
        trouble.run(asked.seconds, pace),
    )
    seconds, ended_s = pace.until_s - begun_s, time.monotonic() - begun_s
    watching.cancel()
    for way in ways:
        await way.aclose()
    said(f"all has been sent after {ended_s:.0f} s; it is counted")
    end = await asyncio.to_thread(counted, lab, made)
    slope, minutes = usage.memory_slope(asked.seconds * (1 - PHASES["undisturbed again"]) + WARM_S)
    own = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "kiosks": len(made),
        "seconds": round(seconds, 1),
        "pause_s": asked.pause,
        **end,
        "posts": found.posts,
        "answers_lost": found.lost,
        "server_killed": trouble.killed_server,
        "postgresql_killed": trouble.killed_database,
        "killed": trouble.killed_server + trouble.killed_database,
        "disk_full_s": trouble.disk_full_s,
        "postgresql_ended_by_itself": trouble.database_died,
        "kiosk_clocks_jumped": trouble.kiosk_clocks,
        "server_clock": trouble.server_clocks,
        "kiosks_away": away,
        "days_away": round(WEEK_S / 86_400),
        "phases": found.by_phase(),
        "emptied_after_s": round(ended_s - seconds, 1),
        "cpu_s": {
            "server": usage.cpu_s("server"),
            "postgresql": usage.cpu_s("database"),
            "kiosks": round(own.ru_utime + own.ru_stime, 1),
        },
        "server_memory_mb_by_minute": usage.memory_by_minute(),
        "server_memory_slope_mb_per_hour": slope,
        "server_memory_slope_over_minutes": minutes,
    }


def low_port() -> int:
    """A free port that no connection of a kiosk takes while the server is down."""
    for port in range(20_000, 30_000):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise SystemExit("no port is free")


def ended(lab: Laboratory) -> None:
    if lab.process is not None:
        lab.end(signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kiosks", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--pause", type=float, default=25.0, help="seconds between two posts")
    parser.add_argument("--disk-mb", type=int, default=3000, help="size of the database's disk")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    if programs() is None:
        raise SystemExit("PostgreSQL is not installed: apt-get install postgresql")
    with contextlib.ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="edgehemo-intake-")))
        disk = None
        try:
            disk = opened.enter_context(small_disk(folder, asked.disk_mb))
        except (OSError, subprocess.CalledProcessError) as error:
            said(f"no disk is filled: {error}")
        where = folder if disk is None else disk.folder
        cluster = opened.enter_context(own_postgres(where / "cluster"))
        lab = Laboratory(folder / "lab", port=low_port(), storage=cluster.url)
        lab.start()
        opened.callback(ended, lab)
        found = asyncio.run(measured(lab, cluster, disk, folder, asked))
        print(json.dumps(found, indent=1), flush=True)
        if asked.out is not None:
            write_json_atomically(asked.out, found)


if __name__ == "__main__":
    main()
