"""May this device give results now, with this profile and on this camera?"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from edgehemo.capture.sources import camera_spec
from edgehemo.control.history import control_block, history_path, is_sealed
from edgehemo.device.clock import aware, clock_block, last_result
from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.errors import ProfileError, RecordsError, UsageError
from edgehemo.guidance.withheld import Withheld, withheld
from edgehemo.profile.profile import CalibrationProfile
from edgehemo.profile.seal import SealState
from edgehemo.records.controls import control_history
from edgehemo.records.store import Store

# What a profile of the simulated microscope calls its camera.
SIMULATED_CAMERA = "simulated"
_SYS_VIDEO = Path("/sys/class/video4linux")


def why_blocked(
    profile: CalibrationProfile | None,
    profile_path: Path | None,
    device: DeviceConfiguration,
    *,
    now: datetime,
    bundle_made_at: datetime | None = None,
) -> Withheld | None:
    """Why no result may be given at ``now`` (timezone-aware): a profile that was changed by hand, a
    clock that is not set, an expired calibration, or a control check that failed, is due or cannot
    be read. None where results may be given.

    bundle_made_at: of the model bundle in use; the clock cannot be earlier. The simulated
    microscope does not age: its profile does not expire and needs no clock.
    """
    if profile is None or profile_path is None:
        return None
    if profile.camera != SIMULATED_CAMERA:
        if profile.seal_state == "broken":
            return withheld("PROFILE_EDITED", profile=profile_path.name)
        dates = [("the calibration profile", at) for at in profile.dates()]
        if bundle_made_at is not None:
            dates.append(("the model bundle", aware(bundle_made_at)))
        if (last := last_result(device.data_dir)) is not None:
            dates.append(("the last result", last))
        if unset := clock_block(dates, now):
            return unset
    days = device.screening.calibration_expires_days
    expired = () if profile.camera == SIMULATED_CAMERA else profile.expired(now, days)
    if expired:
        return withheld(
            "CALIBRATION_EXPIRED",
            profile=profile_path.name,
            parts=", ".join(expired),
            days=days,
            commands=", ".join(f"`edgehemo calibrate {name}`" for name in expired),
        )
    if not profile.controls:
        return None
    try:
        records = control_history(Store.below(device.data_dir), profile, profile_path)
    except (ProfileError, RecordsError) as error:
        return withheld("CONTROL_HISTORY_UNREADABLE", problem=error)
    ahead = clock_block([("the control history", record.at) for record in records], now)
    return ahead or control_block(
        profile, records, now=now, expires_hours=device.screening.control_expires_hours
    )


# What a result says of the profile it stands on, by the state of its seal.
SEAL_NOTES: Mapping[SealState, str] = {
    "none": "the calibration profile is not sealed: a change by hand would not be noticed",
    "foreign": (
        "the calibration profile is sealed by a key that this device does not know: a change by "
        "hand would not be noticed"
    ),
    "broken": "the calibration profile was changed by hand after it was sealed",
}


def profile_notes(profile: CalibrationProfile | None, profile_path: Path | None) -> tuple[str, ...]:
    """What every result on this profile must say; nothing of the simulated microscope's."""
    if profile is None or profile_path is None or profile.camera == SIMULATED_CAMERA:
        return ()
    notes = []
    if (note := SEAL_NOTES.get(profile.seal_state)) is not None:
        notes.append(note)
    if profile.controls and not is_sealed(history_path(profile_path)):
        notes.append("the control history is not sealed: a change by hand would not be noticed")
    return tuple(notes)


def refuse_simulated_profile(
    profile: CalibrationProfile | None, profile_name: str | None, sources: Sequence[str]
) -> None:
    """Raise UsageError where the simulated microscope's profile would judge real pictures."""
    if profile is None or profile.camera != SIMULATED_CAMERA:
        return
    if any(not source.startswith(f"{SIMULATED_CAMERA}:") for source in sources):
        raise UsageError(
            f"{profile_name} was made on the simulated microscope and is not valid for anything "
            "else; name the profile of this microscope with --profile"
        )


def refuse_another_camera(
    profile: CalibrationProfile | None,
    profile_name: str | None,
    sources: Sequence[str],
    device: DeviceConfiguration,
) -> None:
    """Raise ProfileError, one line, where a camera among ``sources`` is not the profile's own.

    A profile that names no camera is taken for any; files name none.
    """
    if profile is None or not profile.camera:
        return
    for source in sources:
        spec = camera_spec(source)
        if spec is None:
            continue
        names = camera_names(source)
        own = device.camera
        if own.name is not None and own.source is not None and _named(own.source) == spec.name:
            names = (own.name, *names)
        if profile.camera not in names:
            raise ProfileError(
                f"{profile_name}: was made for the camera {profile.camera!r} and is not valid for "
                f"another; this one is {names[0]!r}. Calibrate this camera. If it is the same "
                "camera, give it that name under [camera] in the device configuration"
            )


def camera_names(source: str, sys_video: Path = _SYS_VIDEO) -> tuple[str, ...]:
    """What a camera's specification may be called in a profile, the most telling name first.

    A USB camera by the name it gives itself, since the next one plugged in gets the same
    ``/dev/video0``; only where the kernel tells none, by that.
    """
    spec = camera_spec(source)
    if spec is None:
        return ()
    if spec.scheme == SIMULATED_CAMERA:
        return (SIMULATED_CAMERA,)
    if spec.scheme == "uvc":
        # A link such as those of /dev/v4l/by-id is known to the kernel by what it leads to.
        try:
            node = Path(os.path.realpath(spec.target)).name
            label = (sys_video / node / "name").read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            label = ""
        if label:
            return (f"uvc:{label}",)
    return (spec.name,)


def _named(source: str) -> str | None:
    spec = camera_spec(source)
    return None if spec is None else spec.name
