"""How camera, bundle, calibration and board are, for whoever looks after many devices."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgehemo.bundle.bundle import load_bundle
from edgehemo.demo.demonstration import SIMULATED_PROFILE
from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.device.machine import Machine, this_machine
from edgehemo.guidance.withheld import withheld
from edgehemo.interop import equipment_state as looked_at
from edgehemo.interop.equipment_state import equipment_state
from edgehemo.interop.health import EquipmentState

NOW = datetime(2026, 11, 27, tzinfo=UTC)


def device(**given: object) -> DeviceConfiguration:
    values = {"schema": "edgehemo.device/1", "name": "kiosk", "board": "workstation", **given}
    return DeviceConfiguration.model_validate(values)


def board(root: Path, millidegrees: int = 51_200) -> Machine:
    zone = root / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "temp").write_text(f"{millidegrees}\n")
    return replace(this_machine(), root=root)


def test_what_is_there_is_told(tmp_path: Path) -> None:
    node = tmp_path / "dev/video0"
    node.parent.mkdir()
    camera = {"source": "uvc:/dev/video0"}
    at = board(tmp_path)
    found = equipment_state(device(camera=camera), NOW, at)
    assert found == EquipmentState(load_bundle().digest, "none", None, "missing", 51.2)
    node.touch()
    assert equipment_state(device(camera=camera), NOW, at).camera == "there"
    simulated = equipment_state(device(camera={"source": "simulated:"}), NOW, at)
    assert simulated.camera == "simulated"
    sensor = equipment_state(device(camera={"source": "picamera2:0"}), NOW, at)
    assert sensor.camera == "missing"


def test_what_cannot_be_found_out_keeps_back_nothing_else(tmp_path: Path) -> None:
    wrong = {"bundle": str(tmp_path / "none"), "profile": str(tmp_path / "none.json")}
    found = equipment_state(device(paths=wrong), NOW, board(tmp_path))
    assert found == EquipmentState(celsius=51.2)


@pytest.mark.parametrize(
    ("code", "control"),
    [
        ("CONTROL_DUE", "due"),
        ("CONTROL_MISSING", "due"),
        ("CONTROL_FAILED", "failed"),
        ("CONTROL_HISTORY_UNREADABLE", "unreadable"),
        ("CLOCK_UNSET", None),
        (None, "in order"),
    ],
)
def test_how_the_control_slides_stand(
    code: str | None, control: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Profile:
        controls = ("a slide",)

    monkeypatch.setattr(looked_at, "load_profile", lambda _: Profile())
    why = None if code is None else withheld(code)  # type: ignore[arg-type]
    monkeypatch.setattr(looked_at, "why_blocked", lambda *_, **__: why)
    paths = {"profile": str(SIMULATED_PROFILE)}
    found = equipment_state(device(paths=paths), NOW, board(tmp_path))
    assert (found.control, found.blocked) == (control, code)
