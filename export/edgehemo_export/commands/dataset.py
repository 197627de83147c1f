"""`edgehemo dataset`: what data there is, what appears twice, and which part it belongs to."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_BAD_INPUT, EXIT_DONE, UsageError
from edgehemo_export.commands.options import data_option

if TYPE_CHECKING:
    from edgehemo_export.data.manifest import DataManifest, SetSummary
    from edgehemo_export.data.splits import RecordedSplits


@click.group()
def dataset() -> None:
    """The public sets as one table: labels, duplicates, parts; and a set to practise on."""


@dataset.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder to write, empty or not there yet.",
)
@click.option(
    "--samples", type=click.IntRange(3), default=24, show_default=True, help="Samples of blood."
)
@click.option(
    "--fields", type=click.IntRange(1), default=1, show_default=True, help="Fields of each."
)
@click.option("--seed", type=click.IntRange(0), default=11, show_default=True)
@common.json_option
def draw(out: Path, samples: int, fields: int, seed: int, json_file: str | None) -> int:
    """Draw a data set as a laboratory has its own, by the simulated microscope, to practise on.

    Fields in a folder a sample, boxes as YOLO writes them, an analyser's values, dataset.toml.
    """
    from edgehemo_export.data.simulated.own_set import draw_own_set
    from edgehemo_export.output import DatasetDrawOutput

    with common.Progress("drawing", samples * fields) as bar:
        typed = draw_own_set(
            out, samples=samples, fields=fields, seed=seed, progress=lambda: bar.advance()
        )
    common.write_json(
        json_file,
        DatasetDrawOutput(folder=str(out), samples=samples, fields=samples * fields, cells=typed),
    )
    common.say(
        f"{out}: {samples * fields} fields of {samples} samples, {typed} cells with a type; "
        "simulated, no real blood",
        json_file,
    )
    return EXIT_DONE


@dataset.command()
@data_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Manifest to write (JSON). The parts of one that is there already are kept.",
)
@click.option("--set", "sets", multiple=True, metavar="NAME", help="Only this set; repeatable.")
@click.option(
    "--splits",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Record of a split to keep instead of the shipped one.",
)
@click.option("--new-split", is_flag=True, help="Keep no recorded part: split by group names.")
@click.option(
    "--record",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the split in short, by content and group.",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File that keeps the fingerprints of pictures [default: beside --out].",
)
@common.json_option
def manifest(
    data: Path,
    out: Path,
    sets: tuple[str, ...],
    splits: Path | None,
    new_split: bool,
    record: Path | None,
    cache: Path | None,
    json_file: str | None,
) -> int:
    """Read every set, find duplicates across sets and sizes, write down the split.

    Pictures that show one thing, and all that share a slide or block with them, fall into one
    part. A part once recorded is kept.
    """
    from edgehemo_export.data.manifest import (
        build_manifest,
        conflicting,
        part_by_group_alone,
        recorded_splits,
        straddling,
        summarise,
        write_manifest,
    )
    from edgehemo_export.data.splits import write_recorded_splits
    from edgehemo_export.output import DatasetManifestOutput

    if new_split and splits is not None:
        raise UsageError("--new-split keeps no recorded part: leave out --splits")
    recorded = None if new_split else _recorded(out, splits)
    with ExitStack() as stack:
        bars: list[common.Progress] = []

        def tell(_done: int, total: int) -> None:
            if not bars:  # how many pictures there are is known once the sets are read
                bars.append(stack.enter_context(common.Progress("hashing", total, long=True)))
            bars[0].advance()

        built = build_manifest(
            data,
            sets=sets or None,
            cache=cache or out.with_suffix(".fingerprints.npz"),
            recorded=recorded,
            progress=tell,
        )
    write_manifest(out, built)
    if record is not None:
        write_recorded_splits(record, recorded_splits(built))
    for error in built.unreadable.values():
        common.complain(error)
    clashes = conflicting(built)
    rows = summarise(built)
    common.write_json(
        json_file,
        DatasetManifestOutput(
            manifest=str(out),
            split=built.split,
            sets=rows,
            straddling_by_group_alone=len(straddling(built, part_by_group_alone)),
            conflicting_labels=[(pair.first, pair.second) for pair in clashes],
            unreadable=built.unreadable,
        ),
    )
    if json_file != common.STDOUT:
        _print(rows, built, out)
        for pair in clashes:
            common.say(f"one picture, two classes: {pair.first} and {pair.second}")
    return EXIT_BAD_INPUT if built.unreadable else EXIT_DONE


def _recorded(out: Path, splits: Path | None) -> RecordedSplits | DataManifest | None:
    """The parts to keep: those named, else of the manifest that is there, else the shipped ones."""
    from edgehemo_export.data.manifest import read_manifest
    from edgehemo_export.data.splits import read_recorded_splits

    if splits is not None:
        return read_recorded_splits(splits)
    if out.is_file():
        return read_manifest(out)
    return read_recorded_splits()


def _print(rows: list[SetSummary], built: DataManifest, out: Path) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from edgehemo_export.data.manifest import ALL_SETS

    table = Table(
        title=f"{out}, split {built.split}", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )
    table.add_column("set", no_wrap=True)
    table.add_column("labels", no_wrap=True)
    for heading in ("pictures", "cells", "groups", "train", "tune", "test"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("copies\nin + out", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.name,
            ", ".join(row.labels) if row.name != ALL_SETS else "",
            str(row.pictures),
            str(row.cells or ""),
            str(row.groups),
            *(str(count) for count in row.parts.values()),
            f"{row.duplicates_within} + {row.duplicates_across}",
            end_section=len(rows) > 1 and row is rows[-2],
        )
    Console().print(table)
