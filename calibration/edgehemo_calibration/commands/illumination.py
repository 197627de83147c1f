"""`edgehemo calibrate illumination`: the flat field, and the camera's settings with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgehemo.commands import common
from edgehemo.errors import UsageError
from edgehemo_calibration.commands.options import path_type, profile_options
from edgehemo_calibration.commands.pictures import only_camera, read_frames
from edgehemo_calibration.commands.profile_editing import finish, now, start

if TYPE_CHECKING:
    from edgehemo.images.frame import Frame
    from edgehemo.profile.parts import FixedSettings

# Frames of an empty field that are averaged from a live camera.
LIVE_FLAT_FRAMES = 8


@click.command()
@click.argument("images", metavar="IMAGE...|CAMERA", nargs=-1, required=True)
@click.option(
    "--dark", metavar="IMAGE", type=path_type, multiple=True, help="Frame with the lamp off."
)
@click.option(
    "--target-level",
    type=click.FloatRange(90, 230),
    help="With CAMERA: counts (of 255) its bright part is brought to; 178 unless told.",
)
@click.option(
    "--frames",
    "count",
    type=click.IntRange(1, 100),
    default=LIVE_FLAT_FRAMES,
    show_default=True,
    help="With CAMERA: how many frames are taken.",
)
@profile_options
def illumination(
    images: tuple[str, ...],
    dark: tuple[Path, ...],
    target_level: float | None,
    count: int,
    base: Path | None,
    out: Path,
    json_file: str | None,
    **names: str | None,
) -> None:
    """Take the flat field of an empty bright field.

    From IMAGE..., pictures of it (files or folders). Or from CAMERA (uvc:/dev/video0, ...), whose
    exposure and colour gains are first set to the target level; the profile keeps them and every
    screening sets them again.
    """
    from edgehemo.images.reading import read_fields
    from edgehemo_calibration.flat_field import measure_flat_field
    from edgehemo_calibration.output import (
        FlatFieldSummary,
        IlluminationCalibrated,
        ImageName,
        written,
    )

    camera = only_camera(images)
    settings = None
    if camera is not None:
        frames, settings = _exposed_frames(camera, target_level, count)
        names = {**names, "camera": names["camera"] or camera}
    elif target_level is not None:
        raise UsageError("--target-level needs a camera whose exposure can be set")
    else:
        frames = read_frames(images)
    part = measure_flat_field(
        frames, [frame for path in dark for frame in read_fields(path)]
    ).model_copy(update={"measured_at": now(), "settings": settings})
    profile = start(base, out, names).model_copy(update={"illumination": part})
    grid = part.array()
    green = grid[..., 1]
    unevenness = float((green.max() - green.min()) / green.max())
    output = IlluminationCalibrated(
        **written(profile, out),
        images=[ImageName(image=frame.source) for frame in frames],
        illumination=FlatFieldSummary(
            rows=grid.shape[0],
            columns=grid.shape[1],
            unevenness=round(unevenness, 4),
            target_level=part.target_level,
            dark_level=part.dark_level,
            frames=part.frames,
            settings=settings,
        ),
    )
    finish(profile, out, json_file, output)
    common.say(
        f"flat field of {part.frames} frames: {100 * unevenness:.0f} % uneven, "
        f"level {part.target_level:.0f}",
        json_file,
    )


def _exposed_frames(
    camera: str, target_level: float | None, count: int
) -> tuple[list[Frame], FixedSettings]:
    """Frames of a camera brought to the target level, and its settings.

    A stage goes to another place for each frame; without one the operator moves the slide.
    """
    from edgehemo.capture import FRAME_DEADLINE_S, open_source
    from edgehemo.files.strict import keys_of
    from edgehemo.profile.parts import FixedSettings
    from edgehemo_calibration.exposure import TARGET_LEVEL, expose

    with open_source(camera) as opened, common.Progress("taking", total=count) as progress:
        exposed = expose(opened, target_level if target_level is not None else TARGET_LEVEL)
        frames = []
        for number in range(count):
            if number and opened.has_stage and not opened.move_to_next_field():
                break
            frames.append(opened.frame(FRAME_DEADLINE_S))
            progress.advance()
    taken = exposed.settings.given()
    return frames, FixedSettings(**{name: taken.get(name) for name in keys_of(FixedSettings)})
