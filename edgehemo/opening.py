"""Opens what a screening runs on: the device configuration, the bundle, the profile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgehemo.bundle import Bundle, load_bundle
from edgehemo.cells.finder import CellFinder, open_cell_finder
from edgehemo.device import DeviceConfiguration, load_device
from edgehemo.profile import CalibrationProfile, load_profile


@dataclass(frozen=True, slots=True)
class Equipment:
    """The three artefacts of this device, opened; profile and its name are None without one."""

    device: DeviceConfiguration
    bundle: Bundle
    finder: CellFinder
    profile: CalibrationProfile | None
    profile_name: str | None

    @property
    def envelope(self) -> dict[str, Any] | None:
        """Where the cell finder's training fields lay; outside it quality refuses."""
        return self.bundle.envelope("cell_finder")


def open_finder(bundle: str | Path | None) -> tuple[DeviceConfiguration, Bundle, CellFinder]:
    """This device's configuration, and the bundle named, else configured, else shipped, opened.

    Raises DeviceError or BundleError, one line each.
    """
    device = load_device(None)
    path = bundle if bundle is not None else device.paths.bundle
    loaded = load_bundle(Path(path) if path is not None else None)
    finder = open_cell_finder(
        loaded,
        threads=device.inference.threads,
        runtime=device.inference.runtime,
        precision=device.inference.precision,
    )
    return device, loaded, finder


def open_equipment(bundle: str | Path | None, profile: str | Path | None) -> Equipment:
    """Open what was named, else what the device configuration names, else what is shipped.

    Raises DeviceError, BundleError or ProfileError, one line each.
    """
    device, loaded_bundle, finder = open_finder(bundle)
    profile_path = profile if profile is not None else device.paths.profile
    return Equipment(
        device=device,
        bundle=loaded_bundle,
        finder=finder,
        profile=load_profile(profile_path) if profile_path is not None else None,
        profile_name=Path(profile_path).name if profile_path is not None else None,
    )
