"""The self-check by its real causes: each thing that can be wrong is made wrong, and is named."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edgehemo.bundle.bundle import SHIPPED_BUNDLE
from edgehemo.control.history import history_path
from edgehemo.device.configuration import load_device
from edgehemo.kiosk.selfcheck import control_line, in_order, stored_checks
from edgehemo.kiosk.state import Checked
from edgehemo.kiosk.worker import _Worker
from edgehemo.profile.profile import CalibrationProfile, new_profile, save_profile
from edgehemo.records.controls import keep_control
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Writer
from tests.device.test_calibration_validity import profile as calibrated_profile
from tests.support.control_slides import append_record, check_of, profile_with_slide

NOW = datetime.now(UTC)
SLIDE = "simulated:?fields=3&width=320&height=240"


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Sets a device up whose own profile is read, and names the profile's file."""
    file = tmp_path / "device.toml"
    path = tmp_path / "profile.json"
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(file))
    # The simulated microscope is read with the profile that is shipped for it; here it stands for
    # a camera that has one of its own.
    monkeypatch.setattr("edgehemo.kiosk.worker.profile_path", lambda _source, _device: path)

    def configured(profile: CalibrationProfile | None = None, paths: str = "") -> Path:
        file.write_text(
            'schema = "edgehemo.device/1"\nname = "bench"\nboard = "workstation"\n'
            f"[paths]\ndata = '{tmp_path / 'data'}'\nprofile = '{path}'\n{paths}"
        )
        if profile is not None:
            save_profile(profile, path)
        return path

    return configured


def checks(source: str = SLIDE) -> dict[str, Checked]:
    """What the self-check found, by what was looked at."""
    here, there = multiprocessing.Pipe()
    found = list(_Worker(there, source)._checks(source))
    here.close()
    assert len({each.name for each in found}) == len(found)
    return {each.name: each for each in found}


def with_control(*ages: tuple[timedelta, float]) -> tuple[CalibrationProfile, list[Any]]:
    """A profile with a control slide, and checks of it: how long ago, by how much it was off."""
    profile = profile_with_slide().model_copy(update={"camera": "", "created_at": NOW})
    records: list[Any] = []
    for age, off in ages:
        records.append(check_of(profile, NOW - age, *records, hgb_index=off))
    return profile, records


def old() -> CalibrationProfile:
    return calibrated_profile(made_at=NOW - timedelta(days=200))


def test_a_device_in_order_blocks_nothing(device: Callable[..., Path]) -> None:
    profile, records = with_control((timedelta(hours=1), 0.0))
    path = device(profile)
    append_record(history_path(path), records[0])
    found = checks()
    assert {name: each.verdict for name, each in found.items()} == dict.fromkeys(
        ("bundle", "profile", "camera", "lamp"), "good"
    )


def test_an_old_calibration_has_expired(device: Callable[..., Path]) -> None:
    device(old())
    assert checks()["profile"].code == "CALIBRATION_EXPIRED"


def test_a_profile_that_was_edited_by_hand(device: Callable[..., Path]) -> None:
    path = device(new_profile(NOW, software_version="0.1.0", microscope="No 7").sealed())
    text = path.read_text()
    assert "No 7" in text
    path.write_text(text.replace("No 7", "No 8"))
    assert checks()["profile"].code == "PROFILE_EDITED"


@pytest.mark.parametrize("content", ["", "{", '{"schema": "edgehemo.profile/1"}', "\0" * 100])
def test_a_profile_that_is_none(device: Callable[..., Path], content: str) -> None:
    device().write_text(content)
    assert checks()["profile"].code == "PROFILE_REFUSED"


def test_the_profile_of_another_camera(device: Callable[..., Path]) -> None:
    device(new_profile(NOW, software_version="0.1.0", camera="HQ camera"))
    found = checks()["profile"]
    assert found.code == "PROFILE_REFUSED"
    assert found.blocks


@pytest.mark.parametrize(
    ("ages", "code"),
    [
        ((), "CONTROL_MISSING"),
        (((timedelta(hours=40), 0.0),), "CONTROL_DUE"),
        (((timedelta(hours=1), 1.0),), "CONTROL_FAILED"),
    ],
)
def test_a_control_slide_that_is_due_or_failed(
    device: Callable[..., Path], ages: tuple[tuple[timedelta, float], ...], code: str
) -> None:
    profile, records = with_control(*ages)
    path = device(profile)
    for record in records:
        append_record(history_path(path), record)
    found = checks()["control"]
    assert found.code == code
    assert found.blocks


def test_a_control_history_that_was_changed_is_not_in_order(device: Callable[..., Path]) -> None:
    profile, records = with_control((timedelta(hours=1), 1.0))
    path = device(profile)
    append_record(history_path(path), records[0])
    text = history_path(path).read_text()
    history_path(path).write_text(text.replace('"passed": false', '"passed": true'))
    found = checks()
    assert found["control"].code == "CONTROL_HISTORY_UNREADABLE"
    assert "profile" not in found


def test_a_clock_that_is_not_set(device: Callable[..., Path], tmp_path: Path) -> None:
    """A calibration of tomorrow: no result is given, and the line of the clock says so too."""
    device(new_profile(NOW + timedelta(days=30), software_version="0.1.0"))
    found = checks()["clock"]
    assert found.code == "CLOCK_UNSET"
    assert found.blocks


@pytest.mark.parametrize("harm", ["changed", "missing", "no manifest"])
def test_a_bundle_that_was_harmed_is_refused(
    device: Callable[..., Path], tmp_path: Path, harm: str
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(SHIPPED_BUNDLE, bundle)
    device(new_profile(NOW, software_version="0.1.0"), f"bundle = '{bundle}'\n")
    assert checks()["bundle"].verdict == "good"
    model = max(bundle.rglob("*.onnx"), key=lambda file: file.stat().st_size)
    if harm == "changed":
        data = bytearray(model.read_bytes())
        data[len(data) // 2] ^= 1
        model.write_bytes(data)
    elif harm == "missing":
        model.unlink()
    else:
        (bundle / "manifest.json").unlink()
    found = checks()
    assert found["bundle"].code == "BUNDLE_REFUSED"
    assert found["bundle"].blocks


@pytest.mark.parametrize(
    ("fault", "about", "code"),
    [
        ("unplugged", "camera", "CAMERA_NOT_FOUND"),
        ("frozen", "camera", "CAMERA_FROZEN"),
        ("timeout", "camera", "CAMERA_TIMEOUT"),
        ("dark", "lamp", "LAMP_OFF"),
    ],
)
def test_a_camera_that_fails_is_named(
    device: Callable[..., Path], fault: str, about: str, code: str
) -> None:
    device(new_profile(NOW, software_version="0.1.0"))
    found = checks(f"{SLIDE}&fault={fault}")
    assert found[about].code == code
    assert found[about].blocks
    if fault == "dark":
        assert found["camera"].verdict == "good"


def test_a_camera_that_was_there_was_pulled(device: Callable[..., Path], tmp_path: Path) -> None:
    device(new_profile(NOW, software_version="0.1.0"))
    said = tmp_path / "faults"
    source = f"{SLIDE}&faults_from={said}"
    here, there = multiprocessing.Pipe()
    worker = _Worker(there, source)

    def code() -> str | None:
        return {each.name: each.code for each in worker._checks(source)}["camera"]

    said.write_text("unplugged")
    assert code() == "CAMERA_NOT_FOUND"
    said.unlink()
    assert code() is None
    said.write_text("unplugged")
    assert code() == "CAMERA_UNPLUGGED"
    here.close()


def test_no_camera_and_a_setting_that_it_refuses(device: Callable[..., Path]) -> None:
    device(new_profile(NOW, software_version="0.1.0"))
    assert checks("uvc:/dev/video97")["camera"].code == "CAMERA_NOT_FOUND"
    device(
        new_profile(NOW, software_version="0.1.0"),
        "[camera]\nsource = 'simulated:'\ngain = 500.0\n",
    )
    assert checks()["camera"].code == "CAMERA_SETTING_REFUSED"


def test_a_device_without_a_profile_may_go_on(
    device: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    device()
    monkeypatch.setattr("edgehemo.kiosk.worker.profile_path", lambda *_: None)
    monkeypatch.setattr("edgehemo.device.configuration.PathsSection.profile", None, raising=False)
    found = checks()
    assert found["profile"].code == "CALIBRATION_NONE"
    assert not found["profile"].blocks


def test_each_thing_is_shown_once_as_the_worst_that_was_found() -> None:
    good = Checked(name="clock", verdict="good")
    soon = Checked(name="clock", verdict="soon", code="CLOCK_UNSET")
    fails = Checked(name="clock", verdict="fails", code="CLOCK_UNSET", blocks=True)
    camera = Checked(name="camera", verdict="good")
    assert in_order([fails, good, camera]) == (camera, fails)
    assert in_order([soon, camera, fails]) == (camera, fails)


def test_the_storage_says_low_and_full(
    device: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device()
    configuration = load_device(None)
    with Writer(RecordsFolder(tmp_path / "data" / "records")) as writer:
        found = {}
        for free in (0, 10**9):
            monkeypatch.setattr("edgehemo.kiosk.selfcheck.free_mb", lambda _, free=free: free)
            lines = stored_checks(writer, configuration, NOW)
            found[free] = next(each for each in lines if each.name == "storage")
    assert (found[0].code, found[0].blocks) == ("RECORDS_FULL", True)
    assert found[10**9].verdict == "good"


def test_the_control_slide_says_when_it_was_checked_last(tmp_path: Path) -> None:
    profile = profile_with_slide()
    with Writer(RecordsFolder(tmp_path / "records")) as writer:
        assert control_line(writer, None) == Checked(
            name="control", verdict="unset", code="CONTROL_NONE"
        )
        assert control_line(writer, profile).fact == ""
        check = check_of(profile, NOW)
        keep_control(writer, profile, tmp_path / "profile.json", check, by="test")
        fact = control_line(writer, profile).fact
        assert datetime.fromisoformat(fact) == NOW.replace(second=0, microsecond=0)
