"""`edgehemo.screen`: from sources to a reading, and to result.json and report.html beside it.

The edge of the pure parts: opens the three artefacts, reads frames, knows the time and writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgehemo.capture import CameraSettings, LiveCapture, frames, is_camera
from edgehemo.device.equipment import Equipment, open_equipment
from edgehemo.device.readiness import SIMULATED_CAMERA, refuse_another_camera
from edgehemo.errors import UsageError
from edgehemo.quality.focus import frame_sharpness
from edgehemo.report.folder import REPORT_FILE, OutputFolder
from edgehemo.report.result import Provenance, ScreeningResult
from edgehemo.screening.field import FieldReading
from edgehemo.screening.sample import (
    Screening,
    StopRule,
    UnreadableImage,
    screen_frames,
)

if TYPE_CHECKING:
    from edgehemo.anaemia.who_grade import Person
    from edgehemo.images.frame import Frame

Source = str | Path
OnImage = Callable[[FieldReading | UnreadableImage], None]

# A live sample of which so many frames were looked at stops, whatever was accepted of them.
EXAMINED_PER_LIVE_SAMPLE = 60
# Where a counting error is asked for: +-4 % needs 2,400 cells, 120 fields of 20.
EXAMINED_FOR_COUNTING_ERROR = 240


def screen(
    sources: Source | Sequence[Source],
    out: Source | None = None,
    *,
    bundle: Source | None = None,
    profile: Source | None = None,
    um_per_px: float | None = None,
    person: Person | None = None,
    fields: int | None = None,
    counting_error: float | None = None,
    live: LiveCapture | None = None,
    on_image: OnImage | None = None,
) -> ScreeningResult:
    """Screen the images of one sample.

    sources: files, folders, videos or cameras (``simulated:``). out: a folder for result.json,
    report.html and the annotated fields; None writes nothing. bundle: another model bundle than
    the device's. profile: this microscope's calibration profile instead of the device's; without
    any there are indices and no concentrations. um_per_px: the scale, where no profile says it.
    person: for the WHO grade. fields: stop after so many accepted fields (a camera without it:
    as the device configuration says; files: all). counting_error: stop once the red count's
    relative 95 % error has fallen to this. live: how fields are taken from a camera without a
    stage; focus is judged as quality does unless it brings a judge of its own. on_image: called
    with each result.

    An unreadable image is recorded and the rest goes on. Raises BundleError, ProfileError,
    DeviceError or UsageError before anything is read, OSError where ``out`` cannot be written.
    """
    given = [str(s) for s in ([sources] if isinstance(sources, str | Path) else sources)]
    equipment = open_equipment(bundle, profile)
    _refuse_the_simulated_profile(given, equipment)
    refuse_another_camera(equipment.profile, equipment.profile_name, given, equipment.device)
    camera = any(is_camera(source) for source in given)
    if camera and fields is None and counting_error is None:
        counting_error = equipment.device.screening.counting_error
    wanted, examined = fields, None
    if camera and counting_error is not None:
        examined = EXAMINED_FOR_COUNTING_ERROR
    elif camera:
        examined = EXAMINED_PER_LIVE_SAMPLE
        wanted = equipment.device.screening.fields_wanted if fields is None else fields
    screening = Screening(
        finder=equipment.finder,
        profile=equipment.profile,
        person=person,
        um_per_px=um_per_px,
        bundle_sha256=equipment.bundle.digest,
        envelope=equipment.envelope,
        rule=StopRule(wanted, counting_error=counting_error, examined_fields=examined),
        blocked=equipment.blocked,
        typer=equipment.open_typer(),
        networks=equipment.open_networks(),
    )
    folder = OutputFolder(Path(out)) if out is not None else None

    simulated = False

    def keep(result: FieldReading | UnreadableImage, frame: Frame | None) -> None:
        nonlocal simulated
        simulated |= frame is not None and bool(frame.metadata.get("simulated", False))
        if folder is not None:
            folder.add(result, frame)
        if on_image is not None:
            on_image(result)

    settings = _camera_settings(equipment)
    judge = partial(frame_sharpness, profile=equipment.profile, um_per_px=um_per_px)
    live = live or LiveCapture()
    live = replace(live, judge=live.judge or judge)
    items = frames(given, limit=examined, settings=settings, live=live)
    reading = screen_frames(items, screening, keep)
    provenance = _provenance(equipment, um_per_px, simulated=simulated)
    if folder is None:
        return ScreeningResult(reading, provenance)
    result = ScreeningResult(reading, provenance, folder.pictures, folder.path / REPORT_FILE)
    folder.finish(result)
    return result


def _camera_settings(equipment: Equipment) -> CameraSettings:
    """The profile's settings, under which its light was measured, and the device's over them."""
    own = equipment.device.camera.settings()
    profile = equipment.profile
    if profile is None or profile.illumination is None or profile.illumination.settings is None:
        return own
    return CameraSettings(**profile.illumination.settings.model_dump()).overlaid(own)


def _refuse_the_simulated_profile(sources: Sequence[str], equipment: Equipment) -> None:
    profile = equipment.profile
    if profile is None or profile.camera != SIMULATED_CAMERA:
        return
    if any(not source.startswith(f"{SIMULATED_CAMERA}:") for source in sources):
        raise UsageError(
            f"{equipment.profile_name} was made on the simulated microscope and holds for nothing "
            "else; name the profile of this microscope with --profile"
        )


def _provenance(equipment: Equipment, um_per_px: float | None, *, simulated: bool) -> Provenance:
    profile, manifest = equipment.profile, equipment.bundle.manifest
    return Provenance(
        created_at=datetime.now().astimezone(),
        bundle_digest=equipment.bundle.digest,
        bundle_name=f"{manifest.name} {manifest.serial}",
        profile_digest=profile.digest() if profile is not None else None,
        profile_name=equipment.profile_name,
        um_per_px_given=um_per_px,
        simulated=simulated,
    )
