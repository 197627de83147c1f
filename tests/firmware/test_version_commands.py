"""The commands that change versions: what they say, and how they end."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgehemo.errors import EdgeHemoError, UsageError
from edgehemo_firmware.commands import device as device_command
from edgehemo_firmware.update import commands
from edgehemo_firmware.update.installing import Changing
from tests.support import media as support
from tests.support.media import TARGET, media_of, place_in


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Changing:
    """A device in a folder, in the place of this machine."""
    changing = Changing(place_in(tmp_path / "device"), TARGET)
    monkeypatch.setattr(commands, "_changing", lambda root: changing)
    return changing


def run(*arguments: str) -> Result:
    return CliRunner().invoke(device_command, arguments, standalone_mode=False)


def version(tmp_path: Path, number: str, faults: str = support.PASSES) -> str:
    return str(media_of(tmp_path / "media", number, faults=faults))


def test_an_update_is_proved_at_once_and_told(device: Changing, tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    done = run("update", "--media", version(tmp_path, "1.0"), "--json", str(told))
    assert (done.exception, done.return_value) == (None, 0)
    assert "edgehemo 1.0 is in force" in done.output
    assert json.loads(told.read_bytes()) == {
        "schema": "edgehemo.device-version/1", "outcome": "in force", "version": "1.0",
        "reason": "",
    }  # fmt: skip
    assert "building the version" in done.stderr and "stored slide" in done.stderr
    assert "nothing is on trial" in run("confirm").output


def test_one_that_is_not_kept_ends_with_1_and_the_start_of_a_device_with_0(
    device: Changing, tmp_path: Path
) -> None:
    run("update", "--media", version(tmp_path, "1.0"))
    broken = version(tmp_path, "1.1", support.FAILS_AFTER_THE_SWITCH)
    done = run("update", "--media", broken)
    assert done.return_value == 1 and "went back to edgehemo 1.0: the first check" in done.output
    again = run("update", "--media", broken, "--no-confirm")
    assert again.return_value == 0 and "on trial" in again.output
    # A proved version is in force: the kiosk may start.
    started = run("confirm")
    assert started.return_value == 0 and "went back to edgehemo 1.0" in started.output


def test_going_back_is_one_command(device: Changing, tmp_path: Path) -> None:
    run("update", "--media", version(tmp_path, "1.0"))
    refused = run("rollback")
    assert isinstance(refused.exception, EdgeHemoError)
    run("update", "--media", version(tmp_path, "1.1"))
    assert "edgehemo 1.0 is in force" in run("rollback").output


def test_only_root_changes_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for arguments in (["confirm"], ["rollback"], ["update", "--media", str(tmp_path)]):
        done = run(*arguments)
        assert isinstance(done.exception, UsageError) and "sudo" in str(done.exception)
