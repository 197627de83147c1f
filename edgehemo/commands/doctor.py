"""`edgehemo doctor`: what is installed, plugged in and free, and what is wrong."""

from __future__ import annotations

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_DONE, EXIT_WITHHELD


@click.command()
@common.json_option
def doctor(json_file: str | None) -> int:
    """Say what is installed, plugged in and free, what is wrong and what to do.

    Exit code 1 when something is wrong that stops a screening.
    """
    from edgehemo.device.doctor import examine
    from edgehemo.device.output import DoctorOutput

    report = examine()
    for finding in report.findings:
        common.say(f"{finding.status:<5}{finding.name}: {finding.detail}", json_file)
        if finding.action:
            common.say(f"     {finding.action}", json_file)
    common.write_json(json_file, DoctorOutput.of(report))
    return EXIT_WITHHELD if report.status == "fail" else EXIT_DONE
