"""The records with 100,000 results, and 50 results of real fields computed again.

    python benchmarks/records_at_scale.py --data ../shared/data --out FILE

Prints one line a figure and writes them as JSON. The results of the large store are made without
screening: rows and audit entries as a screening makes them, one stored reading for all.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from edgehemo.api import screen
from edgehemo.device.configuration import load_device
from edgehemo.device.kept_equipment import kept_reader
from edgehemo.files.atomic import write_json_atomically
from edgehemo.records import store as store_module
from edgehemo.records.audit import digest_of
from edgehemo.records.backup import back_up, restore
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.identifiers import new_result_id
from edgehemo.records.replay import replay
from edgehemo.records.results import (
    FIELD_COLUMNS,
    RESULT_COLUMNS,
    Wanted,
    count,
    listed,
    result_digest,
    result_of,
    version_digest,
)
from edgehemo.records.store import Reader, Store, Writer
from edgehemo.records.verifying import verify
from edgehemo.records.versions import change
from edgehemo.version import __version__

RESULTS = 100_000
FIELDS = 8
REPLAYED = 50
REPEATS = 30
MADE_AT = datetime(2026, 1, 1, 8, 0, tzinfo=UTC)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the real smears")
    parser.add_argument("--results", type=int, default=RESULTS)
    parser.add_argument("--replayed", type=int, default=REPLAYED)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    figures: dict[str, Any] = {
        "made_on": {
            "version": __version__,
            "python": platform.python_version(),
            "processor": _processor(),
            "processors": os.cpu_count(),
        }
    }
    with tempfile.TemporaryDirectory(prefix="edgehemo-records-") as name:
        _device(Path(name))
        if asked.replayed:
            figures["replay"] = replayed(asked.data, asked.replayed)
        if asked.results:
            figures["large"] = large(Path(name) / "large", asked.results)
    for part, found in figures.items():
        for key, value in found.items():
            print(f"{part}: {key}: {value}", flush=True)
    if asked.out is not None:
        write_json_atomically(asked.out, figures)


def replayed(data: Path, wanted: int) -> dict[str, Any]:
    """Store results of real fields, one or two each, and compute each of them again."""
    pictures = sorted(
        path
        for part in ("bccd/images", "chula_rbc12/images", "anerbc/images")
        for path in list((data / part).rglob("*"))[:40]
        if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".tif", ".bmp")
    )
    random.Random(3).shuffle(pictures)
    store = Store.below(load_device(None).data_dir)
    names: list[str] = []
    accepted = 0
    left: list[Any] = pictures
    while len(names) < wanted and left:
        chosen, left = left[: 1 + len(names) % 2], left[1 + len(names) % 2 :]
        done = screen(chosen, record=True)
        if done.recorded is None:
            continue  # of the pictures none is a field
        names.append(done.recorded.result_id)
        accepted += len(done.reading.accepted)
    same = values = 0
    seconds = []
    with store.reader() as reader:
        for name in names:
            result = result_of(reader, name)
            started = time.perf_counter()
            with kept_reader(reader, result) as fields:
                found = replay(reader, result, fields)
            seconds.append(time.perf_counter() - started)
            same += found.same
            values += found.values
        whole = verify(reader).whole
    return {
        "results": len(names),
        "accepted_fields": accepted,
        "same": same,
        "values_compared": values,
        "seconds_each_median": round(statistics.median(seconds), 2),
        "store_whole": whole,
    }


def large(folder: Path, wanted: int) -> dict[str, Any]:
    """Fill a store and time what a person waits for."""
    records = RecordsFolder.below(folder)
    template = _one_result(records)
    started = time.perf_counter()
    _fill(records, template, wanted)
    filled_s = time.perf_counter() - started
    figures: dict[str, Any] = {
        "results": wanted,
        "database_mb": round(records.database.stat().st_size / 1e6, 1),
        "filled_s": round(filled_s, 1),
    }
    figures["open_s"] = _seconds(lambda: Writer(records).close(), 5)
    figures["open_to_read_s"] = _seconds(lambda: Reader(records).close(), 5)
    records.clean.unlink()
    started = time.perf_counter()
    writer = Writer(records)
    figures["open_after_a_crash_s"] = round(time.perf_counter() - started, 3)
    with writer:
        last = listed(writer, limit=1)[0].number
        middle = last // 2
        some = [row.id for row in listed(writer, limit=REPEATS, before=middle)]
        signed = Wanted(state="signed")
        month = Wanted(since=MADE_AT + timedelta(days=30), until=MADE_AT + timedelta(days=60))
        sample = Wanted(sample=f"N-{middle:06d}")
        figures |= {
            "first_page_ms": _milliseconds(lambda: listed(writer)),
            "page_in_the_middle_ms": _milliseconds(lambda: listed(writer, before=middle)),
            "page_of_a_state_ms": _milliseconds(lambda: listed(writer, signed)),
            "page_of_a_month_ms": _milliseconds(lambda: listed(writer, month)),
            "page_of_a_sample_ms": _milliseconds(lambda: listed(writer, sample)),
            "count_ms": _milliseconds(lambda: count(writer)),
            "show_ms": _milliseconds(_each(some, lambda name: _shown(writer, name))),
            "change_ms": _milliseconds(
                _each(some, lambda name: change(writer, name, "held", by="b", reason="x"))
            ),
        }
        started = time.perf_counter()
        figures["verify_faults"] = len(verify(writer, contents=False).faults)
        figures["verify_rows_s"] = round(time.perf_counter() - started, 1)
        started = time.perf_counter()
        made = back_up(writer, folder / "stick", at=writer.stamp().text, by="bench")
        figures["backup_s"] = round(time.perf_counter() - started, 1)
        started = time.perf_counter()
        restore(made.path, RecordsFolder.below(folder / "fresh"))
        figures["restore_s"] = round(time.perf_counter() - started, 1)
    with Reader(RecordsFolder.below(folder / "fresh")) as reader:
        figures["restored_results"] = count(reader)
    return figures


def _one_result(records: RecordsFolder) -> dict[str, Any]:
    """The rows of one result that was really screened."""
    before = os.environ["EDGEHEMO_DEVICE"]
    _device(records.path.parent)
    screen("simulated:?seed=1&fields=8&width=640&height=480", record=True)
    os.environ["EDGEHEMO_DEVICE"] = before
    with Writer(records) as writer:
        row = writer.rows(f"SELECT {', '.join(RESULT_COLUMNS)} FROM result")[0]
        fields = writer.rows(f"SELECT {', '.join(FIELD_COLUMNS)} FROM result_field")
        return {
            "row": dict(zip(RESULT_COLUMNS, row, strict=True)),
            "fields": [dict(zip(FIELD_COLUMNS, field, strict=True)) for field in fields],
        }


def _fill(records: RecordsFolder, template: dict[str, Any], wanted: int) -> None:
    """Results as many as wanted, each with pictures of its own that lie nowhere."""
    store_module.SYNCHRONOUS = "OFF"
    with Writer(records) as writer:
        for first in range(0, wanted, 2000):
            with writer.transaction():
                for number in range(first, min(wanted, first + 2000)):
                    _insert(writer, template, number)
    store_module.SYNCHRONOUS = "FULL"


def _insert(writer: Writer, template: dict[str, Any], number: int) -> None:
    made_at = MADE_AT + timedelta(minutes=4 * number)
    row = {
        **template["row"],
        "id": new_result_id(),
        "sample": f"N-{number:06d}",
        "made_at": made_at.isoformat(timespec="seconds"),
        "made_at_s": int(made_at.timestamp()),
    }
    fields = [
        {**field, "sha256": digest_of([number, index])}
        for index, field in enumerate(template["fields"])
    ]
    connection = writer.connection
    result = number + 2
    first = {
        "result": result, "version": 1, "state": "unsigned", "change": "recorded",
        "sample": row["sample"], "amendments": "{}", "by": "bench", "at": row["made_at"],
        "clock": "set", "reason": "",
    }  # fmt: skip
    details = {
        "row": result_digest(row, fields), "version": 1, "version_row": version_digest(first)
    }  # fmt: skip
    entry = writer.entry("result recorded", row["id"], details, by="bench")
    connection.executemany(
        # Their pictures were purged: there is no file that verifying would miss.
        "INSERT INTO content VALUES (?, 'picture', 1, '2026-01-01')",
        [(field["sha256"],) for field in fields],
    )
    _row(connection, "result", {"number": result, **row, "audit": entry.number})
    for field in fields:
        _row(connection, "result_field", {"result": result, **field})
    _row(connection, "version", {**first, "audit": entry.number})
    if number % 3 == 0:
        second = {**first, "version": 2, "state": "signed", "change": "signed"}
        said = {"version": 2, "row": version_digest(second)}
        entry = writer.entry("result signed", row["id"], said, by="bench")
        _row(connection, "version", {**second, "audit": entry.number})


def _row(connection: Any, table: str, values: dict[str, Any]) -> None:
    places = ", ".join("?" for _ in values)
    connection.execute(
        f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places})", list(values.values())
    )


def _shown(writer: Writer, name: str) -> None:
    result_of(writer, name).document(writer)


def _each(names: list[str], work: Callable[[str], object]) -> Callable[[], object]:
    left = list(names)
    return lambda: work(left.pop())


def _milliseconds(work: Callable[[], object]) -> dict[str, float]:
    """Median and worst of some runs."""
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - started))
    return {"median": round(statistics.median(times), 2), "worst": round(max(times), 2)}


def _seconds(work: Callable[[], object], times: int) -> dict[str, float]:
    found = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return {"median": round(statistics.median(found), 3), "worst": round(max(found), 3)}


def _device(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "device.toml"
    file.write_text(
        'schema = "edgehemo.device/1"\nname = "bench"\nboard = "workstation"\n'
        f'[paths]\ndata = "{folder}"\n[records]\nrefuse_below_mb = 0\n'
    )
    os.environ["EDGEHEMO_DEVICE"] = str(file)
    os.environ["EDGEHEMO_KEYS"] = str(folder / "keys")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
