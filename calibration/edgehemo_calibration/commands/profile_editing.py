"""What the calibrate commands share: which profile is extended, and how it is written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgehemo.commands import common
from edgehemo.errors import BundleError, UsageError
from edgehemo.version import __version__

if TYPE_CHECKING:
    from edgehemo.bundle.bundle import Bundle
    from edgehemo.estimate.network import FieldNetworks
    from edgehemo.images.frame import Frame
    from edgehemo.profile.profile import CalibrationProfile
    from edgehemo_calibration.measuring import Find

Command = TypeVar("Command", bound=Callable[..., Any])
path_type = click.Path(path_type=Path)


def profile_options(command: Command) -> Command:
    """``--out``, ``--profile``, ``--json`` and the names of microscope, camera and objective."""
    for option in (
        click.option("--objective", help="Name of the objective, kept in the profile."),
        click.option(
            "--camera",
            help="Name of the camera, kept in the profile; a specification such as "
            "uvc:/dev/video0 stands for the name that camera gives itself.",
        ),
        click.option("--microscope", help="Name of the microscope, kept in the profile."),
        click.option(
            "--profile",
            "base",
            metavar="FILE",
            type=path_type,
            help="Profile to extend; without it the one at --out, if there is one.",
        ),
        click.option(
            "--out", metavar="FILE", type=path_type, required=True, help="Profile to write."
        ),
        common.json_option,
    ):
        command = option(command)
    return command


def now() -> datetime:
    """The time, timezone-aware, to the second."""
    return datetime.now().astimezone().replace(microsecond=0)


def start(base: Path | None, out: Path, names: dict[str, str | None]) -> CalibrationProfile:
    """The profile to extend: the one named, else the one at ``out``, else a new one.

    Raises ProfileError where it belongs to another microscope, camera or objective than named.
    """
    from edgehemo.capture.sources import camera_spec
    from edgehemo.device.readiness import camera_names
    from edgehemo.errors import ProfileError
    from edgehemo.profile.profile import load_profile, new_profile

    source = base if base is not None else out if out.exists() else None
    given = {name: value for name, value in names.items() if value is not None}
    camera = given.get("camera")
    if camera is not None and camera_spec(camera) is not None:
        given["camera"] = camera_names(camera)[0]
    if source is None:
        profile = new_profile(now(), software_version=__version__)
        return profile.model_copy(update=given)
    profile = load_profile(source)
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
    part: str,
    content: dict[str, Any],
) -> None:
    """Write the profile and the JSON, and say where the analyser calibration stopped holding."""
    from edgehemo.profile.profile import save_profile

    save_profile(profile, out)
    if mismatch := profile.analyser_mismatch():
        click.echo(f"edgehemo: {mismatch}", err=True)
    if not profile.camera:
        click.echo(
            "edgehemo: the profile names no camera: give --camera, so that it is refused on "
            "another one",
            err=True,
        )
    record = {"calibrated": part, "profile": str(out), "profile_sha256": profile.digest()}
    common.write_json(json_file, "calibrate", {**record, "images": [], **content})


def cell_finder(bundle: Path | None) -> tuple[Find | None, Bundle | None]:
    """The cell finder this device screens with, and its bundle; None where there is none.

    A bundle that was asked for by name must open.
    """
    from edgehemo.device.equipment import open_finder

    try:
        _, opened, finder = open_finder(bundle)
    except BundleError as error:
        if bundle is not None:
            raise
        click.echo(f"edgehemo: without a cell finder, nothing is counted: {error}", err=True)
        return None, None
    return finder.find, opened


def field_networks(opened: Bundle | None) -> FieldNetworks | None:
    """The bundle's networks that read whole fields, as this device runs them; None without any."""
    from edgehemo.device.configuration import load_device
    from edgehemo.estimate.network import open_field_networks

    if opened is None:
        return None
    inference = load_device(None).inference
    return open_field_networks(
        opened,
        threads=inference.threads,
        runtime=inference.runtime,
        precision=inference.precision,
    )


def only_camera(sources: tuple[str, ...]) -> str | None:
    """The camera that the sources name, None where they are files.

    Raises UsageError where a camera is named beside other sources.
    """
    from edgehemo.capture import is_camera

    cameras = [source for source in sources if is_camera(source)]
    if not cameras:
        return None
    if len(sources) > 1:
        raise UsageError(f"{cameras[0]}: give either one camera or pictures, not both")
    return cameras[0]


def read_frames(sources: tuple[str, ...]) -> list[Frame]:
    """The pictures of files and folders, with a progress bar."""
    from edgehemo.images.reading import images_in, read_frame

    paths = images_in(sources)
    frames = []
    with common.Progress("reading", total=len(paths)) as progress:
        for path in paths:
            frames.append(read_frame(path))
            progress.advance()
    return frames
