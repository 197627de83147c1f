"""How this device is, as its laboratory is told with each visit: backup, control slides, room.

Nothing of it is of a patient, and none of it is a date: a clock that is wrong says so by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from edgehemo.control.history import Clearance, ControlCheck, control_block
from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.device.readiness import why_blocked
from edgehemo.errors import EdgeHemoError
from edgehemo.interop.laboratory import ControlStanding, DeviceState
from edgehemo.profile.profile import CalibrationProfile, load_profile
from edgehemo.records.backup import last_backup
from edgehemo.records.controls import control_history
from edgehemo.records.policy import free_mb
from edgehemo.records.results import count
from edgehemo.records.store import Reader, Store

_MOST_DEVIATIONS = 40
# What a block by the control slides is called.
_STANDINGS: Mapping[str, ControlStanding] = {
    "CONTROL_FAILED": "failed",
    "CONTROL_MISSING": "missing",
    "CONTROL_DUE": "due",
    "CONTROL_CLOCK_WRONG": "unreadable",
}


def state_of(reader: Reader, device: DeviceConfiguration, now: datetime) -> DeviceState:
    """How a device is at ``now`` (timezone-aware). reader: of its records."""
    backup = last_backup(reader)
    age_s = None if backup is None else _since(datetime.fromisoformat(backup.at), now)
    control: ControlStanding = "none"
    checked_s: int | None = None
    deviations: dict[str, float] = {}
    blocked: str | None = None
    profile, path = _profile(device)
    if profile is not None and path is not None:
        why = why_blocked(profile, path, device, now=now)
        blocked = None if why is None else why.code
        if profile.controls:
            control, newest = _control(profile, path, device, now)
            if newest is not None:
                checked_s = _since(newest.at, now)
                named = sorted(newest.deviations.items())[:_MOST_DEVIATIONS]
                deviations = {name: round(value, 3) for name, value in named}
    return DeviceState(
        results=count(reader),
        backup_age_s=age_s,
        backed_up=None if backup is None else backup.results,
        control=control,
        control_age_s=checked_s,
        control_deviations=deviations,
        blocked=blocked,
        free_mb=round(free_mb(reader.folder.path), 1),
        profile=profile is not None,
    )


def _profile(device: DeviceConfiguration) -> tuple[CalibrationProfile | None, Path | None]:
    """The profile in use; none where it cannot be read, for then no result stands on it either."""
    if device.paths.profile is None:
        return None, None
    path = Path(device.paths.profile)
    try:
        return load_profile(path), path
    except EdgeHemoError:
        return None, None


def _control(
    profile: CalibrationProfile, path: Path, device: DeviceConfiguration, now: datetime
) -> tuple[ControlStanding, ControlCheck | None]:
    """How the control slides stand, and the newest check of one."""
    try:
        history = control_history(Store.below(device.data_dir), profile, path)
    except EdgeHemoError:
        return "unreadable", None
    hours = device.screening.control_expires_hours
    why = control_block(profile, history, now=now, expires_hours=hours)
    return "passed" if why is None else _STANDINGS[why.code], _newest(history)


def _newest(history: Sequence[ControlCheck | Clearance]) -> ControlCheck | None:
    return next((each for each in reversed(history) if isinstance(each, ControlCheck)), None)


def _since(at: datetime, now: datetime) -> int:
    aware = at if at.tzinfo is not None else at.astimezone()
    return max(0, int((now - aware).total_seconds()))
