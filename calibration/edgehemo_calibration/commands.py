"""`edgehemo calibrate scale|illumination|stain|focus|analyser`: write or extend a profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgehemo.commands import common
from edgehemo.errors import BundleError, UsageError
from edgehemo.version import __version__

if TYPE_CHECKING:
    from edgehemo.bundle import Bundle
    from edgehemo.profile import CalibrationProfile
    from edgehemo_calibration.measuring import Find, MeasuredImage
    from edgehemo_calibration.pairs import Pair

Command = TypeVar("Command", bound=Callable[..., Any])
# One standard deviation of a scale that was typed in and not measured here.
GIVEN_SCALE_UNCERTAINTY = 0.02
# How well the two ends of a micrometer's line can be told, px (one standard deviation each).
END_UNCERTAINTY_PX = 1.0

_path = click.Path(path_type=Path)
_image_paths = click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
_scale_of_images = click.option(
    "--um-per-px",
    type=click.FloatRange(0.02, 2.0),
    help="Scale of the images, where the profile has none.",
)


def _profile_options(command: Command) -> Command:
    for option in (
        click.option("--objective", help="Name of the objective, kept in the profile."),
        click.option("--camera", help="Name of the camera, kept in the profile."),
        click.option("--microscope", help="Name of the microscope, kept in the profile."),
        click.option(
            "--profile",
            "base",
            metavar="FILE",
            type=_path,
            help="Profile to extend; without it the one at --out, if there is one.",
        ),
        click.option("--out", metavar="FILE", type=_path, required=True, help="Profile to write."),
        common.json_option,
    ):
        command = option(command)
    return command


@click.group()
def calibrate() -> None:
    """Measure this microscope and write its calibration profile.

    In this order: scale, illumination, stain and focus, analyser. What is measured later stands on
    what was measured before.
    """


@calibrate.command()
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
@_profile_options
def scale(
    um_per_px: float | None,
    uncertainty: float | None,
    micrometer_um: float | None,
    micrometer_px: float | None,
    base: Path | None,
    out: Path,
    json_file: str | None,
    **names: str | None,
) -> None:
    """Set um per pixel of the camera's frames, known or from a stage micrometer."""
    from edgehemo.profile import ScaleCalibration
    from edgehemo.scale import MAX_UM_PER_PX, MIN_UM_PER_PX

    measured = micrometer_um is not None and micrometer_px is not None
    if measured == (um_per_px is not None) or (micrometer_um is None) != (micrometer_px is None):
        raise UsageError(
            "give either --um-per-px, or --micrometer-um together with --micrometer-px"
        )
    if micrometer_um is not None and micrometer_px is not None:
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
    )
    profile = _start(base, out, names).model_copy(update={"scale": part})
    _finish(profile, out, json_file, "scale", {"scale": part.model_dump(mode="json")})
    common.say(f"scale {value:.5g} um/px, +-{100 * part.relative_uncertainty:.2g} %", json_file)


@calibrate.command()
@_image_paths
@click.option("--dark", metavar="IMAGE", type=_path, multiple=True, help="Frame with the lamp off.")
@_profile_options
def illumination(
    images: tuple[str, ...],
    dark: tuple[Path, ...],
    base: Path | None,
    out: Path,
    json_file: str | None,
    **names: str | None,
) -> None:
    """Take the flat field from IMAGE..., frames of an empty bright field (files or folders)."""
    from edgehemo.images import images_in, read_frame
    from edgehemo_calibration.flat_field import measure_flat_field

    paths = images_in(images)
    frames = []
    with common.Progress("reading", total=len(paths)) as progress:
        for path in paths:
            frames.append(read_frame(path))
            progress.advance()
    part = measure_flat_field(frames, [read_frame(path) for path in dark])
    profile = _start(base, out, names).model_copy(update={"illumination": part})
    grid = part.array()
    green = grid[..., 1]
    unevenness = float((green.max() - green.min()) / green.max())
    content = {
        "images": [{"image": str(path)} for path in paths],
        "illumination": {
            "rows": grid.shape[0],
            "columns": grid.shape[1],
            "unevenness": round(unevenness, 4),
            "target_level": part.target_level,
            "dark_level": part.dark_level,
            "frames": part.frames,
        },
    }
    _finish(profile, out, json_file, "illumination", content)
    common.say(
        f"flat field of {part.frames} frames: {100 * unevenness:.0f} % uneven, "
        f"level {part.target_level:.0f}",
        json_file,
    )


@calibrate.command()
@_image_paths
@_scale_of_images
@_profile_options
def stain(
    images: tuple[str, ...],
    um_per_px: float | None,
    base: Path | None,
    out: Path,
    json_file: str | None,
    **names: str | None,
) -> None:
    """Take the stain reference from IMAGE..., fields of well-stained smears (files or folders)."""
    from edgehemo.images import images_in
    from edgehemo_calibration.measuring import measure_stain

    paths = images_in(images)
    start = _start(base, out, names)
    with common.Progress("measuring", total=len(paths)) as progress:
        part = measure_stain(paths, profile=start, um_per_px=um_per_px, on_image=progress.advance)
    profile = start.model_copy(update={"stain": part})
    content = {
        "images": [{"image": str(path)} for path in paths],
        "stain": part.model_dump(mode="json"),
    }
    _finish(profile, out, json_file, "stain", content)
    red, green, blue = part.cell_od
    common.say(
        f"stain of {part.fields} fields: red-cell density {red:.3f} {green:.3f} {blue:.3f} (RGB)",
        json_file,
    )


@calibrate.command()
@_image_paths
@_scale_of_images
@_profile_options
def focus(
    images: tuple[str, ...],
    um_per_px: float | None,
    base: Path | None,
    out: Path,
    json_file: str | None,
    **names: str | None,
) -> None:
    """Learn what sharp is from IMAGE..., a focus stack of one field (files or a folder)."""
    from edgehemo.images import images_in
    from edgehemo_calibration.sharpness import measure_focus

    paths = images_in(images)
    start = _start(base, out, names)
    with common.Progress("measuring", total=len(paths)) as progress:
        stack = measure_focus(paths, profile=start, um_per_px=um_per_px, on_image=progress.advance)
    profile = start.model_copy(update={"focus": stack.reference})
    content = {
        "images": [
            {"image": str(path), "focus": value}
            for path, value in zip(paths, stack.values, strict=True)
        ],
        "focus": stack.reference.model_dump(mode="json"),
    }
    _finish(profile, out, json_file, "focus", content)
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
    type=_path,
    required=True,
    help="Folder that holds the pictures.",
)
@click.option(
    "--pairs",
    "pairs_file",
    metavar="CSV",
    type=_path,
    required=True,
    help="Columns image or sample, hgb_g_per_l, hct_l_per_l, rbc_1e12_per_l.",
)
@click.option(
    "--keep-refused",
    is_flag=True,
    help="Fit on fields that fail a quality check, too; to study the procedure. A screening "
    "refuses such fields all the same.",
)
@_scale_of_images
@common.bundle_option
@_profile_options
def analyser(
    folder: Path,
    pairs_file: Path,
    keep_refused: bool,
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
    from edgehemo.profile import ScaleCalibration
    from edgehemo_calibration.analyser import fit_analyser
    from edgehemo_calibration.measuring import samples_of
    from edgehemo_calibration.pairs import read_pairs

    pairs = read_pairs(pairs_file, folder)
    profile = _start(base, out, names)
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
    find, opened = _cell_finder(bundle)
    envelope = opened.envelope("cell_finder") if opened is not None else None
    measured = _measured(pairs, profile, find, envelope, keep_refused)
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
        made_at=datetime.now().astimezone(),
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
    _finish(profile, out, json_file, "analyser", content)
    if json_file != common.STDOUT:
        from rich.console import Console

        from edgehemo_calibration.tables import print_fit

        print_fit(fit, Console(width=None))
    common.say(f"{fit.calibration.grade} on {fit.calibration.samples} samples: {out}", json_file)
    return common.exit_code(entries, withheld=bool(fit.refused))


def _measured(
    pairs: tuple[Pair, ...],
    profile: CalibrationProfile,
    find: Find | None,
    envelope: Mapping[str, Any] | None,
    keep_refused: bool,
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
                )
                progress.advance()
    return found


def _cell_finder(bundle: Path | None) -> tuple[Find | None, Bundle | None]:
    """The cell finder this device screens with, and its bundle; None where there is none.

    A bundle that was asked for by name must open.
    """
    from edgehemo.opening import open_finder

    try:
        _, opened, finder = open_finder(bundle)
    except BundleError as error:
        if bundle is not None:
            raise
        click.echo(f"edgehemo: without a cell finder, nothing is counted: {error}", err=True)
        return None, None
    return finder.find, opened


def _start(base: Path | None, out: Path, names: dict[str, str | None]) -> CalibrationProfile:
    """The profile to extend: the one named, else the one at ``out``, else a new one."""
    from edgehemo.profile import load_profile, new_profile

    source = base if base is not None else out if out.exists() else None
    if source is not None:
        profile = load_profile(source)
    else:
        profile = new_profile(datetime.now().astimezone(), software_version=__version__)
    given = {name: value for name, value in names.items() if value is not None}
    return profile.model_copy(update={**given, "software_version": __version__})


def _finish(
    profile: CalibrationProfile,
    out: Path,
    json_file: str | None,
    part: str,
    content: dict[str, Any],
) -> None:
    """Write the profile and the JSON, and say where the analyser calibration stopped holding."""
    from edgehemo.profile import save_profile

    save_profile(profile, out)
    if mismatch := profile.analyser_mismatch():
        click.echo(f"edgehemo: {mismatch}", err=True)
    record = {"calibrated": part, "profile": str(out), "profile_sha256": profile.digest()}
    common.write_json(json_file, "calibrate", {**record, "images": [], **content})
