"""`edgehemo calibrate analyser`: the line from indices to an analyser's values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_WITHHELD, UsageError
from edgehemo.measurands import MEASURANDS
from edgehemo_calibration.commands.equipment import measuring_reader
from edgehemo_calibration.commands.options import path_type, profile_options, scale_option
from edgehemo_calibration.commands.profile_editing import (
    GIVEN_SCALE_UNCERTAINTY,
    finish,
    now,
    start,
)

if TYPE_CHECKING:
    from edgehemo.screening.field import FieldReader
    from edgehemo_calibration.analyser.pairs import Pair
    from edgehemo_calibration.measuring import MeasuredImage


@click.command()
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
    "--keep-suspects",
    is_flag=True,
    help="Go on although a sample lies far off the others' line: its tube, row and pictures were "
    "looked at and are right.",
)
@click.option(
    "--page",
    "page_file",
    metavar="FILE",
    type=path_type,
    help="Page with plots (HTML) to write. It names samples.",
)
@scale_option
@common.bundle_option
@profile_options
def analyser(
    folder: Path,
    pairs_file: Path,
    keep_refused: bool,
    keep_suspects: bool,
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
    from edgehemo_calibration.analyser.fit import fit_analyser, refuse_too_few
    from edgehemo_calibration.analyser.pairs import read_pairs
    from edgehemo_calibration.measuring import samples_of
    from edgehemo_calibration.output import (
        AnalyserCalibrated,
        PointEntry,
        measured_entry,
        written,
    )

    pairs = read_pairs(pairs_file, folder)
    refuse_too_few([pair.reference for pair in pairs])
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
    reader, opened = measuring_reader(bundle, profile, keep_refused=keep_refused)
    measured = _measured(pairs, reader)
    for item in measured.values():
        if item.error:
            common.failed(str(item.image), item.error)
    samples, without = samples_of(pairs, measured)
    for name in without:
        codes = {code for m in measured.values() if m.sample == name for code in m.failed}
        why = f" ({', '.join(sorted(codes))})" if codes else ""
        common.complain(f"sample {name} left out: no field accepted{why}")
    fit = fit_analyser(
        samples,
        made_at=now(),
        um_per_px=profile.scale.um_per_px if profile.scale is not None else None,
        flat_field_sha256=profile.illumination.digest() if profile.illumination else None,
        bundle_sha256=opened.digest if opened is not None else None,
        camera=profile.camera,
        keep_suspects=keep_suspects,
        refused_fields=sum(1 for m in measured.values() if m.failed and m.indices is not None),
    )
    profile = profile.model_copy(update={"analyser": fit.calibration})
    output = AnalyserCalibrated(
        **written(profile, out),
        images=[measured_entry(item) for item in measured.values()],
        samples_left_out=list(without),
        analyser=fit.calibration,
        points=[PointEntry.of(point) for point in fit.points],
        refused=fit.refused,
    )
    finish(profile, out, json_file, output)
    if page_file is not None:
        from edgehemo.files.atomic import write_text_atomically
        from edgehemo_calibration.analyser.page import analyser_page

        write_text_atomically(page_file, analyser_page(fit))
    if json_file != common.STDOUT:
        from rich.console import Console

        from edgehemo_calibration.analyser.table import print_fit

        print_fit(fit, Console(width=None))
    common.say(f"{fit.calibration.grade} on {fit.calibration.samples} samples: {out}", json_file)
    if any(item.error for item in measured.values()):
        return EXIT_BAD_INPUT
    return EXIT_WITHHELD if fit.refused else EXIT_DONE


def _measured(pairs: tuple[Pair, ...], reader: FieldReader) -> dict[Path, MeasuredImage]:
    from edgehemo_calibration.measuring import measure_image

    found = {}
    total = sum(len(pair.images) for pair in pairs)
    with common.Progress("measuring", total=total) as progress:
        for pair in pairs:
            for image in pair.images:
                found[image] = measure_image(image, pair.name, reader)
                progress.advance()
    return found
