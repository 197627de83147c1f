"""A data set as a laboratory has its own, drawn by the simulated microscope: to practise on.

Fields of samples in folders, boxes as YOLO writes them, the values of an analyser in a table, and a
``dataset.toml``: what `edgehemo train`, `edgehemo export` and `edgehemo calibrate analyser` take.
Its stain is stronger and bluer than the simulated microscope's own, as of another laboratory.
Nothing that is measured on it says anything of real blood.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from edgehemo.errors import UsageError
from edgehemo.files.atomic import write_bytes_atomically, write_text_atomically
from edgehemo.files.staging import FolderBusyError, StagedFolder
from edgehemo.measurands import MEASURAND_FACTS, MEASURANDS
from edgehemo.records.exports.dataset import (
    DATASET_FILE,
    IMAGES_FOLDER,
    SAMPLES_TABLE,
    DatasetFile,
    dataset_text,
)
from edgehemo.report.pictures import png
from edgehemo.simulation.cells import POIKILOCYTES, WHITE_CELLS
from edgehemo.simulation.field import FieldTruth, SimulatedField, TrueCell, simulate_field
from edgehemo.simulation.panels import CBCPanel, draw_panel
from edgehemo.simulation.parameters import SensorParameters, SmearParameters, StainParameters
from edgehemo_export.data.canonical_set import MIN_VISIBLE_SHARE
from edgehemo_export.data.sets.own_layouts import LABELS_FOLDER

NAME = "practice"
WIDTH_PX, HEIGHT_PX, UM_PER_PX = 400, 300, 0.2
DEFAULT_SAMPLES, DEFAULT_SEED = 24, 11
# Many cells of other shapes, and none in heaps: each field teaches much.
SMEAR = SmearParameters(
    poikilocyte_fraction=0.55, crowding=0.0, clumping=0.0, white_cell_factor=20.0
)
STAIN = StainParameters(eosin_od_per_pg_um2=0.30, red_cell_azure_od_per_pg_um2=0.16)
SENSOR = SensorParameters(background_level=0.7)
# What a box says. A cell that the border cuts, or on which another lies, is no example of its type:
# of it only the kind is said.
LABELS: tuple[str, ...] = (
    "rbc",
    "wbc",
    "platelet",
    "normal",
    *(name for name, _ in POIKILOCYTES),
    *(name for name, _ in WHITE_CELLS),
)
_ABOUT = {
    "layout": "labels/SAMPLE/FIELD.txt: a line a cell, `class x y width height`, as shares.",
    "groups": "The folder below images/ is the sample: its fields stay together.",
    "complete": "Every cell of these kinds has a box.",
    "labels": "What the numbers of the classes mean, from 0 on.",
}
_NOTES = (
    "Drawn by `edgehemo dataset draw`: a simulated microscope, no real blood.",
    f"{SAMPLES_TABLE} has what an analyser would have said of each sample.",
)


def draw_own_set(
    out: Path,
    *,
    samples: int = DEFAULT_SAMPLES,
    fields: int = 1,
    seed: int = DEFAULT_SEED,
    progress: Callable[[], None] = lambda: None,
) -> int:
    """Draw the set into a folder that is empty or not there; how many cells bear a type.

    The same numbers give the same files. UsageError where the folder holds something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: holds something already; choose another --out")
    try:
        staged = StagedFolder(out)
    except FolderBusyError:
        raise UsageError(f"{out}: another edgehemo is writing there; wait for its end") from None
    try:
        typed = 0
        panels: dict[str, CBCPanel] = {}
        for number in range(samples):
            name = f"S{number + 1:02d}"
            rng = np.random.default_rng([seed, number])
            panels[name] = draw_panel(rng)
            for index in range(fields):
                made = _field(panels[name], rng)
                typed += _write(staged.path, f"{name}/field_{index + 1}", made)
                progress()
        _write_values(staged.path, panels)
        told = DatasetFile(
            name=NAME,
            licence="drawn by edgehemo, free to use",
            layout="yolo",
            um_per_px=UM_PER_PX,
            groups="folder",
            simulated=True,
            complete=["rbc", "wbc", "platelet"],
            labels=list(LABELS),
        )
        write_text_atomically(staged.path / DATASET_FILE, dataset_text(told, _ABOUT, _NOTES))
        staged.publish(())
    except BaseException:
        staged.discard()
        raise
    return typed


def _field(panel: CBCPanel, rng: np.random.Generator) -> SimulatedField:
    return simulate_field(
        panel,
        rng=rng,
        width_px=WIDTH_PX,
        height_px=HEIGHT_PX,
        um_per_px=UM_PER_PX,
        smear=SMEAR,
        stain=STAIN,
        sensor=SENSOR,
    )


def _write(folder: Path, name: str, made: SimulatedField) -> int:
    """A field's picture and boxes; how many of its cells bear a type."""
    write_bytes_atomically(folder / IMAGES_FOLDER / f"{name}.png", png(made.frame.pixels))
    lines, typed = boxes_of(made.truth)
    write_text_atomically(folder / LABELS_FOLDER / f"{name}.txt", "\n".join(lines) + "\n")
    return typed


def boxes_of(truth: FieldTruth) -> tuple[list[str], int]:
    """A field's cells as YOLO's lines, and how many of them bear a type."""
    lines, typed = [], 0
    for cell in truth.cells:
        x0, x1 = (min(max(x, 0.0), WIDTH_PX) for x in (cell.x0, cell.x1))
        y0, y1 = (min(max(y, 0.0), HEIGHT_PX) for y in (cell.y0, cell.y1))
        seen = (x1 - x0) * (y1 - y0) / ((cell.x1 - cell.x0) * (cell.y1 - cell.y0))
        if seen < MIN_VISIBLE_SHARE:
            continue
        label = _label(cell, whole=seen > 1.0 - 1e-6)
        typed += label != cell.kind
        box = ((x0 + x1) / 2 / WIDTH_PX, (y0 + y1) / 2 / HEIGHT_PX)
        size = ((x1 - x0) / WIDTH_PX, (y1 - y0) / HEIGHT_PX)
        numbers = " ".join(f"{value:.5f}" for value in (*box, *size))
        lines.append(f"{LABELS.index(label)} {numbers}")
    return lines, typed


def _label(cell: TrueCell, *, whole: bool) -> str:
    example = whole and not cell.overlapped and cell.shape in LABELS
    return cell.shape if example else cell.kind


def _write_values(folder: Path, panels: dict[str, CBCPanel]) -> None:
    """samples.csv, as `edgehemo calibrate analyser --pairs` takes it."""
    table = io.StringIO()
    rows: Sequence[Sequence[str]] = [
        ("sample", *MEASURANDS),
        *(
            (name, *(MEASURAND_FACTS[key].stored(getattr(panel, key)) for key in MEASURANDS))
            for name, panel in panels.items()
        ),
    ]
    csv.writer(table, lineterminator="\n").writerows(rows)
    write_text_atomically(folder / SAMPLES_TABLE, table.getvalue())
