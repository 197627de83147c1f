"""`edgehemo evaluate`: a checkpoint on the images kept out of its training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_DONE, UsageError
from edgehemo.files.atomic import write_bytes_atomically, write_text_atomically
from edgehemo_export.commands.options import need_host
from edgehemo_export.models.registry import BY_TASK

if TYPE_CHECKING:
    from edgehemo.bundle.manifest import Metric
    from edgehemo_export.checkpoints import Checkpoint
    from edgehemo_export.data.splits import Part


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="Data root with labels.",
)
@click.option(
    "--part",
    type=click.Choice(["tune", "test"]),
    default="test",
    show_default=True,
    help="Part of the split; look at the test part once.",
)
@click.option(
    "--save/--no-save",
    default=False,
    help="Store the metrics in the checkpoint and write its model card beside it.",
)
@click.option(
    "--left-out",
    "left_out_runs",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Checkpoint of a --leave-out run, measured on its own source; repeatable.",
)
@click.option(
    "--sheets",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for drawn predictions, the worst ones too; they show the data itself.",
)
@common.json_option
def evaluate(
    checkpoint: Path,
    data: Path,
    part: str,
    save: bool,
    left_out_runs: tuple[Path, ...],
    sheets: Path | None,
    json_file: str | None,
) -> int:
    """Measure a checkpoint on kept-out images, the way the device reads them.

    Weights of an earlier split are measured only on pictures that were kept out of their training
    and lie in the same part now.
    """
    need_host()
    from rich.console import Console
    from rich.table import Table

    from edgehemo_export.checkpoints import load_checkpoint, save_checkpoint
    from edgehemo_export.data.splits import SPLIT_NAME, model_split
    from edgehemo_export.output import EvaluateOutput

    loaded = load_checkpoint(checkpoint)
    # A run that left a source out is measured on all of it: no split says what it was trained on.
    left_out = loaded.record.get("left_out")
    note = model_split(loaded.task, loaded.record).says if left_out is None else None
    if note is not None:
        common.complain(note)
    module = BY_TASK[loaded.task].load()
    chosen: Literal["tune", "test"] = "test" if part == "test" else "tune"
    evaluation = module.evaluate(loaded, data, chosen)
    metrics = list(evaluation.metrics)
    for path in left_out_runs:
        metrics += _measured_left_out(load_checkpoint(path), loaded.task, data, chosen)
    common.write_json(
        json_file,
        EvaluateOutput(
            checkpoint=checkpoint.name,
            part=chosen,
            split=SPLIT_NAME,
            split_note=note,
            metrics=metrics,
            tables=evaluation.tables,
        ),
    )
    if json_file != common.STDOUT:
        table = Table(title=f"{checkpoint.name}, {part} part")
        for heading in ("source", "metric", "value", "95 % interval", "images"):
            table.add_column(heading)
        for metric in metrics:
            bounds = "" if metric.low is None else f"{metric.low:.4f} to {metric.high:.4f}"
            table.add_row(
                metric.source, metric.name, f"{metric.value:.4f}", bounds, str(metric.images)
            )
        Console().print(table)
    if sheets is not None:
        sheets.mkdir(parents=True, exist_ok=True)
        for name, png in evaluation.sheets.items():
            write_bytes_atomically(sheets / f"{checkpoint.stem}.{name}.png", png)
    if save:
        pictures = []
        for name, data_of_picture in evaluation.pictures.items():
            file = checkpoint.with_name(f"{checkpoint.stem}.{name}.png")
            write_bytes_atomically(file, data_of_picture)
            pictures.append(file.name)
        record = {
            **loaded.record,
            "metrics": [m.model_dump() for m in metrics],
            "tables": evaluation.tables,
            "pictures": pictures,
            "measured": {"split": SPLIT_NAME, "note": note},
        }
        named = replace(loaded, record=record)
        save_checkpoint(checkpoint, named)
        write_text_atomically(checkpoint.with_suffix(".md"), module.card(named))
    return EXIT_DONE


def _measured_left_out(run: Checkpoint, task: str, data: Path, part: Part) -> list[Metric]:
    """The metrics of a leave-one-source-out run, their source marked as never trained on."""
    from edgehemo_export.evaluation.card_parts import LEFT_OUT

    source = run.record.get("left_out")
    if run.task != task or source is None:
        raise UsageError(f"--left-out takes checkpoints of {task} trained with --leave-out")
    found = BY_TASK[task].load().evaluate(run, data, part).metrics
    return [m.model_copy(update={"source": f"{m.source}{LEFT_OUT}"}) for m in found]
