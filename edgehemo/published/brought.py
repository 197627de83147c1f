"""A report of what runs on a device, left on a stick: for a laboratory that it cannot reach."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.files.atomic import write_text_atomically
from edgehemo.files.strict import Record, Text
from edgehemo.published.reports import Running
from edgehemo.published.running import running_on
from edgehemo.published.terms import FROM_STICK

REPORT_NAMES = "edgehemo-runs-*.json"


class StickReport(Record, frozen=True, kw_only=True):
    """device: as its configuration calls it. store: identifier of its records. written_at: by its
    own clock.
    """

    schema: Literal["edgehemo.stick-report/1"] = "edgehemo.stick-report/1"
    device: Text
    store: str
    written_at: str
    running: Running


def leave_report(folder: Path, device: DeviceConfiguration, store: str, written_at: str) -> Path:
    """Leave a report in a stick's topmost folder, in the place of an earlier one; its file. Raises
    OSError.
    """
    report = StickReport(
        device=device.name,
        store=store,
        written_at=written_at,
        running=running_on(device, FROM_STICK, "asked"),
    )
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", device.name)
    file = folder / REPORT_NAMES.replace("*", name)
    write_text_atomically(file, report.model_dump_json(indent=2) + "\n")
    return file
