"""How a device's camera, model bundle, calibration and board are, for whoever looks after many.

Each look stands alone: what one cannot find out is left out, and keeps back none of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from edgehemo.capture.sources import camera_spec
from edgehemo.device.board import BoardState
from edgehemo.device.cameras_found import sensors_found
from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.device.equipment import open_bundle
from edgehemo.device.machine import Machine, this_machine
from edgehemo.device.readiness import why_blocked
from edgehemo.errors import EdgeHemoError
from edgehemo.interop.health import CameraState, ControlState, EquipmentState
from edgehemo.profile.profile import load_profile

# What a block by the control slides says of them; another block says nothing of them.
_CONTROLS: Mapping[str, ControlState] = {
    "CONTROL_DUE": "due",
    "CONTROL_MISSING": "due",
    "CONTROL_FAILED": "failed",
    "CONTROL_CLOCK_WRONG": "unreadable",
    "CONTROL_HISTORY_UNREADABLE": "unreadable",
}
T = TypeVar("T")


def equipment_state(
    device: DeviceConfiguration, now: datetime, machine: Machine | None = None
) -> EquipmentState:
    """Look at everything; never raises for what is wrong with the device. now: timezone-aware."""
    at = this_machine() if machine is None else machine
    control, blocked = _if_known(lambda: _control(device, now)) or (None, None)
    return EquipmentState(
        bundle_sha256=_if_known(lambda: open_bundle(None, device).digest),
        control=control,
        blocked=blocked,
        camera=_if_known(lambda: _camera(device, at)),
        celsius=_if_known(lambda: BoardState.read(at).celsius),
    )


def _if_known(look: Callable[[], T | None]) -> T | None:
    try:
        return look()
    except (EdgeHemoError, OSError, ValueError):
        return None


def _control(device: DeviceConfiguration, now: datetime) -> tuple[ControlState | None, str | None]:
    if device.paths.profile is None:
        return "none", None
    path = Path(device.paths.profile)
    profile = load_profile(path)
    why = why_blocked(profile, path, device, now=now)
    if not profile.controls:
        return "none", None if why is None else why.code
    if why is None:
        return "in order", None
    return _CONTROLS.get(why.code), why.code


def _camera(device: DeviceConfiguration, machine: Machine) -> CameraState | None:
    spec = None if device.camera.source is None else camera_spec(device.camera.source)
    if spec is None:
        return None
    if spec.scheme == "simulated":
        return "simulated"
    if spec.scheme == "uvc":
        return "there" if (machine.root / spec.target.lstrip("/")).exists() else "missing"
    if spec.scheme == "picamera2":
        return "there" if sensors_found(machine) else "missing"
    return None
