"""How far samples of real fields lie apart: the simulated year of `monitor_drift.py` is sized so.

    python benchmarks/monitor_spread.py --data ../shared/data --out FILE

Neighbouring files of a source are screened together as one sample and stored; the spread among the
samples is read from the records, as monitoring reads it. The sources have no dates: what differs
from day to day cannot be measured on them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from edgehemo.api import screen
from edgehemo.device.configuration import load_device
from edgehemo.files.atomic import write_json_atomically
from edgehemo.monitor.quantities import QUANTITIES
from edgehemo.monitor.series import TABLES
from edgehemo.records.store import Store

# Source -> folder of its fields.
SOURCES = {"bccd": "bccd/images", "chula_rbc12": "chula_rbc12/images"}
FIELDS, SAMPLES = 5, 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the real smears")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="of each source")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    found: dict[str, Any] = {"fields_a_sample": FIELDS}
    for source, folder in SOURCES.items():
        found[source] = spread(sorted((asked.data / folder).iterdir()), asked.samples)
        for name, value in found[source].items():
            print(f"{source}: {name}: {value}", flush=True)
    if asked.out is not None:
        write_json_atomically(asked.out, found)


def spread(pictures: list[Path], wanted: int) -> dict[str, Any]:
    """Screen samples spread over a source; mean and spread of each quantity among them."""
    step = max(FIELDS, len(pictures) // wanted)
    with tempfile.TemporaryDirectory(prefix="edgehemo-spread-") as name:
        _device(Path(name))
        for first in range(0, len(pictures) - FIELDS + 1, step):
            screen(pictures[first : first + FIELDS], record=True)
        with Store.below(load_device(None).data_dir).reader() as reader:
            figures: dict[str, Any] = {"samples": reader.rows("SELECT count(*) FROM result")[0][0]}
            for quantity in QUANTITIES:
                rows = reader.rows(f"SELECT ({quantity.of}) AS value FROM {TABLES}")
                values = [float(row[0]) for row in rows if row[0] is not None]
                if len(values) < 10:
                    continue
                mean = statistics.fmean(values)
                sd = statistics.stdev(values)
                figures[quantity.name] = {
                    "samples": len(values),
                    "mean": round(mean, 4),
                    "sd": round(sd, 4),
                    "relative": None if mean == 0 else round(sd / abs(mean), 4),
                }
    return figures


def _device(folder: Path) -> None:
    file = folder / "device.toml"
    file.write_text(
        'schema = "edgehemo.device/1"\nname = "bench"\nboard = "workstation"\n'
        f'[paths]\ndata = "{folder}"\n[records]\nrefuse_below_mb = 0\n'
    )
    os.environ["EDGEHEMO_DEVICE"] = str(file)
    os.environ["EDGEHEMO_KEYS"] = str(folder / "keys")


if __name__ == "__main__":
    main()
