"""`edgehemo calibrate clear`: failed control checks, their cause found and mended."""

from __future__ import annotations

from pathlib import Path

import click

from edgehemo.commands import common
from edgehemo.errors import UsageError
from edgehemo.version import __version__
from edgehemo_calibration.commands.options import checked_profile_option
from edgehemo_calibration.commands.profile_editing import now, profile_of


@click.command()
@click.option("--reason", required=True, help="The cause that was found and what was done.")
@click.option("--by", required=True, help="Initials of who takes responsibility.")
@checked_profile_option
@common.json_option
def clear(reason: str, by: str, profile_path: Path | None, json_file: str | None) -> None:
    """Clear failed control checks, after their cause was found and mended."""
    from edgehemo.control.history import Clearance, checks_since_clearance
    from edgehemo.device.configuration import load_device
    from edgehemo.records.controls import control_history, keep_control
    from edgehemo.records.store import Store
    from edgehemo_calibration.output import ClearOutput

    path, profile = profile_of(profile_path)
    reason, by = reason.strip(), by.strip()
    if not reason or not by or len(reason) > 500 or len(by) > 40:
        raise UsageError("--reason needs up to 500 letters and --by up to 40, and neither is empty")
    store = Store.below(load_device(None).data_dir)
    known = control_history(store, profile, path)
    failed = [item for item in checks_since_clearance(known) if not item.passed]
    if not failed:
        raise UsageError(f"{path}: no failed control check to clear")
    record = Clearance(at=now(), software_version=__version__, reason=reason, by=by)
    with store.writer() as writer:
        keep_control(writer, profile, path, record, by=by)
    common.say(f"cleared {len(failed)} failed checks; check the control slide again", json_file)
    common.write_json(
        json_file,
        ClearOutput(
            images=[], history=str(store.folder.database), cleared=len(failed), clearance=record
        ),
    )
