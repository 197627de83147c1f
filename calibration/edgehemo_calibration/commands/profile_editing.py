"""Which profile a command extends or checks, and how it is written."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgehemo.commands import common
from edgehemo.errors import ProfileError, UsageError
from edgehemo.files.lock import locked
from edgehemo.version import __version__

if TYPE_CHECKING:
    from edgehemo.profile.profile import CalibrationProfile
    from edgehemo_calibration.output import Written

log = logging.getLogger(__name__)

# One standard deviation of a scale that was typed in and not measured here.
GIVEN_SCALE_UNCERTAINTY = 0.02


def now() -> datetime:
    """The time, timezone-aware, to the second."""
    return datetime.now().astimezone().replace(microsecond=0)


def start(base: Path | None, out: Path, names: dict[str, str | None]) -> CalibrationProfile:
    """The profile to extend: the one named, else the one at ``out``, else a new one.

    Until the command has ended no other one extends the profile at ``out``: what both measure is
    kept. Raises ProfileError where it belongs to another microscope, camera or objective than
    named.
    """
    from edgehemo.capture.sources import camera_spec
    from edgehemo.device.readiness import camera_names
    from edgehemo.profile.profile import load_profile, new_profile

    if (command := click.get_current_context(silent=True)) is not None:
        command.with_resource(locked(out))
    source = base if base is not None else out if out.exists() else None
    given = {name: value for name, value in names.items() if value is not None}
    camera = given.get("camera")
    if camera is not None and camera_spec(camera) is not None:
        given["camera"] = camera_names(camera)[0]
    if source is None:
        profile = new_profile(now(), software_version=__version__)
        return profile.model_copy(update=given)
    profile = load_profile(source)
    if profile.seal_state == "broken":
        raise ProfileError(
            f"{source}: was changed by hand after it was sealed, and is not extended: put back "
            "the file as it was written, or begin a new profile at another --out"
        )
    other = [
        f"{name} {getattr(profile, name)!r}, not {value!r}"
        for name, value in given.items()
        if getattr(profile, name) not in ("", value)
    ]
    if other:
        raise ProfileError(
            f"{source}: was made for {'; '.join(other)}: begin a new profile at another --out"
        )
    return profile.model_copy(
        update={**given, "software_version": __version__, "revision": profile.revision + 1}
    )


def finish(
    profile: CalibrationProfile,
    out: Path,
    json_file: str | None,
    output: Written,
) -> None:
    """Write the profile and the JSON, and say where the analyser calibration stopped holding."""
    from edgehemo.device.readiness import SIMULATED_CAMERA
    from edgehemo.device.recorded import note_in_chain
    from edgehemo.profile.profile import save_profile

    # The simulated microscope's profile ships with the package, whose makers keep no sealing key. A
    # seal of before its camera was named would be broken.
    simulated = profile.camera == SIMULATED_CAMERA
    save_profile(profile.model_copy(update={"seal": None}) if simulated else profile.sealed(), out)
    said = {"calibrated": output.calibrated, "revision": profile.revision}
    note_in_chain("profile changed", {**said, "sha256": profile.digest()})
    log.info("profile written: %s measured, revision %d", output.calibrated, profile.revision)
    if mismatch := profile.analyser_mismatch():
        common.complain(mismatch.reason)
    if not profile.camera:
        click.echo(
            "edgehemo: the profile names no camera: give --camera, so that it is refused on "
            "another one",
            err=True,
        )
    common.write_json(json_file, output)


def profile_of(path: Path | None) -> tuple[Path, CalibrationProfile]:
    """The profile named, else the device's. Raises UsageError where there is none."""
    from edgehemo.device.configuration import load_device
    from edgehemo.profile.profile import load_profile

    if path is None:
        configured = load_device(None).paths.profile
        if configured is None:
            raise UsageError("name the profile with --profile")
        path = Path(configured)
    return path, load_profile(path)
