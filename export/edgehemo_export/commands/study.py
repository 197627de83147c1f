"""`edgehemo study`: a paper's study from data to figures and one page."""

from __future__ import annotations

from pathlib import Path

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_DONE
from edgehemo_export.commands.options import need_host
from edgehemo_export.studies.registry import STUDIES

_NAMES = "\n".join(f"{entry.name}: {entry.says}." for entry in STUDIES.values())


@click.command(
    help="Repeat a paper's study: from data to figures, and a page that sets them beside the "
    "paper's.\n\n"
    f"\b\n{_NAMES}\n\n"
    "A run that was stopped goes on when it is called again with the same --out. The same seeds "
    "give the same numbers."
)
@click.argument("name", type=click.Choice(list(STUDIES)))
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="Data root that holds the public sets side by side, each in a folder of its name; or a "
    "folder of one's own of the shape that the study's documentation tells.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for metrics.json, predictions.csv, figures and index.html.",
)
@click.option(
    "--quick",
    is_flag=True,
    help="Cut down to ten minutes on two cores; its figures are marked and must not be quoted.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="TOML that overrides keys of the shipped configuration.",
)
@common.json_option
def study(
    name: str, data: Path, out: Path, quick: bool, config: Path | None, json_file: str | None
) -> int:
    """Repeat a paper's study."""
    need_host()
    from edgehemo_export.studies.page import minutes
    from edgehemo_export.studies.run import (
        PAGE,
        expected_seconds,
        read_study_configuration,
        run_study,
    )

    chosen = STUDIES[name].load()
    configuration = read_study_configuration(chosen, config, quick=quick)
    expected = expected_seconds(chosen, configuration)
    common.tell(
        f"{chosen.title}: about {minutes(expected)} with {configuration.threads} thread(s) on the "
        "machine it was timed on"
    )
    with common.Progress(f"study {name}", max(1, round(expected)), long=True) as bar:
        output = run_study(
            chosen,
            data,
            out,
            configuration,
            quick=quick,
            progress=lambda seconds, doing: bar.reach(round(seconds), doing),
        )
    common.write_json(json_file, output)
    common.tell(f"{out / PAGE}: {len(output.measures)} figures in {minutes(output.run.seconds)}")
    return EXIT_DONE
