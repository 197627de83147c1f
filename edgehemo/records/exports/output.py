"""The JSON of an export."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from edgehemo.files.strict import Record
from edgehemo.screening.recorded import AuditHead


class RecordsExportOutput(Record, frozen=True, kw_only=True):
    """Exported results. identified: with the numbers and names as they are stored; else sample,
    operator, site and device are pseudonyms that are the same each time. audit: the head of the
    chain when they left. Of each result: its versions, person data as the grade needs them,
    digests of its pictures, and under ``record`` what `edgehemo screen` wrote.
    """

    schema: Literal["edgehemo.records-export/1"] = "edgehemo.records-export/1"
    identified: bool
    audit: AuditHead
    results: list[Mapping[str, Any]]
