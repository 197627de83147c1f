"""The self-check before a sample: what the server can see of itself, and what the camera shows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, get_args

from edgehemo.control.history import ControlCheck
from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.errors import RecordsError
from edgehemo.kiosk.state import Checked
from edgehemo.profile.profile import CalibrationProfile
from edgehemo.records.backup import is_due, last_backup
from edgehemo.records.controls import stored_controls
from edgehemo.records.policy import free_mb, space_state
from edgehemo.records.results import count
from edgehemo.records.store import Writer

# What it can find, beside the faults of `edgehemo.kiosk.faults`.
SelfCheckCode = Literal[
    "RECORDS_SPACE_LOW", "RECORDS_FULL", "BACKUP_DUE", "CALIBRATION_NONE", "CLOCK_UNSET",
    "RECORDS_UNREADABLE", "CONTROL_HISTORY_UNREADABLE", "CONTROL_NONE",
]  # fmt: skip
SELF_CHECK_CODES: tuple[SelfCheckCode, ...] = get_args(SelfCheckCode)
# The order in which they are shown; what a hand can mend stands first.
ORDER = ("camera", "lamp", "storage", "clock", "bundle", "profile", "control", "backup")

_BADNESS = ("good", "unset", "soon", "fails")


def stored_checks(writer: Writer, device: DeviceConfiguration, now: datetime) -> list[Checked]:
    """Storage, clock and backup. now: timezone-aware."""
    return [_storage(writer, device), _clock(writer), _backup(writer, device, now)]


def control_line(writer: Writer, profile: CalibrationProfile | None) -> Checked:
    """The control slide: when it was checked last, as ISO 8601. What is wrong with it tells the
    process that opened the profile.
    """
    if profile is None or not profile.controls:
        return Checked(name="control", verdict="unset", code="CONTROL_NONE")
    checks = [each for each in stored_controls(writer, profile) if isinstance(each, ControlCheck)]
    fact = checks[-1].at.astimezone().isoformat(timespec="minutes") if checks else ""
    return Checked(name="control", verdict="good", fact=fact)


def in_order(checks: Sequence[Checked]) -> tuple[Checked, ...]:
    """As they are shown: each thing once, as the worst that was found of it."""
    worst: dict[str, Checked] = {}
    for each in checks:
        known = worst.get(each.name)
        if known is None or _BADNESS.index(each.verdict) > _BADNESS.index(known.verdict):
            worst[each.name] = each
    return tuple(sorted(worst.values(), key=lambda each: ORDER.index(each.name)))


def _storage(writer: Writer, device: DeviceConfiguration) -> Checked:
    free = free_mb(device.data_dir)
    fact = f"{free / 1000:.1f} GB"
    state = space_state(free, device.records)
    if state == "too little":
        return Checked(name="storage", verdict="fails", code="RECORDS_FULL", blocks=True, fact=fact)
    if state == "low":
        return Checked(name="storage", verdict="soon", code="RECORDS_SPACE_LOW", fact=fact)
    return Checked(name="storage", verdict="good", fact=fact)


def _clock(writer: Writer) -> Checked:
    stamp = writer.stamp()
    fact = f"{stamp.at:%Y-%m-%d %H:%M}"
    if stamp.clock == "unset":
        # The result is stored with "clock unset"; a calibration that ages blocks by itself.
        return Checked(name="clock", verdict="soon", code="CLOCK_UNSET", fact=fact)
    return Checked(name="clock", verdict="good", fact=fact)


def _backup(writer: Writer, device: DeviceConfiguration, now: datetime) -> Checked:
    try:
        # A backup that the command line made while the kiosk ran.
        writer.take_noted()
        results, last = count(writer), last_backup(writer)
    except RecordsError:
        return Checked(name="backup", verdict="soon", code="RECORDS_UNREADABLE")
    fact = "" if last is None else last.at[:10]
    if results and is_due(last, now, device.records.backup_every_hours):
        return Checked(name="backup", verdict="soon", code="BACKUP_DUE", fact=fact)
    # Where nothing is stored yet there is nothing to lose, and no backup all the same.
    return Checked(name="backup", verdict="unset" if last is None else "good", fact=fact)
