"""`edgehemo calibrate show`: which calibration is in force, and what it is worth."""

from __future__ import annotations

from pathlib import Path

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_DONE, EXIT_WITHHELD
from edgehemo_calibration.commands.options import checked_profile_option
from edgehemo_calibration.commands.profile_editing import now, profile_of


@click.command()
@checked_profile_option
@common.json_option
def show(profile_path: Path | None, json_file: str | None) -> int:
    """Show the calibration in force: from where, how good, until when, the last control.

    Exit code 1 when results are withheld with it now.
    """
    from edgehemo.device.calibration_state import profile_lines
    from edgehemo.device.configuration import configured_path, load_device
    from edgehemo.device.readiness import profile_notes, why_blocked
    from edgehemo_calibration.output import ShowOutput

    path, profile = profile_of(profile_path)
    device, at = load_device(None), now()
    if profile_path is not None:
        origin = "named by --profile"
    else:
        origin = f"named by the device configuration, {configured_path() or 'as shipped'}"
    lines = profile_lines(profile, path, device, now=at)
    blocked = why_blocked(profile, path, device, now=at)
    notes = profile_notes(profile, path)
    for line in (f"{path} ({origin})", *lines, *notes):
        common.say(line, json_file)
    if blocked is not None:
        common.say(f"results are withheld: {blocked.reason}", json_file)
        common.say(f"  {blocked.action}", json_file)
    output = ShowOutput(
        images=[],
        profile=str(path),
        profile_sha256=profile.digest(),
        origin=origin,
        seal=profile.seal_state,
        lines=tuple(lines),
        notes=notes,
        blocked=blocked,
    )
    common.write_json(json_file, output)
    return EXIT_DONE if blocked is None else EXIT_WITHHELD
