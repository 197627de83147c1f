"""What this device is: software, board, how long it runs, how full it is."""

from __future__ import annotations

import shutil
import time
from datetime import datetime, timedelta

from edgehemo.device.configuration import DeviceConfiguration, configured_path
from edgehemo.device.kiosk_log import log_path
from edgehemo.device.machine import Machine, this_machine
from edgehemo.version import __version__
from edgehemo.words.language import Words

# When this server began, by the clock that nobody sets.
_BEGUN_S = time.monotonic()


def device_facts(
    device: DeviceConfiguration, words: Words, address: str, machine: Machine | None = None
) -> list[tuple[str, str]]:
    """What is so, and what it is called."""
    _ = words._
    machine = this_machine() if machine is None else machine
    named = configured_path()
    try:
        usage = shutil.disk_usage(device.data_dir)
        storage = _(
            "{free} GB free of {all} GB",
            free=words.number(usage.free / 1e9, 1),
            all=words.number(usage.total / 1e9, 1),
        )
    except OSError:
        storage = _("not known")
    return [
        (_("Software"), f"edgehemo {__version__}"),
        (_("Device"), f"{device.name} ({device.board})"),
        (_("The kiosk runs for"), lasted(time.monotonic() - _BEGUN_S, words)),
        (_("The device runs for"), _uptime(machine, words)),
        (_("Storage"), storage),
        (_("Address"), address),
        (_("Data folder"), str(device.data_dir)),
        (_("Configuration"), _("none of its own") if named is None else str(named)),
        (_("Log"), str(log_path(device))),
        (_("Date and time"), _moment(datetime.now().astimezone(), words)),
    ]


def _moment(at: datetime, words: Words) -> str:
    return f"{words.date(at)} {words.time(at)}"


def _uptime(machine: Machine, words: Words) -> str:
    text = (machine.text("proc/uptime") or "").partition(" ")[0]
    try:
        return lasted(float(text), words)
    except ValueError:
        return words._("not known")


def lasted(seconds: float, words: Words) -> str:
    """A time that went by, in its two largest units."""
    _ = words._
    whole = timedelta(seconds=max(0, int(seconds)))
    hours, minutes = divmod(whole.seconds // 60, 60)
    if whole.days:
        return _("{days} d {hours} h", days=words.number(whole.days), hours=words.number(hours))
    if hours:
        return _("{hours} h {minutes} min", hours=hours, minutes=minutes)
    return _("{minutes} min", minutes=minutes)
