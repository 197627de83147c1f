"""What the operating system of a kiosk needs: device profiles, and later units and rules."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable


def device_profiles() -> Traversable:
    """The folder of device profiles, ``<name>.toml`` each (`edgehemo.device.named_profiles`)."""
    return files(__name__).joinpath("devices")
