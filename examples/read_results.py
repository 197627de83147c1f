"""Read the results of several screenings into one table.

    python examples/read_results.py report-17 report-18

`result.json` is a contract: its JSON Schema lies in `edgehemo/schemas`. A withheld result has a
reason and no number; so has one without a calibration.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

COLUMNS = ("report", "outcome", "accepted", "images", "hgb_g_per_l", "low", "high", "why_none")


def rows(folders: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """A row a report, in the order given."""
    for folder in folders:
        record = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        sample = record["sample"]
        hgb = sample["hgb_g_per_l"] or {}
        withheld = record["withheld"]
        yield {
            "report": folder.name,
            "outcome": record["outcome"],
            "accepted": sample["accepted"],
            "images": sample["images"],
            "hgb_g_per_l": hgb.get("value"),
            "low": hgb.get("low"),
            "high": hgb.get("high"),
            "why_none": withheld["reason"] if withheld else sample["reasons"].get("hgb_g_per_l"),
        }


def main(folders: Sequence[Path]) -> None:
    """Write the table to standard output, as CSV."""
    table = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(rows(folders))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Results of several screenings as one CSV table.")
    parser.add_argument("folders", type=Path, nargs="+")
    main(parser.parse_args().folders)
