"""`edgehemo screen`: one sample from its sources to result.json and report.html."""

from __future__ import annotations

from pathlib import Path

import click

from edgehemo.commands import common


@click.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option(
    "--out",
    metavar="DIR",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for result.json, report.html and the annotated fields.",
)
@common.bundle_option
@common.profile_option
@common.scale_option
@click.option("--fields", type=click.IntRange(min=1), help="Stop after so many accepted fields.")
@click.option("--age", type=float, metavar="YEARS", help="For the WHO grade.")
@click.option("--sex", type=click.Choice(["female", "male"]), help="For the WHO grade.")
@click.option(
    "--pregnant", type=click.IntRange(1, 3), metavar="TRIMESTER", help="Trimester, 1 to 3."
)
@click.option("--altitude", type=float, metavar="METRES", help="Where the person lives.")
@click.option("--smoking", is_flag=True, help="The person smokes, an unknown amount.")
@click.option("--cigarettes", type=float, metavar="PER_DAY", help="The person smokes so many.")
@common.json_option
def screen(
    sources: tuple[str, ...],
    out: Path,
    bundle: Path | None,
    profile: Path | None,
    um_per_px: float | None,
    fields: int | None,
    age: float | None,
    sex: str | None,
    pregnant: int | None,
    altitude: float | None,
    smoking: bool,
    cigarettes: float | None,
    json_file: str | None,
) -> int:
    """Screen one sample.

    SOURCE is files, a folder, a video, or a camera (picamera2:0, uvc:/dev/video0, simulated:).
    Exit code 1 when the result is withheld, 2 when an input cannot be read.
    """
    from edgehemo.anaemia import Person
    from edgehemo.api import screen as screen_sample
    from edgehemo.commands.estimate import sample_lines
    from edgehemo.errors import UsageError

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
    with common.Progress("screening") as progress:
        result = screen_sample(
            sources,
            out,
            bundle=bundle,
            profile=profile,
            um_per_px=um_per_px,
            person=person,
            fields=fields,
            on_image=lambda _: progress.advance(),
        )
    record = result.record
    for entry in record["images"]:
        if "error" in entry:
            common.complain(entry["error"])
    sample = record["sample"]
    common.say(
        f"{sample['accepted']} of {sample['images']} images accepted, {sample['refused']} refused",
        json_file,
    )
    for line in sample_lines({**sample, "withheld": record["withheld"]}):
        common.say(line, json_file)
    if record["anaemia"] is not None:
        common.say(_grade_line(record["anaemia"]), json_file)
    common.say(f"report: {result.report}", json_file)
    common.write_record(json_file, record)
    return common.exit_code(record["images"], withheld=record["withheld"] is not None)


def _grade_line(anaemia: dict[str, object]) -> str:
    return (
        f"WHO grade: {anaemia['grade']}, probability {anaemia['probability_below_limit']:.2f} of "
        f"being below {anaemia['limit_g_per_l']:g} g/L ({anaemia['group']})"
    )
