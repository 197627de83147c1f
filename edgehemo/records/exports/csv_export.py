"""Results as a table: one row a result, units in the names of the columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgehemo.files.atomic import write_text_atomically
from edgehemo.measurands import BLOOD_FACTS
from edgehemo.records.exports.exporting import Exporting

# What a spreadsheet takes for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_FIRST = (
    "id", "sample", "site", "operator", "device", "made_at", "clock", "simulated", "state",
    "version", "outcome", "control_mark",
)  # fmt: skip
_LAST = (
    "grade", "grade_by_a_person", "probability_below_limit", "limit_g_per_l", "calibration",
    "accepted_fields", "refused_fields", "unreadable_images", "red_cells", "bundle_sha256",
    "profile_sha256", "software_version", "audit_number", "audit_digits", "audit_store",
)  # fmt: skip


def columns() -> list[str]:
    """The heads of the table."""
    values = [f"{name}{end}" for name in BLOOD_FACTS for end in ("", "_low", "_high")]
    return [*_FIRST, *values, *_LAST]


def write_csv_export(export: Exporting, out: Path) -> None:
    """The table as UTF-8 with a decimal point; an empty cell is a value that was not given."""
    table = io.StringIO()
    writer = csv.DictWriter(table, columns(), lineterminator="\r\n")
    writer.writeheader()
    for result in export.results:
        row = _row(export.entry(result))
        row |= {
            "audit_number": export.audit.number,
            "audit_digits": export.audit.digits,
            "audit_store": export.audit.store,
        }
        writer.writerow({name: _cell(value) for name, value in row.items()})
        export.on_result()
    write_text_atomically(out, table.getvalue())


def _row(entry: Mapping[str, Any]) -> dict[str, Any]:
    record = entry["record"]
    sample, anaemia = record["sample"], record["anaemia"] or {}
    override = entry["versions"][-1]["amendments"].get("override")
    row = {name: entry[name] for name in _FIRST}
    for name in BLOOD_FACTS:
        value = sample.get(name) or {}
        row[name] = value.get("value")
        row[f"{name}_low"], row[f"{name}_high"] = value.get("low"), value.get("high")
    return row | {
        "grade": anaemia.get("grade"),
        "grade_by_a_person": None if override is None else override["grade"] or "withdrawn",
        "probability_below_limit": anaemia.get("probability_below_limit"),
        "limit_g_per_l": anaemia.get("limit_g_per_l"),
        "calibration": sample["calibration"],
        "accepted_fields": sample["accepted"],
        "refused_fields": sample["refused"],
        "unreadable_images": sample["unreadable"],
        "red_cells": sample["counts"]["rbc"]["value"],
        "bundle_sha256": entry["bundle_sha256"],
        "profile_sha256": entry["profile_sha256"],
        "software_version": entry["software_version"],
    }


def _cell(value: Any) -> Any:
    """A value that a spreadsheet shows and does not compute."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
