"""`edgehemo quality`: may these fields be trusted, and what to do where not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgehemo.commands import common

if TYPE_CHECKING:
    from edgehemo.images.frame import Frame


def _print_codes(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from edgehemo.guidance.page import help_text

        click.echo(help_text())
        context.exit()


def _write_help_page(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    if path is not None:
        from edgehemo.files.atomic import write_text_atomically
        from edgehemo.guidance.page import help_page

        write_text_atomically(path, help_page())
        click.echo(f"help page: {path}")
        context.exit()


@click.command()
@click.option(
    "--codes",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_codes,
    help="Print what every code means and what to do, then stop.",
)
@click.option(
    "--help-page",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=_write_help_page,
    help="Write the same as an HTML page for a device without a network, then stop.",
)
@common.images_argument
@common.bundle_option
@common.profile_option
@common.scale_option
@common.json_option
def quality(
    images: tuple[str, ...],
    bundle: Path | None,
    profile: Path | None,
    um_per_px: float | None,
    json_file: str | None,
) -> int:
    """Check focus, light, stain and density of each IMAGE (files or folders).

    Exit code 1 when an image is refused, 2 when one cannot be read.
    """
    from edgehemo.device.equipment import open_equipment
    from edgehemo.screening.output import QualityEntry, QualityOutput

    reader = open_equipment(bundle, profile).judging_reader(um_per_px)

    def judged(frame: Frame) -> QualityEntry:
        return QualityEntry.of(reader.read(frame))

    entries = common.read_each(images, judged, "checking")
    for entry in common.readable(entries):
        common.say(f"{entry.image}: {'accepted' if entry.accepted else 'refused'}", json_file)
        for check in entry.checks:
            if check.verdict != "pass":
                common.say(f"  {check.verdict} {check.name}: {check.action}", json_file)
    common.write_json(json_file, QualityOutput(images=entries))
    refused = any(not entry.accepted for entry in common.readable(entries))
    return common.exit_code(entries, withheld=refused)
