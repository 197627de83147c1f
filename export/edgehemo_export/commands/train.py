"""`edgehemo train`: one model from data to a checkpoint and its card."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_DONE, UsageError
from edgehemo_export.commands.options import data_option, need_host
from edgehemo_export.models.registry import BY_NAME


@contextmanager
def _steps_bar(total: int) -> Iterator[Callable[[int, dict[str, float]], None]]:
    """Tells the step and its figures: a bar on a terminal, a line now and then in a log."""
    with common.Progress("training", total) as bar:

        def reach(step: int, parts: dict[str, float]) -> None:
            bar.reach(step, " ".join(f"{name} {value:.4f}" for name, value in parts.items()))

        yield reach


def _shipped(task: str) -> Path:
    """The checkpoint that the shipped bundle was exported from; UsageError where it is not here."""
    from edgehemo_export.checkpoints import SHIPPED_CHECKPOINTS

    path = SHIPPED_CHECKPOINTS / f"{task.replace('-', '_')}.safetensors"
    if not path.is_file():
        raise UsageError(
            f"--init shipped: {path} is not there; the checkpoints come with the source, not with "
            "the installed package: give one with --init FILE"
        )
    return path


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
    metavar="CKPT|shipped|imagenet",
    help="Start from the weights of this checkpoint, from those that this version ships (in the "
    "source's export/checkpoints), or from ImageNet's where they can be had.",
)
@click.option(
    "--teacher",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Classifiers: checkpoint of a larger network whose answers to the crops as they are "
    "drawn and varied take the configured teacher_share of every target.",
)
@click.option(
    "--measured",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Classifiers whose train_parts are all: evaluated checkpoint of the same configuration on "
    "the training part alone, whose thresholds and figures the new one bears.",
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
    measured: Path | None,
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
    need_host()
    import cv2
    import torch

    from edgehemo.files.atomic import sha256_of_file
    from edgehemo_export.checkpoints import load_checkpoint, save_checkpoint
    from edgehemo_export.output import TrainOutput
    from edgehemo_export.training.task import Run, check_initial

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
    elif initial == "shipped":
        start = load_checkpoint(_shipped(task))
    elif initial is not None:
        start = load_checkpoint(Path(initial))
    settings = module.read_config(config, changes)
    check_initial(settings, begun=initial is not None)
    if teacher is not None and "teacher_share" not in type(settings).model_fields:
        raise UsageError(f"--teacher: {task} is not learned from a teacher, the classifiers are")
    if measured is not None and "train_parts" not in type(settings).model_fields:
        raise UsageError(f"--measured: {task} is not trained on all parts, the classifiers are")
    with _steps_bar(settings.loop.steps) as progress:
        checkpoint = module.run_training(
            data,
            settings,
            work or out.with_name(out.stem + ".work"),
            Run(
                resume=resume,
                initial=start,
                teacher=None if teacher is None else load_checkpoint(teacher),
                measured=None if measured is None else load_checkpoint(measured),
                leave_out=leave_out,
                progress=progress,
                show_progress=os.environ.get("RANK", "0") == "0",
            ),
        )
    if int(os.environ.get("RANK", "0")) != 0:
        return EXIT_DONE  # under torchrun the first process writes for all
    save_checkpoint(out, checkpoint)
    record = checkpoint.record
    common.write_json(
        json_file,
        TrainOutput(
            task=task,
            checkpoint=str(out),
            sha256=sha256_of_file(out),
            steps=record["steps"],
            seconds=record["seconds"],
        ),
    )
    course = (
        "the last layer alone" if record.get("learnt") == "head" else f"{record['steps']} steps"
    )
    common.tell(f"{out}: {course} in {record['seconds'] / 60:.1f} min")
    return EXIT_DONE
