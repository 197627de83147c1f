"""Will results be withheld before the day is over, for what is due by then?"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from edgehemo.device.configuration import load_device
from edgehemo.device.due_today import keep_due
from edgehemo.device.readiness import why_blocked
from edgehemo.files.strict import Record, Text
from edgehemo.guidance.withheld import Withheld
from edgehemo.profile.profile import load_profile

# A working day: what ends within it is said in the morning.
REMIND_AHEAD = timedelta(hours=12)


class ReminderOutput(Record, frozen=True, kw_only=True):
    """`edgehemo device remind --json`. until: how far was looked ahead. code: why results will be
    withheld until then; None where they will not.
    """

    schema: Literal["edgehemo.device-remind/1"] = "edgehemo.device-remind/1"
    until: Text
    code: str | None = None


def reminder(now: datetime) -> Withheld | None:
    """Why this device will withhold results within the day; None where it will not. Raises
    DeviceError, ProfileError.
    """
    device = load_device(None)
    if device.paths.profile is None:
        return None
    path = Path(device.paths.profile)
    return why_blocked(load_profile(path), path, device, now=now + REMIND_AHEAD)


def note_due(found: Withheld | None, at: datetime) -> None:
    """Have the kiosk's start page say it, where this device has a data folder."""
    folder = load_device(None).data_dir
    if folder.is_dir():
        keep_due(folder, None if found is None else found.code, at + REMIND_AHEAD)
