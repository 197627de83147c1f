"""A version of a result as JSON: what the laboratory keeps of it.

The content is that of an export, without the cells: each field says how many of each type it has.
The bytes are canonical JSON (sorted keys, no spaces), so that whoever reads and writes them again
has the same digest.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

from edgehemo.interop.message import Message, Told
from edgehemo.records.audit import canonical
from edgehemo.records.deidentified import View
from edgehemo.records.exports.exporting import Exporting

RESULT_SCHEMA = "edgehemo.sent-result/1"


def result_message(told: Told) -> Message:
    """The message of a version. RecordsError where its reading cannot be read."""
    reader, result = told.reader, told.result
    view = View.of(reader, identified=told.identified)
    entry = Exporting(reader, [result], view, reader.head()).entry(result)
    record = {**entry["record"], "images": [_counted(image) for image in entry["record"]["images"]]}
    # The mark of a failed control comes and goes with later checks: it is not of this version.
    del entry["control_mark"]
    content = {
        "schema": RESULT_SCHEMA,
        "store": reader.id,
        "identified": told.identified,
        **entry,
        "record": record,
    }
    body = canonical(content).encode("utf-8", "surrogatepass")
    return Message(hashlib.sha256(body).hexdigest(), "application/json", body)


def _counted(image: Mapping[str, Any]) -> dict[str, Any]:
    """An image's entry with counts of its cells' kinds and types in the place of the cells."""
    entry = {key: value for key, value in image.items() if key != "cells"}
    cells = image.get("cells")
    if cells is not None:
        kinds: dict[str, Counter[str]] = {}
        for cell in cells:
            kinds.setdefault(cell["kind"], Counter())[cell.get("type") or "untyped"] += 1
        entry["cell_types"] = {kind: dict(counted) for kind, counted in kinds.items()}
    return entry
