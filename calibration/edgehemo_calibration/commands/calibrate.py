"""`edgehemo calibrate scale|illumination|stain|focus|analyser|...`: write or extend a profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgehemo.commands import common
from edgehemo.errors import UsageError
from edgehemo.measurands import MEASURANDS
from edgehemo_calibration.commands.control import check, clear, control, repeatability
from edgehemo_calibration.commands.profile_editing import (
    cell_finder,
    field_networks,
    finish,
    now,
    only_camera,
    path_type,
    profile_options,
    read_frames,
    start,
)

if TYPE_CHECKING:
    from edgehemo.estimate.network import FieldNetworks
    from edgehemo.images.frame import Frame
    from edgehemo.profile.parts import FixedSettings
    from edgehemo.profile.profile import CalibrationProfile
    from edgehemo_calibration.analyser.pairs import Pair
    from edgehemo_calibration.measuring import Find, MeasuredImage
    from edgehemo_calibration.micrometer import MicrometerReading

# One standard deviation of a scale that was typed in and not measured here.
GIVEN_SCALE_UNCERTAINTY = 0.02
# How well the two ends of a micrometer's line can be told, px (one standard deviation each).
END_UNCERTAINTY_PX = 1.0
# Frames of an empty field that are averaged from a live camera.
LIVE_FLAT_FRAMES = 8

_image_paths = click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
_scale_of_images = click.option(
    "--um-per-px",
    type=click.FloatRange(0.02, 2.0),
    help="Scale of the images, where the profile has none.",
)


@click.group()
def calibrate() -> None:
    """Measure this microscope and write its calibration profile.

    In this order: scale, illumination, stain and focus, analyser, control. What is measured later
    stands on what was measured before. Then check a control slide every day.
    """


for _command in (repeatability, control, check, clear):
    calibrate.add_command(_command)


@calibrate.command()
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
    content: dict[str, Any] = {}
    lines, frame_px = 0, None
    if pitch_um is not None:
        reading, content, names = _ruled_scale(images, pitch_um, names)
        value, default, lines = reading.um_per_px, reading.relative_uncertainty, reading.lines
        frame_px = reading.frame_px
        method = "grid, found" if reading.is_grid else "stage micrometer, found"
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
    finish(profile, out, json_file, "scale", {**content, "scale": part.model_dump(mode="json")})
    found = f", {lines} lines" if lines else ""
    common.say(
        f"scale {value:.5g} um/px, +-{100 * part.relative_uncertainty:.2g} %{found}", json_file
    )


def _ruled_scale(
    sources: tuple[str, ...], pitch_um: float, names: dict[str, str | None]
) -> tuple[MicrometerReading, dict[str, Any], dict[str, str | None]]:
    """The scale of all pictures together, what the JSON says of each, and the camera's name."""
    from edgehemo_calibration.micrometer import combined, read_micrometer

    camera = only_camera(sources)
    if camera is not None:
        frames, names = _live_frames(camera, 1), {**names, "camera": names["camera"] or camera}
    else:
        frames = read_frames(sources)
    readings = [read_micrometer(frame, pitch_um) for frame in frames]
    images = [
        {
            "image": frame.source,
            "um_per_px": reading.um_per_px,
            "relative_uncertainty": reading.relative_uncertainty,
            "rulings": [asdict(ruling) for ruling in reading.rulings],
        }
        for frame, reading in zip(frames, readings, strict=True)
    ]
    return combined(readings, [frame.source for frame in frames]), {"images": images}, names


def _live_frames(camera: str, count: int) -> list[Frame]:
    """Frames of a camera as it stands, nothing set and the stage not moved."""
    from edgehemo.capture import FRAME_DEADLINE_S, open_source

    with open_source(camera) as opened:
        return [opened.frame(FRAME_DEADLINE_S) for _ in range(count)]


@calibrate.command()
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
    from edgehemo.images.reading import read_frame
    from edgehemo_calibration.flat_field import measure_flat_field

    camera = only_camera(images)
    settings = None
    if camera is not None:
        frames, settings = _exposed_frames(camera, target_level, count)
        names = {**names, "camera": names["camera"] or camera}
    elif target_level is not None:
        raise UsageError("--target-level needs a camera whose exposure can be set")
    else:
        frames = read_frames(images)
    part = measure_flat_field(frames, [read_frame(path) for path in dark]).model_copy(
        update={"measured_at": now(), "settings": settings}
    )
    profile = start(base, out, names).model_copy(update={"illumination": part})
    grid = part.array()
    green = grid[..., 1]
    unevenness = float((green.max() - green.min()) / green.max())
    content = {
        "images": [{"image": frame.source} for frame in frames],
        "illumination": {
            "rows": grid.shape[0],
            "columns": grid.shape[1],
            "unevenness": round(unevenness, 4),
            "target_level": part.target_level,
            "dark_level": part.dark_level,
            "frames": part.frames,
            "settings": settings.model_dump() if settings is not None else None,
        },
    }
    finish(profile, out, json_file, "illumination", content)
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
    return frames, FixedSettings(**{name: taken.get(name) for name in FixedSettings.model_fields})


@calibrate.command()
@_image_paths
@_scale_of_images
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

    paths = images_in(images)
    known = start(base, out, names)
    with common.Progress("measuring", total=len(paths)) as progress:
        part = measure_stain(paths, profile=known, um_per_px=um_per_px, on_image=progress.advance)
    part = part.model_copy(update={"measured_at": now()})
    profile = known.model_copy(update={"stain": part})
    content = {
        "images": [{"image": str(path)} for path in paths],
        "stain": part.model_dump(mode="json"),
    }
    finish(profile, out, json_file, "stain", content)
    red, green, blue = part.cell_od
    common.say(
        f"stain of {part.fields} fields: red-cell density {red:.3f} {green:.3f} {blue:.3f} (RGB)",
        json_file,
    )


@calibrate.command()
@_image_paths
@_scale_of_images
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
    from edgehemo_calibration.sharpness import measure_focus

    paths = images_in(images)
    known = start(base, out, names)
    with common.Progress("measuring", total=len(paths)) as progress:
        stack = measure_focus(paths, profile=known, um_per_px=um_per_px, on_image=progress.advance)
    part = stack.reference.model_copy(update={"measured_at": now()})
    profile = known.model_copy(update={"focus": part})
    content = {
        "images": [
            {"image": str(path), "focus": value}
            for path, value in zip(paths, stack.values, strict=True)
        ],
        "focus": part.model_dump(mode="json"),
    }
    finish(profile, out, json_file, "focus", content)
    common.say(
        f"sharpest of {len(paths)}: {stack.sharpest.name}, "
        f"{stack.reference.measure} {stack.reference.sharp_reference:.4g}",
        json_file,
    )


@calibrate.command()
@click.option(
    "--images",
    "folder",
    metavar="DIR",
    type=path_type,
    required=True,
    help="Folder that holds the pictures.",
)
@click.option(
    "--pairs",
    "pairs_file",
    metavar="CSV",
    type=path_type,
    required=True,
    help=f"Columns image or sample, {', '.join(MEASURANDS)}.",
)
@click.option(
    "--keep-refused",
    is_flag=True,
    help="Fit on fields that fail a quality check, too; to study the procedure. A screening "
    "refuses such fields all the same.",
)
@click.option(
    "--page",
    "page_file",
    metavar="FILE",
    type=path_type,
    help="Page with plots (HTML) to write. It names samples.",
)
@_scale_of_images
@common.bundle_option
@profile_options
def analyser(
    folder: Path,
    pairs_file: Path,
    keep_refused: bool,
    page_file: Path | None,
    um_per_px: float | None,
    bundle: Path | None,
    base: Path | None,
    out: Path,
    json_file: str | None,
    **names: str | None,
) -> int:
    """Fit HGB, HCT and RBC on samples that an analyser measured.

    At least 8 samples, better 20 and more over the whole range. Exit code 1 when a measurand could
    not be calibrated, 2 when a picture could not be read.
    """
    from edgehemo.profile.parts import ScaleCalibration
    from edgehemo_calibration.analyser.fit import fit_analyser
    from edgehemo_calibration.analyser.pairs import read_pairs
    from edgehemo_calibration.measuring import samples_of

    pairs = read_pairs(pairs_file, folder)
    profile = start(base, out, names)
    if um_per_px is not None:
        # The calibration holds at this scale only, so the profile must carry it.
        given = ScaleCalibration(
            um_per_px=um_per_px, relative_uncertainty=GIVEN_SCALE_UNCERTAINTY, method="given"
        )
        if profile.scale is not None and profile.scale.um_per_px != um_per_px:
            raise UsageError(
                f"the profile's scale is {profile.scale.um_per_px:g} um/px: leave --um-per-px out, "
                "or set it first with `edgehemo calibrate scale`"
            )
        profile = profile.model_copy(update={"scale": profile.scale or given})
    find, opened = cell_finder(bundle)
    envelope = opened.envelope("cell_finder") if opened is not None else None
    measured = _measured(pairs, profile, find, envelope, keep_refused, field_networks(opened))
    entries = [item.as_json() for item in measured.values()]
    for item in measured.values():
        if item.error:
            common.failed(str(item.image), item.error)
    samples, without = samples_of(pairs, measured)
    for name in without:
        codes = {code for m in measured.values() if m.sample == name for code in m.failed}
        why = f" ({', '.join(sorted(codes))})" if codes else ""
        click.echo(f"edgehemo: sample {name} left out: no field accepted{why}", err=True)
    fit = fit_analyser(
        samples,
        made_at=now(),
        um_per_px=profile.scale.um_per_px if profile.scale is not None else None,
        flat_field_sha256=profile.illumination.digest() if profile.illumination else None,
        bundle_sha256=opened.digest if opened is not None else None,
        refused_fields=sum(1 for m in measured.values() if m.failed and m.indices is not None),
    )
    profile = profile.model_copy(update={"analyser": fit.calibration})
    content = {
        "images": entries,
        "samples_left_out": list(without),
        "analyser": fit.calibration.model_dump(mode="json"),
        "points": [point.as_json() for point in fit.points],
        "refused": dict(fit.refused),
    }
    finish(profile, out, json_file, "analyser", content)
    if page_file is not None:
        from edgehemo.files.atomic import write_text_atomically
        from edgehemo_calibration.analyser.page import analyser_page

        write_text_atomically(page_file, analyser_page(fit))
    if json_file != common.STDOUT:
        from rich.console import Console

        from edgehemo_calibration.analyser.table import print_fit

        print_fit(fit, Console(width=None))
    common.say(f"{fit.calibration.grade} on {fit.calibration.samples} samples: {out}", json_file)
    return common.exit_code(entries, withheld=bool(fit.refused))


def _measured(
    pairs: tuple[Pair, ...],
    profile: CalibrationProfile,
    find: Find | None,
    envelope: Mapping[str, Any] | None,
    keep_refused: bool,
    networks: FieldNetworks | None,
) -> dict[Path, MeasuredImage]:
    from edgehemo_calibration.measuring import measure_image

    found = {}
    total = sum(len(pair.images) for pair in pairs)
    with common.Progress("measuring", total=total) as progress:
        for pair in pairs:
            for image in pair.images:
                found[image] = measure_image(
                    image,
                    pair.name,
                    profile=profile,
                    um_per_px=None,
                    find=find,
                    envelope=envelope,
                    keep_refused=keep_refused,
                    networks=networks,
                )
                progress.advance()
    return found
