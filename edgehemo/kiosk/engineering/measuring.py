"""Measures a part of the microscope: pictures in a folder of their own, and a trial of the profile.

The command that measures writes at once; a person first looks. So it extends a copy, with a device
configuration whose data lie in the same temporary folder, and what was accepted takes the profile's
place under its lock, where nobody changed that meanwhile.
"""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from edgehemo.device.configuration import (
    ENVIRONMENT_VARIABLE,
    DeviceConfiguration,
    configured_path,
)
from edgehemo.device.equipment import open_bundle
from edgehemo.device.named_profiles import FALLBACK_PROFILE, profile_text
from edgehemo.device.profile_store import own_profile, profile_folder
from edgehemo.device.toml_editing import with_values
from edgehemo.errors import ProfileError
from edgehemo.files.lock import locked
from edgehemo.profile.parts import FixedSettings
from edgehemo.profile.profile import CalibrationProfile, load_profile, save_profile

# Below the data folder; nobody but this user may look into it, and it does not last.
FOLDER = "calibrating"
PICTURES, TRIAL, DEVICE, DATA = "pictures", "trial.json", "device.toml", "data"
# What a new profile is called; the simulated microscope's own is never in force for another.
NEW_NAME, SIMULATED_NAME = "microscope.json", "simulated.json"


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where one part is measured. out: the profile that is extended. before: its digest then, None
    where there was none.
    """

    folder: Path
    out: Path
    before: str | None

    @property
    def pictures(self) -> Path:
        """Where the pictures lie."""
        return self.folder / PICTURES

    @property
    def trial(self) -> Path:
        """The copy that the command extends."""
        return self.folder / TRIAL

    @property
    def environment(self) -> dict[str, str]:
        """Of the command: a device whose records are nowhere else."""
        return {ENVIRONMENT_VARIABLE: str(self.folder / DEVICE)}


def profile_to_extend(source: str, device: DeviceConfiguration) -> Path:
    """The profile that is in force, else a new one among the device's."""
    if source.startswith("simulated:"):
        return profile_folder(device) / SIMULATED_NAME
    return own_profile(device) or profile_folder(device) / NEW_NAME


def begin(source: str, device: DeviceConfiguration) -> Workplace:
    """A new workplace; what was left of another is removed. Raises ProfileError where the profile
    that is to be extended cannot be read.
    """
    forget(device)
    out = profile_to_extend(source, device)
    profile = load_profile(out) if out.exists() else None
    folder = device.data_dir / FOLDER / secrets.token_hex(8)
    (folder / PICTURES).mkdir(parents=True, mode=0o700)
    folder.parent.chmod(0o700)
    folder.chmod(0o700)
    place = Workplace(folder, out, None if profile is None else profile.digest())
    if profile is not None:
        shutil.copyfile(out, place.trial)
    named = configured_path()
    text = profile_text(FALLBACK_PROFILE) if named is None else named.read_text("utf-8")
    paths = {
        "data": str(folder / DATA),
        "bundle": str(open_bundle(None, device).path),
        "profile": None,
    }
    (folder / DEVICE).write_text(with_values(text, {"paths": paths}), encoding="utf-8")
    return place


def forget(device: DeviceConfiguration) -> None:
    """Remove every picture and trial, also of a kiosk whose power went."""
    shutil.rmtree(device.data_dir / FOLDER, ignore_errors=True)


def accept(place: Workplace, settings: FixedSettings | None = None) -> CalibrationProfile:
    """Put the trial in the profile's place. settings: of the camera, under which its light was
    measured; None where the light was not.

    Raises ProfileError, and nothing is changed, where the profile is another than it was when the
    measurement began.
    """
    made = load_profile(place.trial)
    if settings is not None and made.illumination is not None:
        light = made.illumination.model_copy(update={"settings": settings})
        made = made.model_copy(update={"illumination": light, "seal": None})
        made = made if made.camera == "simulated" else made.sealed()
    with locked(place.out):
        now = load_profile(place.out).digest() if place.out.exists() else None
        if now != place.before:
            raise ProfileError(
                f"{place.out}: was changed since this measurement began; measure again"
            )
        save_profile(made, place.out)
    return made
