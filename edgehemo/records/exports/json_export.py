"""Results as one JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgehemo.files.atomic import write_json_atomically
from edgehemo.records.exports.exporting import Exporting
from edgehemo.records.exports.output import RecordsExportOutput


def write_json_export(export: Exporting, out: Path) -> None:
    """All that is stored of the results but their pictures."""
    entries: list[Mapping[str, Any]] = []
    for result in export.results:
        entries.append(export.entry(result))
        export.on_result()
    content = RecordsExportOutput(
        identified=export.view.identified, audit=export.audit, results=entries
    )
    write_json_atomically(out, content.model_dump())
