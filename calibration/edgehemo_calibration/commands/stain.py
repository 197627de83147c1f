"""`edgehemo calibrate stain`: what this laboratory's good smears look like."""

from __future__ import annotations

from pathlib import Path

import click

from edgehemo.commands import common
from edgehemo_calibration.commands.options import images_argument, profile_options, scale_option
from edgehemo_calibration.commands.profile_editing import finish, now, start


@click.command()
@images_argument
@scale_option
@profile_options
def stain(
    images: tuple[str, ...],
    um_per_px: float | None,
    base: Path | None,
    out: Path,
    json_file: str | None,
    **names: str | None,
) -> None:
    """Take the stain reference from IMAGE..., fields of well-stained smears (files or folders)."""
    from edgehemo.images.reading import images_in
    from edgehemo_calibration.measuring import measure_stain
    from edgehemo_calibration.output import ImageName, StainCalibrated, written

    paths = images_in(images)
    known = start(base, out, names)
    with common.Progress("measuring", total=len(paths)) as progress:
        part = measure_stain(paths, profile=known, um_per_px=um_per_px, on_image=progress.advance)
    part = part.model_copy(update={"measured_at": now()})
    profile = known.model_copy(update={"stain": part})
    output = StainCalibrated(
        **written(profile, out), images=[ImageName(image=str(path)) for path in paths], stain=part
    )
    finish(profile, out, json_file, output)
    red, green, blue = part.cell_od
    common.say(
        f"stain of {part.fields} fields: red-cell density {red:.3f} {green:.3f} {blue:.3f} (RGB)",
        json_file,
    )
