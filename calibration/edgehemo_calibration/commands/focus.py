"""`edgehemo calibrate focus`: how sharp this microscope can be."""

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
def focus(
    images: tuple[str, ...],
    um_per_px: float | None,
    base: Path | None,
    out: Path,
    json_file: str | None,
    **names: str | None,
) -> None:
    """Learn what sharp is from IMAGE..., a focus stack of one field (files or a folder)."""
    from edgehemo.images.reading import images_in
    from edgehemo_calibration.output import FocusCalibrated, FocusImage, written
    from edgehemo_calibration.sharpness import measure_focus

    paths = images_in(images)
    known = start(base, out, names)
    with common.Progress("measuring", total=len(paths)) as progress:
        stack = measure_focus(paths, profile=known, um_per_px=um_per_px, on_image=progress.advance)
    part = stack.reference.model_copy(update={"measured_at": now()})
    profile = known.model_copy(update={"focus": part})
    output = FocusCalibrated(
        **written(profile, out),
        images=[
            FocusImage(image=str(path), focus=value)
            for path, value in zip(paths, stack.values, strict=True)
        ],
        focus=part,
    )
    finish(profile, out, json_file, output)
    common.say(
        f"sharpest of {len(paths)}: {stack.sharpest.name}, "
        f"{stack.reference.measure} {stack.reference.sharp_reference:.4g}",
        json_file,
    )
