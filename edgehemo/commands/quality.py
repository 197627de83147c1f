"""`edgehemo quality`: may these fields be trusted, and what to do where not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgehemo.commands import common

if TYPE_CHECKING:
    from edgehemo.frame import Frame


@click.command()
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
    from edgehemo.opening import open_equipment
    from edgehemo.screening import read_field

    equipment = open_equipment(bundle, profile)
    envelope = equipment.envelope

    def judged(frame: Frame) -> dict[str, Any]:
        reading = read_field(
            frame,
            equipment.finder,
            profile=equipment.profile,
            um_per_px=um_per_px,
            envelope=envelope,
        )
        return reading.quality.as_json()

    entries = common.read_each(images, judged, "checking")
    for entry in common.readable(entries):
        common.say(f"{entry['image']}: {'accepted' if entry['accepted'] else 'refused'}", json_file)
        for check in entry["checks"]:
            if check["verdict"] != "pass":
                line = f"  {check['verdict']} {check['name']}: {check['action']}"
                common.say(line, json_file)
    common.write_json(json_file, "quality", {"images": entries})
    refused = any(not entry["accepted"] for entry in common.readable(entries))
    return common.exit_code(entries, withheld=refused)
