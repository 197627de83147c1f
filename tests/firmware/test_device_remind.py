"""A control slide that will be due during the day is said in the morning."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgehemo.device.due_today import due_today
from edgehemo.guidance.withheld import Withheld, withheld
from edgehemo.records.clock import now
from edgehemo_firmware import reminding
from edgehemo_firmware.commands import device
from edgehemo_firmware.reminding import REMIND_AHEAD


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    file = tmp_path / "device.toml"
    file.write_text(
        'schema = "edgehemo.device/1"\nname = "x"\nboard = "workstation"\n'
        f"[paths]\ndata = '{folder}'\nprofile = '{tmp_path / 'profile.json'}'\n"
    )
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(file))
    monkeypatch.setattr(reminding, "load_profile", lambda path: path)
    return folder


def asked() -> tuple[int, str | None]:
    result = CliRunner().invoke(device, ["remind", "--json", "-"], standalone_mode=False)
    assert result.exception is None
    code: str | None = json.loads(result.output)["code"]
    return result.return_value or 0, code


def test_what_will_be_due_within_the_day_is_said_and_forgotten_when_it_is_not(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = now() + timedelta(hours=5)

    def blocked(*_: object, now: datetime) -> Withheld | None:
        return withheld("CONTROL_DUE", at="yesterday", hours=30) if now > ends else None

    monkeypatch.setattr(reminding, "why_blocked", blocked)
    assert asked() == (1, "CONTROL_DUE")
    assert due_today(data, now()) == "CONTROL_DUE"
    assert due_today(data, now() + REMIND_AHEAD + timedelta(minutes=1)) is None
    monkeypatch.setattr(reminding, "why_blocked", lambda *_, now: None)
    assert asked() == (0, None)
    assert due_today(data, now()) is None


def test_a_device_without_a_calibration_has_nothing_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "device.toml"
    file.write_text('schema = "edgehemo.device/1"\nname = "x"\nboard = "workstation"\n')
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(file))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    assert asked() == (0, None)
    assert not (tmp_path / "share").exists()
