"""`edgehemo calibrate repeatability`: how well one slide repeats."""

from __future__ import annotations

from pathlib import Path

import click

from edgehemo.commands import common
from edgehemo_calibration.commands.options import profile_options, runs_argument
from edgehemo_calibration.commands.profile_editing import finish, now, start
from edgehemo_calibration.commands.slide_runs import measured_runs


@click.command()
@runs_argument
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
    from edgehemo_calibration.output import RepeatabilityCalibrated, RunEntry, written

    profile = start(base, out, names)
    measured = measured_runs(runs, profile, bundle)
    part = Repeatability(
        measured_at=now(),
        fields=sum(run.fields for run in measured),
        spreads=spreads_of(measured),
    )
    profile = profile.model_copy(update={"repeatability": part})
    output = RepeatabilityCalibrated(
        **written(profile, out),
        images=[],
        runs=[RunEntry.of(run) for run in measured],
        repeatability=part,
    )
    finish(profile, out, json_file, output)
    for spread in part.spreads:
        label, unit, decimals = LABELS[spread.quantity]
        share = f", {100 * spread.sd / abs(spread.mean):.1f} %" if spread.mean else ""
        common.say(
            f"{label}: {spread.mean:.{decimals}f} {unit}, SD {spread.sd:.3g} "
            f"({spread.sd_low:.3g} to {spread.sd_high:.3g}){share}; two results of one slide "
            f"differ by at most {REPEATABILITY_FACTOR * spread.sd:.3g} in 95 %",
            json_file,
        )
