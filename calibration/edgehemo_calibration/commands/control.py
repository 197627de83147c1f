"""`edgehemo calibrate control`: the targets of a control slide."""

from __future__ import annotations

from pathlib import Path

import click

from edgehemo.commands import common
from edgehemo_calibration.commands.options import profile_options, runs_argument, slide_option
from edgehemo_calibration.commands.profile_editing import finish, now, start
from edgehemo_calibration.commands.slide_runs import measured_runs


@click.command()
@runs_argument
@slide_option
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
    from edgehemo.control.check import control_slide, with_slide, without_target
    from edgehemo.control.repeatability import LABELS
    from edgehemo_calibration.output import ControlCalibrated, RunEntry, written

    profile = start(base, out, names)
    measured = measured_runs(runs, profile, bundle)
    part = control_slide(slide, measured, now())
    profile = with_slide(profile, part)
    output = ControlCalibrated(
        **written(profile, out),
        images=[],
        runs=[RunEntry.of(run) for run in measured],
        control=part,
    )
    finish(profile, out, json_file, output)
    for target in part.targets:
        label, unit, decimals = LABELS[target.quantity]
        common.say(
            f"{label}: {target.mean:.{decimals}f} {unit}, SD {target.sd:.3g}, {target.runs} runs",
            json_file,
        )
    for label in without_target(part):
        common.say(
            f"{label}: no target, so a check does not look at it: not every run could measure it",
            json_file,
        )
    common.say(
        f"control slide {slide}: {part.grade}, a check needs {part.fields_wanted} fields", json_file
    )
