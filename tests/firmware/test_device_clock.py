"""The device's clock is read off a watch and set; what cannot be a time is refused."""

from __future__ import annotations

import fcntl
import json
import struct
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgehemo.device.clock import note_result
from edgehemo.errors import DeviceError, UsageError
from edgehemo_firmware import clock_setting
from edgehemo_firmware.clock_setting import read_moment, rtc_time, set_clock
from edgehemo_firmware.commands import device

AT = datetime(2026, 11, 27, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2026-11-27 14:30", "2026-11-27 14:30:00", " 2026-11-27T14:30 "])
def test_a_date_and_time_is_of_this_device_s_zone(text: str) -> None:
    found = read_moment(text)
    assert found.tzinfo is not None
    assert found.replace(tzinfo=None) == datetime(2026, 11, 27, 14, 30)


@pytest.mark.parametrize(
    "text",
    ["", "14:30", "27.11.2026 14:30", "2026-02-30 10:00", "1970-01-01 00:00"],
)
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="write it as 2026-11-27 14:30"):
        read_moment(text)


def test_the_battery_s_clock_is_told_utc_as_the_kernel_has_it() -> None:
    assert struct.unpack("9i", rtc_time(AT)) == (0, 30, 14, 27, 10, 126, 0, 0, 0)


def test_both_clocks_are_set_where_there_are_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    monkeypatch.setattr(time, "clock_settime", lambda which, at: told.append(at))
    monkeypatch.setattr(fcntl, "ioctl", lambda handle, number, data: told.append((number, data)))
    assert not set_clock(AT, str(tmp_path / "none"))
    assert told == [AT.timestamp()]
    battery = tmp_path / "rtc0"
    battery.touch()
    assert set_clock(AT, str(battery))
    assert told[2] == (clock_setting.RTC_SET_TIME, rtc_time(AT))


def test_a_clock_that_is_refused_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(time, "clock_settime", refuse)
    with pytest.raises(DeviceError, match="cannot be set"):
        set_clock(AT)


def test_a_clock_before_the_newest_result_is_not_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "device.toml"
    data = tmp_path / "data"
    data.mkdir()
    file.write_text(
        'schema = "edgehemo.device/1"\nname = "x"\nboard = "workstation"\n'
        f"[paths]\ndata = '{data}'\n"
    )
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(file))
    assert asked() == (0, False)
    note_result(data, datetime(2099, 1, 1, tzinfo=UTC))
    assert asked() == (1, True)


def asked() -> tuple[int, bool]:
    result = CliRunner().invoke(device, ["clock", "--json", "-"], standalone_mode=False)
    assert result.exception is None
    return result.return_value or 0, json.loads(result.output)["behind"]
