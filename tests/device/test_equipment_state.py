"""How camera, bundle and board are, for whoever looks after many devices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgehemo.bundle.bundle import load_bundle
from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.device.machine import Machine, this_machine
from edgehemo.interop.equipment_state import equipment_state
from edgehemo.interop.health import EquipmentState


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
    found = equipment_state(device(camera=camera), at)
    assert found == EquipmentState(load_bundle().digest, "missing", 51.2)
    node.touch()
    assert equipment_state(device(camera=camera), at).camera == "there"
    simulated = equipment_state(device(camera={"source": "simulated:"}), at)
    assert simulated.camera == "simulated"
    sensor = equipment_state(device(camera={"source": "picamera2:0"}), at)
    assert sensor.camera == "missing"


def test_what_cannot_be_found_out_keeps_back_nothing_else(tmp_path: Path) -> None:
    wrong = {"bundle": str(tmp_path / "none")}
    found = equipment_state(device(paths=wrong), board(tmp_path))
    assert found == EquipmentState(celsius=51.2)
