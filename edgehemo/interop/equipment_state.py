"""How a device's camera, model bundle and board are, for whoever looks after many.

Each look stands alone: what one cannot find out is left out, and keeps back none of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from edgehemo.capture.sources import camera_spec
from edgehemo.device.board import BoardState
from edgehemo.device.cameras_found import sensors_found
from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.device.equipment import open_bundle
from edgehemo.device.machine import Machine, this_machine
from edgehemo.errors import EdgeHemoError
from edgehemo.interop.health import CameraState, EquipmentState

T = TypeVar("T")


def equipment_state(device: DeviceConfiguration, machine: Machine | None = None) -> EquipmentState:
    """Look at everything; never raises for what is wrong with the device."""
    at = this_machine() if machine is None else machine
    return EquipmentState(
        bundle_sha256=_if_known(lambda: open_bundle(None, device).digest),
        camera=_if_known(lambda: _camera(device, at)),
        celsius=_if_known(lambda: BoardState.read(at).celsius),
    )


def _if_known(look: Callable[[], T | None]) -> T | None:
    try:
        return look()
    except (EdgeHemoError, OSError, ValueError):
        return None


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
