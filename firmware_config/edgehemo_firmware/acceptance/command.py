"""`edgehemo device acceptance`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_DONE, EXIT_WITHHELD, UsageError


class _Terminal:
    """A person before a terminal."""

    def say(self, line: str) -> None:
        click.echo(line, nl=not line.startswith("\r"))

    def yes(self, question: str) -> bool:
        return click.confirm(question)

    def number(self, question: str) -> float | None:
        while True:
            given = click.prompt(question, default="", show_default=False).strip()
            try:
                return float(given) if given else None
            except ValueError:
                click.echo("a number, please")

    def ready(self, what: str) -> bool:
        return click.confirm(f"{what}. Ready (no: leave it out)?", default=True)


@click.command()
@click.option("--by", metavar="NAME", help="Who makes it; asked for at the first start.")
@click.option("--place", metavar="TEXT", default="", help="Where, such as the laboratory.")
@click.option(
    "--only", "only", multiple=True, metavar="CHECK", help="This check alone; may be repeated."
)
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, exists=True),
    metavar="DIR",
    help="Model bundle whose artefacts are timed, such as one of every runtime and precision; "
    "default: the device's.",
)
@click.option("--list", "list_", is_flag=True, help="Say what is checked, and check nothing.")
@click.option("--fresh", is_flag=True, help="Begin anew; what was checked so far is let go.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where it keeps itself between power cuts, and the report. Default: acceptance in the "
    "data folder.",
)
def acceptance(
    by: str | None,
    place: str,
    only: tuple[str, ...],
    bundle: Path | None,
    list_: bool,
    fresh: bool,
    out: Path | None,
) -> int:
    """Check this device with its camera, a slide and a person, in about an hour.

    Asks, measures, and goes on after each power cut where it was: run it again. Ends with
    report.json, signed by this device's key: add it to the documentation's table of boards. What a
    machine cannot do is told with why. Exit code 1 where a check failed.
    """
    from edgehemo.device.configuration import load_device
    from edgehemo.records.clock import now
    from edgehemo_firmware.acceptance.checks import CHECKS
    from edgehemo_firmware.acceptance.going import Acceptance
    from edgehemo_firmware.acceptance.here import ThisDevice
    from edgehemo_firmware.acceptance.record import Run, read_run

    names = [check.name for check in CHECKS]
    if unknown := sorted(set(only) - set(names)):
        raise UsageError(f"no check {', '.join(unknown)}; there are {', '.join(names)}")
    if list_:
        for check in CHECKS:
            who = ", with sudo" if check.root else ""
            common.say(f"{check.name:<9} {check.minutes:>3} min  {check.title}: needs "
                       f"{check.needs}{who}", None)  # fmt: skip
        common.say(f"together about {sum(check.minutes for check in CHECKS)} min", None)
        return EXIT_DONE
    folder = out if out is not None else load_device(None).data_dir / "acceptance"
    begun = None if fresh else read_run(folder / "run.json")
    if begun is None:
        who = by or click.prompt("Who makes this acceptance")
        begun = Run(begun_at=now(), by=who, place=place)
        (folder / "numbers.txt").unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    here, root = ThisDevice.found(bundle), os.geteuid() == 0
    going = Acceptance(begun, here, _Terminal(), folder, root, now, only or None)
    report = going.go()
    failed = [each.check for each in report.outcomes if each.state == "fail"]
    signed = report.signer
    common.say(f"report: {folder / 'report.json'}", None)
    common.say(f"signed by {signed}" if signed else "not signed: no key can be kept here", None)
    if failed:
        common.say(f"failed: {', '.join(failed)}", None)
    return EXIT_WITHHELD if failed else EXIT_DONE
