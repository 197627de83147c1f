"""`edgehemo demo`: the whole screening, on the simulated microscope."""

from __future__ import annotations

from pathlib import Path

import click

from edgehemo.commands import common
from edgehemo.words.counted import counted


@click.command()
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the report [default: edgehemo-demo].",
)
@common.json_option
def demo(out: Path | None, json_file: str | None) -> int:
    """Screen a simulated slide of known blood, with some bad fields, and write its report."""
    from edgehemo.commands.estimate import sample_lines
    from edgehemo.demo import demonstration
    from edgehemo.measurands import MEASURAND_FACTS
    from edgehemo.report.result import DemoOutput

    common.say("SIMULATED: a slide drawn by the simulated microscope, no real blood", json_file)
    with common.Progress("screening", total=demonstration.DEMO_SLIDE.fields) as progress:
        result, panel = demonstration.run(
            out or demonstration.DEFAULT_FOLDER, lambda _: progress.advance()
        )
    record = result.record
    sample = record["sample"]
    for entry in record["images"]:
        if "error" in entry:
            common.complain(entry["error"])
        elif not entry["accepted"]:
            failed = ", ".join(c["name"] for c in entry["checks"] if c["verdict"] == "fail")
            common.say(f"refused {entry['image']}: {failed}", json_file)
    common.say(f"{sample['accepted']} of {counted(sample['images'], 'field')} accepted", json_file)
    for line in sample_lines({**sample, "withheld": record["withheld"]}):
        common.say(line, json_file)
    drawn = ", ".join(
        f"{facts.name} {facts.with_unit(getattr(panel, key))}"
        for key, facts in MEASURAND_FACTS.items()
    )
    common.say(f"the slide was drawn from {drawn}", json_file)
    common.write_json(json_file, result.written_as(DemoOutput))
    if result.report is not None:
        common.say(f"report: {result.report}", json_file)
    return common.exit_code(result.output.images, withheld=record["withheld"] is not None)
