"""The workstation's commands: train, evaluate, export. PyTorch is imported when one runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_DONE, EXIT_WITHHELD, MissingDependencyError, UsageError
from edgehemo.files import write_bytes_atomically, write_text_atomically
from edgehemo_export.tasks import BY_NAME, BY_TASK

if TYPE_CHECKING:
    from edgehemo.bundle import Metric
    from edgehemo_export.checkpoints import Checkpoint
    from edgehemo_export.data.splits import Part
    from edgehemo_export.quantisation.records import ExportRow


def _need_host() -> None:
    try:
        import safetensors  # noqa: F401
        import torch  # noqa: F401
    except ImportError:
        raise MissingDependencyError(
            'training and export need PyTorch: pip install "edgehemo[host]"'
        ) from None


data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="Data root: the public sets side by side, each in a folder of its name.",
)


@contextmanager
def _steps_bar(total: int) -> Iterator[Callable[[int, dict[str, float]], None]]:
    """A progress bar on a terminal, one line every 200 steps in a log."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:

        def tell(step: int, parts: dict[str, float]) -> None:
            if step % 200 == 0 or step == total:
                figures = " ".join(f"{name} {value:.4f}" for name, value in parts.items())
                click.echo(f"step {step}/{total} {figures}", err=True)

        yield tell
        return
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=console
    ) as bar:
        task = bar.add_task("training", total=total)

        def advance(step: int, parts: dict[str, float]) -> None:
            figures = " ".join(f"{name} {value:.3f}" for name, value in parts.items())
            bar.update(task, completed=step, description=f"step {step} {figures}")

        yield advance


@click.command()
@click.argument("task", type=click.Choice(list(BY_NAME)))
@data_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Checkpoint to write (.safetensors).",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="TOML that overrides keys of the shipped configuration.",
)
@click.option(
    "--work",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for caches and the state a stopped run resumes from [default: beside --out].",
)
@click.option(
    "--init",
    "initial",
    metavar="CKPT|imagenet",
    help="Start from the weights of this checkpoint, or from ImageNet's where they can be had.",
)
@click.option(
    "--teacher",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Classifiers: checkpoint of a larger network whose answers to the crops as they are "
    "drawn and varied take the configured teacher_share of every target.",
)
@click.option(
    "--leave-out",
    metavar="SOURCE",
    help="Keep this source out whole; `edgehemo evaluate` then measures on it alone.",
)
@click.option("--steps", type=click.IntRange(1), help="Overrides the configured steps.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads of PyTorch.")
@click.option("--resume/--no-resume", default=True, show_default=True)
@common.json_option
def train(
    task: str,
    data: Path,
    out: Path,
    config: Path | None,
    work: Path | None,
    initial: str | None,
    teacher: Path | None,
    leave_out: str | None,
    steps: int | None,
    threads: int | None,
    resume: bool,
    json_file: str | None,
) -> int:
    """Train a model. A stopped run goes on from its last state when called again.

    Only the training part of the data is learned from; the tune part sets thresholds and score
    calibration; the test part is left for `edgehemo evaluate`.
    """
    _need_host()
    import cv2
    import torch

    from edgehemo.files import sha256_of_file
    from edgehemo_export.checkpoints import load_checkpoint, save_checkpoint
    from edgehemo_export.training.loop import Run, check_initial

    if threads is not None:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
    if out.suffix != ".safetensors":
        raise UsageError(f"--out {out.name}: a checkpoint's name ends in .safetensors")
    module = BY_NAME[task].load()
    changes: dict[str, object] = {} if steps is None else {"loop": {"steps": steps}}
    start = None
    if initial == "imagenet":
        if "init" not in type(module.read_config()).model_fields:
            raise UsageError(f"--init imagenet: there are no such weights for {task}")
        changes["init"] = initial
    elif initial is not None:
        start = load_checkpoint(Path(initial))
    settings = module.read_config(config, changes)
    check_initial(settings, begun=initial is not None)
    if teacher is not None and "teacher_share" not in type(settings).model_fields:
        raise UsageError(f"--teacher: {task} is not learned from a teacher, the classifiers are")
    with _steps_bar(settings.loop.steps) as progress:
        checkpoint = module.run_training(
            data,
            settings,
            work or out.with_name(out.stem + ".work"),
            Run(
                resume=resume,
                initial=start,
                teacher=None if teacher is None else load_checkpoint(teacher),
                leave_out=leave_out,
                progress=progress,
                show_progress=sys.stderr.isatty(),
            ),
        )
    if int(os.environ.get("RANK", "0")) != 0:
        return EXIT_DONE  # under torchrun the first process writes for all
    save_checkpoint(out, checkpoint)
    record = checkpoint.record
    common.write_record(
        json_file,
        {
            "schema": "edgehemo.train/1",
            "task": task,
            "checkpoint": str(out),
            "sha256": sha256_of_file(out),
            "steps": record["steps"],
            "seconds": record["seconds"],
        },
    )
    click.echo(f"{out}: {record['steps']} steps in {record['seconds'] / 60:.1f} min", err=True)
    return EXIT_DONE


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
    """Measure a checkpoint on kept-out images, the way the device reads them."""
    _need_host()
    from rich.console import Console
    from rich.table import Table

    from edgehemo_export.checkpoints import Checkpoint, load_checkpoint, save_checkpoint

    loaded = load_checkpoint(checkpoint)
    module = BY_TASK[loaded.task].load()
    chosen: Part = "test" if part == "test" else "tune"
    evaluation = module.evaluate(loaded, data, chosen)
    metrics = list(evaluation.metrics)
    for path in left_out_runs:
        metrics += _measured_left_out(load_checkpoint(path), loaded.task, data, chosen)
    common.write_record(
        json_file,
        {
            "schema": "edgehemo.evaluate/1",
            "checkpoint": checkpoint.name,
            "part": part,
            "metrics": [metric.model_dump() for metric in metrics],
            "tables": evaluation.tables,
        },
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
        }
        named = Checkpoint(loaded.task, loaded.weights, record)
        save_checkpoint(checkpoint, named)
        write_text_atomically(checkpoint.with_suffix(".md"), module.card(named))
    return EXIT_DONE


def _measured_left_out(run: Checkpoint, task: str, data: Path, part: Part) -> list[Metric]:
    """The metrics of a leave-one-source-out run, their source marked as never trained on."""
    source = run.record.get("left_out")
    if run.task != task or source is None:
        raise UsageError(f"--left-out takes checkpoints of {task} trained with --leave-out")
    found = BY_TASK[task].load().evaluate(run, data, part).metrics
    return [m.model_copy(update={"source": f"{m.source}, left out of training"}) for m in found]


@click.command()
@click.argument(
    "checkpoints",
    metavar="CKPT...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
)
@click.option("--int8", is_flag=True, help="Static int8 (the default where no precision is given).")
@click.option("--fp16", is_flag=True, help="Half precision.")
@click.option("--fp32", is_flag=True, help="Single precision.")
@click.option("--format", "formats", multiple=True, help="Artefact format; repeatable.")
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    help="Data root, folder or list of images to calibrate int8 on; int8 has no default.",
)
@click.option(
    "--evaluation",
    type=click.Path(path_type=Path),
    help="Data root with labels for the parity gates [default: --calibration's tune part].",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Bundle to write: a folder, or one file where the name ends in .zip.",
)
@click.option("--name", default="edgehemo", show_default=True, help="Name in the manifest.")
@click.option(
    "--accuracy-control",
    is_flag=True,
    help="Where int8 fails its gate, leave more and more layers in float until it holds.",
)
@click.option("--fresh", is_flag=True, help="Make again what is up to date in an older bundle.")
@click.option(
    "--key",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Private key to sign with [default: this user's, made when there is none].",
)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@common.json_option
def export(
    checkpoints: tuple[Path, ...],
    int8: bool,
    fp16: bool,
    fp32: bool,
    formats: tuple[str, ...],
    calibration: Path | None,
    evaluation: Path | None,
    out: Path,
    name: str,
    accuracy_control: bool,
    fresh: bool,
    key: Path | None,
    threads: int,
    json_file: str | None,
) -> int:
    """Export checkpoints to a bundle: quantise, reopen each artefact in its runtime, verify.

    An artefact that fails its gate is not in the bundle, and the command exits with 1; what an
    older bundle in the same place holds is never lost to that. What is up to date there is taken
    over.
    """
    from edgehemo.bundle import SHIPPED_BUNDLE
    from edgehemo_export.quantisation.formats import (
        chosen_formats,
        chosen_precisions,
        refuse_unsupported,
    )

    chosen = chosen_formats(formats)
    precisions = chosen_precisions(int8=int8, fp16=fp16, fp32=fp32)
    if "int8" in precisions and calibration is None:
        raise UsageError("int8 needs --calibration DIR: real fields to measure activations on")
    refuse_unsupported(chosen, precisions)
    _need_host()
    import cv2
    import torch
    from rich.console import Console

    from edgehemo_export.quantisation.exporting import export_bundle
    from edgehemo_export.quantisation.records import ExportOptions
    from edgehemo_export.quantisation.signing import signer_for

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    options = ExportOptions(
        formats=chosen,
        precisions=precisions,
        calibration=calibration,
        evaluation=evaluation,
        name=name,
        accuracy_control=accuracy_control,
        fresh=fresh,
        threads=threads,
    )
    # The package's own bundle is vouched for by the package; see `edgehemo.bundle`.
    shipped = out.resolve() == SHIPPED_BUNDLE.resolve()
    signer = None if shipped and key is None else signer_for(key, out)
    if signer is not None and signer.made is not None:
        click.echo(
            f"made a signing key for this user: {signer.made}; other devices trust its bundles "
            f"once {signer.made.with_suffix('.pub').name} lies in their key folder",
            err=True,
        )
    console = Console(stderr=True)
    with console.status("exporting") as status:

        def say(text: str) -> None:
            if console.is_terminal:
                status.update(f"exporting: {text}")
            else:
                click.echo(text, err=True)

        rows = export_bundle(checkpoints, out, options, signer=signer, say=say)
    for warning in dict.fromkeys(text for row in rows for text in row.warnings):
        click.echo(f"edgehemo: warning: {warning}", err=True)
    common.write_record(
        json_file,
        {
            "schema": "edgehemo.export/1",
            "bundle": str(out),
            "signed_by": None if signer is None else signer.key.public.identifier,
            "artefacts": [row.as_json() for row in rows],
        },
    )
    if json_file != common.STDOUT:
        _print_export(out, rows)
    failed = [row for row in rows if row.artefact is None]
    for row in failed:
        common.complain(f"{row.model} {row.format} {row.precision} fails its gate: {row.problem}")
    return EXIT_WITHHELD if failed else EXIT_DONE


def _print_export(out: Path, rows: list[ExportRow]) -> None:
    """A line an artefact, below it the figures of its gate beside PyTorch's."""
    from edgehemo_export.quantisation.parity import DIFFERENCE, MEAN_DIFFERENCE

    click.echo(str(out))
    for row in rows:
        made = row.artefact
        if made is None:
            click.echo(f"{row.model:<16}{row.format:<10}{row.precision:<6}{'':>11}  {row.gate}")
            continue
        took = f"{row.seconds:.0f} s" if row.seconds else "up to date"
        click.echo(
            f"{row.model:<16}{made.format:<10}{made.precision:<6}"
            f"{made.total_bytes / 1e6:>8.2f} MB  {row.gate}  {took}"
        )
        apart = f"difference at most {made.parity[DIFFERENCE]:.1e}, mean "
        figures = [apart + f"{made.parity[MEAN_DIFFERENCE]:.1e}"]
        for name, value in made.parity.items():
            reference = made.parity.get(f"{name}_pytorch")
            if reference is not None:
                figures.append(f"{name} {value:.5g} (PyTorch {reference:.5g})")
        click.echo("    " + "; ".join(figures))
