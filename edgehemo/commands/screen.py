"""`edgehemo screen`: one sample from its sources to result.json and report.html."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgehemo.commands import common

if TYPE_CHECKING:
    from edgehemo.capture.autocapture import View
    from edgehemo.images.frame import Frame

# Width of the focus bar on a terminal.
_BAR_CELLS = 20


@click.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for result.json, report.html and the annotated fields; needed without --record.",
)
@click.option(
    "--record",
    is_flag=True,
    help="Store the result in this device's records; its identifier is said once it is on the "
    "disk.",
)
@click.option("--force", is_flag=True, help="Replace another sample's result in the --out folder.")
@common.bundle_option
@common.profile_option
@common.scale_option
@click.option("--fields", type=click.IntRange(min=1), help="Stop after this many accepted fields.")
@click.option(
    "--counting-error",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="Stop once the red count's 95 % error has fallen to this, such as 0.05.",
)
@click.option(
    "--focus-pass/--no-focus-pass",
    default=None,
    help="Ask for a pass through focus first, and compare every field with its sharpest point. "
    "Default: with a camera on a terminal.",
)
@click.option("--age", type=float, metavar="YEARS", help="Age of the person, for the WHO grade.")
@click.option("--sex", type=click.Choice(["female", "male"]), help="Sex, for the WHO grade.")
@click.option(
    "--pregnant",
    type=click.IntRange(1, 3),
    metavar="TRIMESTER",
    help="Trimester of pregnancy, 1 to 3.",
)
@click.option(
    "--altitude",
    type=float,
    metavar="METRES",
    help="Height above sea level where the person lives.",
)
@click.option("--smoking", is_flag=True, help="The person smokes; the amount is not known.")
@click.option("--cigarettes", type=float, metavar="PER_DAY", help="Cigarettes the person smokes.")
@click.option(
    "--anaemia-screen/--no-anaemia-screen",
    default=None,
    help="Run the anaemia screen, a research aid that takes more time than the cells. Default: as "
    "the device configuration says, else not.",
)
@click.option(
    "--field-estimator",
    is_flag=True,
    help="Run the field estimator even where no concentration of the profile stands on it; its "
    "outputs are under `model` of the indices in result.json.",
)
@click.option(
    "--sample",
    metavar="ID",
    help="What the sample is called, on its report. To be stored it must be a number, never a "
    "name; without one the device draws it.",
)
@click.option("--operator", metavar="ID", help="Who screens it.")
@click.option("--site", metavar="ID", help="Where it is screened.")
@common.json_option
def screen(
    sources: tuple[str, ...],
    out: Path | None,
    record: bool,
    force: bool,
    bundle: Path | None,
    profile: Path | None,
    um_per_px: float | None,
    fields: int | None,
    counting_error: float | None,
    focus_pass: bool | None,
    age: float | None,
    sex: str | None,
    pregnant: int | None,
    altitude: float | None,
    smoking: bool,
    cigarettes: float | None,
    anaemia_screen: bool | None,
    field_estimator: bool,
    sample: str | None,
    operator: str | None,
    site: str | None,
    json_file: str | None,
) -> int:
    """Screen one sample.

    SOURCE is files, a folder, a video, or a camera (picamera2:0, uvc:/dev/video0, simulated:).
    A camera whose slide is moved by hand takes a field by itself once it is sharp, still and new.
    Exit code 1 when the result is withheld, 2 when an input cannot be read.
    """
    from edgehemo.anaemia.who_grade import Person
    from edgehemo.api import screen_sources
    from edgehemo.capture import LiveCapture
    from edgehemo.commands.screened import lines_of
    from edgehemo.errors import UsageError
    from edgehemo.screening.labels import SampleLabels

    if out is None and not record:
        raise UsageError("say where the result goes: --out DIR for a folder, --record to store it")
    labels = SampleLabels(sample, operator, site)
    details = {
        "--sex": sex,
        "--pregnant": pregnant,
        "--altitude": altitude,
        "--smoking": smoking or None,
        "--cigarettes": cigarettes,
    }
    if age is None and (alone := [name for name, value in details.items() if value is not None]):
        raise UsageError(f"{', '.join(alone)} without --age gives no WHO grade; add --age YEARS")
    person = None
    if age is not None:
        person = Person(
            age_years=age,
            sex="female" if sex == "female" else "male" if sex == "male" else None,
            pregnancy_trimester=pregnant,
            altitude_m=altitude or 0.0,
            smoker=True if smoking or cigarettes else None,
            cigarettes_per_day=cigarettes,
        )
    interactive = sys.stderr.isatty()
    live_line = _LiveLine()
    live = LiveCapture(
        focus_pass=interactive if focus_pass is None else focus_pass,
        on_view=live_line if interactive else None,
        on_fault=lambda error: common.complain(f"{error} Trying again."),
    )
    with common.Progress("screening", _total(sources, fields)) as progress:
        result = screen_sources(
            sources,
            out,
            bundle=bundle,
            profile=profile,
            um_per_px=um_per_px,
            person=person,
            fields=fields,
            counting_error=counting_error,
            live=live,
            on_image=lambda _: None if live_line.shown else progress.advance(),
            labels=labels,
            record=record,
            force=force,
            anaemia_screen=anaemia_screen,
            field_estimator=field_estimator,
        )
    said = result.record
    for entry in said["images"]:
        if "error" in entry:
            common.complain(entry["error"])
    for line in lines_of(said):
        common.say(line, json_file)
    if result.recorded is not None:
        common.say(f"stored as: {result.recorded.result_id}", json_file)
    elif record:
        common.complain("nothing was stored: no image could be read")
    if result.report is not None:
        common.say(f"report: {result.report}", json_file)
    common.write_json(json_file, result.output)
    return common.exit_code(result.output.images, withheld=said["withheld"] is not None)


class _LiveLine:
    """The focus bar and what to do, in one line of the terminal that is written over."""

    shown = False

    def __call__(self, view: View, frame: Frame) -> None:
        from edgehemo.guidance.catalogue import guidance

        self.shown = True
        filled = round(view.bar * _BAR_CELLS)
        bar = "#" * filled + "." * (_BAR_CELLS - filled)
        click.echo(f"\r\x1b[Kfocus {bar} {guidance(view.advice).action}", nl=False, err=True)
        if view.take:
            click.echo(err=True)


def _total(sources: tuple[str, ...], fields: int | None) -> int | None:
    """How many images there are at most; of a camera as many fields as were asked for."""
    from edgehemo.capture import is_camera

    if any(is_camera(source) for source in sources):
        return fields
    return common.total_of(sources)
