"""Settings that are made on the device itself: each change with who and when."""

from __future__ import annotations

import json
from typing import Any

from edgehemo.records.results import json_text
from edgehemo.records.rows import insert_vouched
from edgehemo.records.store import Reader, Writer


def setting(reader: Reader, name: str, default: Any = None) -> Any:
    """The value in force, JSON values; ``default`` where it was never set."""
    found = reader.rows(
        "SELECT value FROM setting WHERE name = ? ORDER BY number DESC LIMIT 1", (name,)
    )
    return json.loads(found[0][0]) if found else default


def set_setting(writer: Writer, name: str, value: Any, *, by: str) -> None:
    """Change a setting; it is on the disk when this returns."""
    row = {"name": name, "value": json_text(value), "by": by, "at": writer.stamp().text}
    insert_vouched(writer, "setting", row, "", {"name": name}, by=by)
