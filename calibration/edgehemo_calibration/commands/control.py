"""`edgehemo calibrate repeatability|control|check|clear`: the same slide measured again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_DONE, EXIT_WITHHELD, CalibrationError, UsageError
from edgehemo.version import __version__
from edgehemo_calibration.commands.profile_editing import (
    cell_finder,
    field_networks,
    finish,
    now,
    path_type,
    profile_options,
    start,
)

if TYPE_CHECKING:
    from edgehemo.control.repeatability import Run
    from edgehemo.profile.profile import CalibrationProfile

_runs = click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=path_type)
_slide = click.option("--slide", required=True, help="Name of the control slide, as written on it.")
_profile = click.option(
    "--profile", "profile_path", metavar="FILE", type=path_type, help="Profile of this microscope."
)


@click.command()
@_runs
@common.bundle_option
@profile_options
def repeatability(
    runs: tuple[Path, ...],
    bundle: Path | None,
    base: Path | None,
    out: Path,
    json_file: str | None,
    **names: str | None,
) -> None:
    """Measure how well the same slide repeats. Each RUN is a folder of pictures of it.

    At least 3 runs, better 10: between them take the slide off and put it on again.
    """
    from edgehemo.control.repeatability import LABELS, REPEATABILITY_FACTOR, spreads_of
    from edgehemo.profile.parts import Repeatability

    profile = start(base, out, names)
    measured = _measured_runs(runs, profile, bundle)
    part = Repeatability(
        measured_at=now(),
        fields=sum(run.fields for run in measured),
        spreads=spreads_of(measured),
    )
    profile = profile.model_copy(update={"repeatability": part})
    content = {
        "runs": [run.as_json() for run in measured],
        "repeatability": part.model_dump(mode="json"),
    }
    finish(profile, out, json_file, "repeatability", content)
    for spread in part.spreads:
        label, unit, decimals = LABELS[spread.quantity]
        share = f", {100 * spread.sd / abs(spread.mean):.1f} %" if spread.mean else ""
        common.say(
            f"{label}: {spread.mean:.{decimals}f} {unit}, SD {spread.sd:.3g} "
            f"({spread.sd_low:.3g} to {spread.sd_high:.3g}){share}; two results of one slide "
            f"differ by at most {REPEATABILITY_FACTOR * spread.sd:.3g} in 95 %",
            json_file,
        )


@click.command()
@_runs
@_slide
@common.bundle_option
@profile_options
def control(
    runs: tuple[Path, ...],
    slide: str,
    bundle: Path | None,
    base: Path | None,
    out: Path,
    json_file: str | None,
    **names: str | None,
) -> None:
    """Set the targets of a control slide. Each RUN is a folder of pictures of it.

    At least 10 runs on several days, better 20. From then on results need a daily
    `edgehemo calibrate check`.
    """
    from edgehemo.control.check import control_slide, with_slide
    from edgehemo.control.repeatability import LABELS

    profile = start(base, out, names)
    measured = _measured_runs(runs, profile, bundle)
    part = control_slide(slide, measured, now())
    content = {
        "runs": [run.as_json() for run in measured],
        "control": part.model_dump(mode="json"),
    }
    finish(with_slide(profile, part), out, json_file, "control", content)
    for target in part.targets:
        label, unit, decimals = LABELS[target.quantity]
        common.say(
            f"{label}: {target.mean:.{decimals}f} {unit}, SD {target.sd:.3g}, {target.runs} runs",
            json_file,
        )
    common.say(f"control slide {slide}: {part.grade}", json_file)


@click.command()
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--slide", help="Name of the control slide, where the profile has several.")
@_profile
@common.bundle_option
@click.option(
    "--page", "page_file", metavar="FILE", type=path_type, help="Levey-Jennings page to write."
)
@common.json_option
def check(
    images: tuple[str, ...],
    slide: str | None,
    profile_path: Path | None,
    bundle: Path | None,
    page_file: Path | None,
    json_file: str | None,
) -> int:
    """Check a control slide: IMAGE... are pictures of it taken today (files or folders).

    Judged by the Westgard rules against the profile's targets and written to its control history.
    A failed check (exit code 1) withholds every result until `edgehemo calibrate clear`.
    """
    from edgehemo.control.check import checked
    from edgehemo.control.history import append_record, history_path, read_history
    from edgehemo.images.reading import images_in

    path, profile = _profile_of(profile_path)
    known = ", ".join(item.name for item in profile.controls)
    if not known:
        raise CalibrationError(
            f"{path}: has no control slide; set its targets with `edgehemo calibrate control`"
        )
    if slide is None and len(profile.controls) > 1:
        raise UsageError(f"name the control slide with --slide: {known}")
    target = profile.controls[0] if slide is None else profile.control(slide)
    if target is None:
        raise UsageError(f"no control slide {slide!r} in {path}; there is {known}")
    (run,) = _measured_groups([(target.name, images_in(images))], profile, bundle)
    history = history_path(path)
    record = checked(run, target, read_history(history), profile_sha256=profile.digest(), at=now())
    append_record(history, record)
    blocked = _report(path, profile, page_file)
    for line in record.warnings:
        common.say(f"warning: {line}", json_file)
    common.say(
        f"control slide {target.name}: "
        + ("passed" if record.passed else f"failed: {record.reason}"),
        json_file,
    )
    if blocked:
        common.say(f"results are withheld: {blocked}", json_file)
    common.write_json(
        json_file,
        "check",
        {
            "images": [{"image": str(image)} for image in images_in(images)],
            "history": str(history),
            "check": record.model_dump(mode="json", by_alias=True),
            "blocked": blocked or None,
        },
    )
    return EXIT_DONE if record.passed and not blocked else EXIT_WITHHELD


@click.command()
@click.option("--reason", required=True, help="The cause that was found and what was done.")
@click.option("--by", required=True, help="Initials of who takes responsibility.")
@_profile
@common.json_option
def clear(reason: str, by: str, profile_path: Path | None, json_file: str | None) -> None:
    """Clear failed control checks, after their cause was found and mended."""
    from edgehemo.control.history import (
        Clearance,
        append_record,
        checks_since_clearance,
        history_path,
        read_history,
    )

    path, _ = _profile_of(profile_path)
    reason, by = reason.strip(), by.strip()
    if not reason or not by or len(reason) > 500 or len(by) > 40:
        raise UsageError("--reason needs up to 500 letters and --by up to 40, and neither is empty")
    history = history_path(path)
    failed = [item for item in checks_since_clearance(read_history(history)) if not item.passed]
    if not failed:
        raise UsageError(f"{history}: no failed control check to clear")
    record = Clearance(at=now(), software_version=__version__, reason=reason, by=by)
    append_record(history, record)
    common.say(f"cleared {len(failed)} failed checks; check the control slide again", json_file)
    common.write_json(
        json_file,
        "clear",
        {"images": [], "history": str(history), "cleared": len(failed),
         "clearance": record.model_dump(mode="json", by_alias=True)},
    )  # fmt: skip


def _profile_of(path: Path | None) -> tuple[Path, CalibrationProfile]:
    """The profile named, else the device's. Raises UsageError where there is none."""
    from edgehemo.device.configuration import load_device
    from edgehemo.profile.profile import load_profile

    if path is None:
        configured = load_device(None).paths.profile
        if configured is None:
            raise UsageError("name the profile with --profile")
        path = Path(configured)
    return path, load_profile(path)


def _report(path: Path, profile: CalibrationProfile, page_file: Path | None) -> str:
    """Why results are withheld now, empty if not; also written as a page where asked for."""
    from edgehemo.control.charts import control_page
    from edgehemo.control.history import control_block, history_path, read_history
    from edgehemo.device.configuration import load_device
    from edgehemo.files.atomic import write_text_atomically

    records = read_history(history_path(path))
    hours = load_device(None).screening.control_expires_hours
    block = control_block(profile, records, now=now(), expires_hours=hours)
    blocked = block.reason if block is not None else ""
    if page_file is not None:
        page = control_page(profile, records, blocked=blocked, now=now())
        write_text_atomically(page_file, page)
    return blocked


def _measured_runs(
    folders: tuple[Path, ...], profile: CalibrationProfile, bundle: Path | None
) -> list[Run]:
    from edgehemo.images.reading import images_in

    missing = [str(folder) for folder in folders if not folder.is_dir()]
    if missing:
        raise UsageError(f"each run is a folder of pictures; these are none: {', '.join(missing)}")
    groups = [(folder.name, images_in([str(folder)])) for folder in folders]
    return _measured_groups(groups, profile, bundle)


def _measured_groups(
    groups: list[tuple[str, Any]], profile: CalibrationProfile, bundle: Path | None
) -> list[Run]:
    from edgehemo.control.repeatability import run_of
    from edgehemo_calibration.measuring import measure_image

    find, opened = cell_finder(bundle)
    envelope = opened.envelope("cell_finder") if opened is not None else None
    digest = opened.digest if opened is not None else None
    networks = field_networks(opened)
    runs = []
    with common.Progress("measuring", total=sum(len(paths) for _, paths in groups)) as progress:
        for name, paths in groups:
            measured = []
            for image in paths:
                measured.append(
                    measure_image(
                        image,
                        name,
                        profile=profile,
                        um_per_px=None,
                        find=find,
                        envelope=envelope,
                        networks=networks,
                    )
                )
                progress.advance()
            runs.append(run_of(name, measured, profile, digest))
    return runs
