"""Which calibration profile a camera of the kiosk is read with."""

from __future__ import annotations

from pathlib import Path

from edgehemo.capture.sources import camera_spec
from edgehemo.demo.demonstration import SIMULATED_PROFILE
from edgehemo.device.configuration import DeviceConfiguration


def profile_path(source: str, device: DeviceConfiguration) -> Path | None:
    """The device's own; of the simulated microscope the one that is shipped for it, whose numbers
    say that they are simulated. None without one.
    """
    spec = camera_spec(source)
    if spec is not None and spec.scheme == "simulated":
        return SIMULATED_PROFILE
    return None if device.paths.profile is None else Path(device.paths.profile)
