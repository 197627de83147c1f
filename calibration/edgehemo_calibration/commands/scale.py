"""`edgehemo calibrate scale`: um per pixel of the camera's frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgehemo.commands import common
from edgehemo.errors import UsageError
from edgehemo_calibration.commands.options import profile_options
from edgehemo_calibration.commands.pictures import live_frames, only_camera, read_frames
from edgehemo_calibration.commands.profile_editing import (
    GIVEN_SCALE_UNCERTAINTY,
    finish,
    now,
    start,
)

if TYPE_CHECKING:
    from edgehemo_calibration.micrometer import MicrometerReading
    from edgehemo_calibration.output import RuledImage

# How well the two ends of a micrometer's line can be told, px (one standard deviation each).
END_UNCERTAINTY_PX = 1.0


@click.command()
@click.argument("images", metavar="[IMAGE...]", nargs=-1)
@click.option(
    "--pitch-um",
    type=click.FloatRange(min=0, min_open=True),
    help="Distance of neighbouring lines in IMAGE..., um (10 on most stage micrometers, 50 "
    "between the finest lines of a Neubauer chamber).",
)
@click.option("--um-per-px", type=click.FloatRange(0.02, 2.0), help="The scale, where it is known.")
@click.option(
    "--uncertainty",
    type=click.FloatRange(0, 0.5, max_open=True),
    help="Its relative standard deviation (0.01 is 1 %).",
)
@click.option(
    "--micrometer-um",
    type=click.FloatRange(min=0, min_open=True),
    help="Length of a line on a stage micrometer, um.",
)
@click.option(
    "--micrometer-px",
    type=click.FloatRange(min=10),
    help="The same line in a full-size picture, px.",
)
@profile_options
def scale(
    images: tuple[str, ...],
    pitch_um: float | None,
    um_per_px: float | None,
    uncertainty: float | None,
    micrometer_um: float | None,
    micrometer_px: float | None,
    base: Path | None,
    out: Path,
    json_file: str | None,
    **names: str | None,
) -> None:
    """Set um per pixel of the camera's frames.

    From IMAGE..., pictures of a stage micrometer or a counting chamber's grid (files, a folder or
    a camera) with --pitch-um: the lines are found in whatever direction they run. Or from a
    distance measured by hand (--micrometer-um, --micrometer-px), or typed in (--um-per-px).
    """
    from edgehemo.field.scale import MAX_UM_PER_PX, MIN_UM_PER_PX
    from edgehemo.profile.parts import ScaleCalibration
    from edgehemo_calibration.output import ScaleCalibrated, written

    by_hand = micrometer_um is not None and micrometer_px is not None
    ways = (bool(images), by_hand, um_per_px is not None)
    half = (micrometer_um is None) != (micrometer_px is None) or bool(images) != (
        pitch_um is not None
    )
    if sum(ways) != 1 or half:
        raise UsageError(
            "give pictures of a ruling with --pitch-um, or --um-per-px, or --micrometer-um "
            "together with --micrometer-px"
        )
    ruled: list[RuledImage] = []
    lines, frame_px = 0, None
    if pitch_um is not None:
        reading, ruled, names = _ruled_scale(images, pitch_um, names)
        value, default, lines = reading.um_per_px, reading.relative_uncertainty, reading.lines
        frame_px, method = reading.frame_px, reading.method
    elif micrometer_um is not None and micrometer_px is not None:
        value, method = micrometer_um / micrometer_px, "stage micrometer"
        default = END_UNCERTAINTY_PX * 2**0.5 / micrometer_px
        if not MIN_UM_PER_PX <= value <= MAX_UM_PER_PX:
            raise UsageError(
                f"{value:g} um/px is outside {MIN_UM_PER_PX:g} to {MAX_UM_PER_PX:g}; "
                "check both lengths"
            )
    else:
        value, method, default = um_per_px or 0.0, "given", GIVEN_SCALE_UNCERTAINTY
    part = ScaleCalibration(
        um_per_px=value,
        relative_uncertainty=default if uncertainty is None else uncertainty,
        method=method,
        lines=lines,
        frame_px=frame_px,
        measured_at=None if method == "given" else now(),
    )
    profile = start(base, out, names).model_copy(update={"scale": part})
    output = ScaleCalibrated(**written(profile, out), images=ruled, scale=part)
    finish(profile, out, json_file, output)
    found = f", {lines} lines" if lines else ""
    common.say(
        f"scale {value:.5g} um/px, +-{100 * part.relative_uncertainty:.2g} %{found}", json_file
    )


def _ruled_scale(
    sources: tuple[str, ...], pitch_um: float, names: dict[str, str | None]
) -> tuple[MicrometerReading, list[RuledImage], dict[str, str | None]]:
    """The scale of all pictures together, what the JSON says of each, and the camera's name."""
    from edgehemo_calibration.micrometer import combined, read_micrometer
    from edgehemo_calibration.output import RuledImage

    camera = only_camera(sources)
    if camera is not None:
        frames, names = live_frames(camera, 1), {**names, "camera": names["camera"] or camera}
    else:
        frames = read_frames(sources)
    readings = [read_micrometer(frame, pitch_um) for frame in frames]
    images = [
        RuledImage(
            image=frame.source,
            um_per_px=reading.um_per_px,
            relative_uncertainty=reading.relative_uncertainty,
            rulings=reading.rulings,
        )
        for frame, reading in zip(frames, readings, strict=True)
    ]
    return combined(readings, [frame.source for frame in frames]), images, names
