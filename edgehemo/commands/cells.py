"""`edgehemo cells`: every cell of each image with its box."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from concurrent.futures import ThreadPoolExecutor

    from edgehemo.device.equipment import open_equipment

    equipment = open_equipment(bundle, profile)
    # The classifiers are opened while the rest is imported and the first field is searched.
    typer = ThreadPoolExecutor(max_workers=1).submit(equipment.open_typer)
    from edgehemo.field.canonical import canonical_field
    from edgehemo.quality import check_field

    envelope = equipment.envelope

    def found(frame: Frame) -> dict[str, Any]:
        canonical = canonical_field(frame, um_per_px=um_per_px, profile=equipment.profile)
        in_field = equipment.finder.find(canonical)
        report = check_field(
            canonical,
            frame,
            cells=in_field,
            profile=equipment.profile,
            envelope=envelope,
        )
        in_field = typer.result().typed(canonical, in_field)
        return {
            "width": frame.width,
            "height": frame.height,
            "um_per_px": canonical.frame_um_per_px,
            "scale_source": canonical.scale_source,
            "accepted": report.accepted,
            "failed": list(report.faults),
            "counts": dict(in_field.counts),
            "interior_counts": {
                kind: count.as_json() for kind, count in in_field.interior_counts.items()
            },
            "interior_area_mm2": in_field.interior_area_mm2,
            "cells": [cell.as_json() for cell in in_field.cells],
        }

    entries = common.read_each(images, found, "finding cells")
    typer.result()  # a damaged classifier is told of whatever the images were
    for entry in common.readable(entries):
        counts = entry["counts"]
        doubt = "" if entry["accepted"] else f" (quality refuses: {', '.join(entry['failed'])})"
        common.say(
            f"{entry['image']}: {counts['rbc']} red, {counts['wbc']} white, "
            f"{counts['platelet']} platelets{doubt}",
            json_file,
        )
    common.write_json(json_file, "cells", {"images": entries})
    return common.exit_code(entries, withheld=False)
