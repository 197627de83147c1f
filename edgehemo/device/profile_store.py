"""The calibration profiles of a device: which there are, which is in force, the one before."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgehemo.device.changing import change_device
from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.errors import ProfileError
from edgehemo.files.atomic import write_bytes_atomically
from edgehemo.files.lock import locked
from edgehemo.profile.profile import CalibrationProfile, load_profile, previous_path

# Below the data folder.
FOLDER = "profiles"
_SUFFIX = ".json"
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.-]+")
# So long may a profile's file be called.
_NAME_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class KeptProfile:
    """One profile. in_force: whether the device configuration names it. profile: None where it
    cannot be read, and problem says why.
    """

    path: Path
    in_force: bool
    profile: CalibrationProfile | None
    problem: str | None = None

    @property
    def has_previous(self) -> bool:
        """Whether there is one to go back to."""
        return previous_path(self.path).is_file()


def profile_folder(device: DeviceConfiguration) -> Path:
    """Where a device keeps its profiles; not made here."""
    return device.data_dir / FOLDER


def own_profile(device: DeviceConfiguration) -> Path | None:
    """The profile that the device configuration names."""
    return None if device.paths.profile is None else Path(device.paths.profile)


def kept_profiles(device: DeviceConfiguration) -> list[KeptProfile]:
    """All of them, the one in force first, wherever it lies."""
    own = own_profile(device)
    paths = sorted(profile_folder(device).glob(f"*{_SUFFIX}"))
    if own is not None:
        paths = [own, *(path for path in paths if not _same(path, own))]
    return [_kept(path, own is not None and _same(path, own)) for path in paths]


def _kept(path: Path, in_force: bool) -> KeptProfile:
    try:
        return KeptProfile(path, in_force, load_profile(path))
    except ProfileError as error:
        return KeptProfile(path, in_force, None, str(error))


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def install_profile(device: DeviceConfiguration, source: Path) -> Path:
    """Copy a profile among those of the device, byte by byte, so that its seal holds; where.

    One of the same name with another content is never replaced: the new one gets its revision and
    the beginning of its digest behind its name. Raises ProfileError for what is no profile.
    """
    profile = load_profile(source)
    stem = _NOT_IN_A_NAME.sub("-", source.stem).strip("-.")[:_NAME_CHARACTERS] or "profile"
    folder = profile_folder(device)
    target = folder / f"{stem}{_SUFFIX}"
    try:
        data = source.read_bytes()
        folder.mkdir(parents=True, exist_ok=True)
        with locked(target):
            if target.exists() and target.read_bytes() != data:
                named = f"{stem}-{profile.revision}-{profile.digest()[:8]}{_SUFFIX}"
                target = folder / named
            write_bytes_atomically(target, data)
    except OSError as error:
        raise ProfileError(f"{target}: cannot be written ({error.strerror or error})") from None
    # What is used is what was read back.
    if load_profile(target).digest() != profile.digest():
        raise ProfileError(f"{target}: was not copied whole; install it again")
    return target


def use_profile(path: Path) -> DeviceConfiguration:
    """Put a profile into force; the device configuration as it then is. Raises ProfileError for one
    that cannot be read, DeviceError where the configuration cannot be changed.
    """
    load_profile(path)
    return change_device({"paths": {"profile": str(path)}})


def roll_back_profile(path: Path) -> CalibrationProfile:
    """Go back to the profile that was there before; the one of now is kept in its place.

    Raises ProfileError where there is none, or it cannot be read.
    """
    before = previous_path(path)
    with locked(path):
        if not before.is_file():
            raise ProfileError(f"{path}: there is none from before to go back to")
        profile = load_profile(before)
        try:
            old, new = before.read_bytes(), path.read_bytes()
            write_bytes_atomically(path, old)
            write_bytes_atomically(before, new)
        except OSError as error:
            raise ProfileError(f"{path}: cannot be written ({error.strerror or error})") from None
    return profile
