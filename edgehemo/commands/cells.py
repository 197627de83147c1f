"""`edgehemo cells`: every cell of each image with its box."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgehemo.commands import common

if TYPE_CHECKING:
    from edgehemo.images.frame import Frame


@click.command()
@common.images_argument
@common.bundle_option
@common.profile_option
@common.scale_option
@common.json_option
def cells(
    images: tuple[str, ...],
    bundle: Path | None,
    profile: Path | None,
    um_per_px: float | None,
    json_file: str | None,
) -> int:
    """Find the red cells, white cells and platelets of each IMAGE (files or folders).

    Boxes are in pixels of the image; `type` is what the classifiers name a cell, `uncertain` where
    they cannot. A field that quality refuses is searched all the same and
    says so: `accepted` is false and `failed` names the checks.
    """
    from edgehemo.device.equipment import open_equipment
    from edgehemo.screening.output import CellsEntry, CellsOutput

    reader = open_equipment(bundle, profile).cells_reader(um_per_px)

    def found(frame: Frame) -> CellsEntry:
        return CellsEntry.of(reader.read(frame))

    entries = common.read_each(images, found, "finding cells")
    assert reader.typer is not None, "cells are named"
    _ = reader.typer.classifiers  # a damaged classifier is told of whatever the images were
    for entry in common.readable(entries):
        counts = entry.counts
        doubt = "" if entry.accepted else f" (quality refuses: {', '.join(entry.failed)})"
        common.say(
            f"{entry.image}: {counts.rbc} red, {counts.wbc} white, "
            f"{counts.platelet} platelets{doubt}",
            json_file,
        )
    common.write_json(json_file, CellsOutput(images=entries))
    return common.exit_code(entries, withheld=False)
