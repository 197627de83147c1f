"""Sets the device's clock and the one with the battery, as a supervisor read it off a watch."""

from __future__ import annotations

import fcntl
import os
import struct
import time
from datetime import UTC, datetime
from typing import Literal

from edgehemo.errors import DeviceError, UsageError
from edgehemo.files.strict import Record, Text

# Before the first line of edgehemo was written nobody measured anything with it.
EARLIEST_YEAR, LATEST_YEAR = 2026, 2100
FORMS = ("%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S")
BATTERY_CLOCK = "/dev/rtc0"
# _IOW('p', 0x0a, struct rtc_time) of linux/rtc.h, which is the same on every 64-bit machine.
RTC_SET_TIME = 0x4024700A


class ClockOutput(Record, frozen=True, kw_only=True):
    """`edgehemo device clock --json`. now: of the system, with its zone. battery: whether there is
    a clock with a battery. last_result: the newest result's time, None without one; behind: whether
    the clock stands before it, and so is not set.
    """

    schema: Literal["edgehemo.device-clock/1"] = "edgehemo.device-clock/1"
    now: Text
    battery: bool
    last_result: str | None = None
    behind: bool = False


def read_moment(text: str) -> datetime:
    """A date and time of this device's zone. UsageError where it is none or cannot be."""
    for form in FORMS:
        try:
            found = datetime.strptime(text.strip(), form)
        except ValueError:
            continue
        if not EARLIEST_YEAR <= found.year < LATEST_YEAR:
            raise UsageError(f"the year {found.year} cannot be; write it as 2026-11-27 14:30")
        return found.astimezone()
    raise UsageError(f"{text!r} is no date and time; write it as 2026-11-27 14:30")


def set_clock(at: datetime, battery: str = BATTERY_CLOCK) -> bool:
    """Set the system's clock, and the one with the battery where there is one; whether there is.

    Raises DeviceError. The system's clock is then set, if the one with the battery was refused.
    """
    try:
        time.clock_settime(time.CLOCK_REALTIME, at.timestamp())
    except OSError as error:
        raise DeviceError(f"the clock cannot be set ({error.strerror or error})") from None
    try:
        handle = os.open(battery, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise DeviceError(f"{battery}: cannot be opened ({error.strerror or error})") from None
    try:
        fcntl.ioctl(handle, RTC_SET_TIME, rtc_time(at))
    except OSError as error:
        raise DeviceError(f"{battery}: cannot be set ({error.strerror or error})") from None
    finally:
        os.close(handle)
    return True


def rtc_time(at: datetime) -> bytes:
    """The kernel's ``struct rtc_time``, in UTC."""
    utc = at.astimezone(UTC)
    return struct.pack(
        "9i", utc.second, utc.minute, utc.hour, utc.day, utc.month - 1, utc.year - 1900, 0, 0, 0
    )
