"""Chula RBC-12 (Chula-PIC-Lab/Chula-RBC-12-Dataset, MIT): fields with points and red-cell types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from edgehemo.errors import UsageError
from edgehemo_export.data.sets.picture import (
    FIELDS_PER_BLOCK,
    CellPoints,
    Labels,
    PointLabels,
    SetPicture,
    first_folder,
    pictures_in,
    trailing_number,
)

SOURCE = "chula_rbc12"
FOLDERS = (
    "chula_rbc12",
    "Chula-RBC-12-Dataset",
    "Chula-RBC-12-Dataset-main",
    "Chula-RBC-12-Dataset-master",
)
LICENCE = "MIT (Chula-PIC-Lab/Chula-RBC-12-Dataset)"
WIDTH_UM = 128.0
# The set's numbers are the index.
TYPES = (
    "normal",
    "macrocyte",
    "microcyte",
    "spherocyte",
    "target_cell",
    "stomatocyte",
    "ovalocyte",
    "teardrop",
    "burr_cell",
    "schistocyte",
    "uncategorised",
    "hypochromia",
    "elliptocyte",
)


def read(root: Path, folder: Path) -> Iterator[SetPicture]:
    """Takes ``images/ labels/`` as well as the published ``Dataset/ Label/``.

    In many files only some of the cells bear a point: no kind is complete. Neighbouring numbers
    often come from one slide: groups are blocks of ten.
    """
    images = first_folder(folder, ("images", "Dataset"))
    labels = first_folder(folder, ("labels", "Label"))
    if images is None:
        return
    for path in pictures_in(images):
        file = None if labels is None else labels / f"{path.stem}.txt"
        points = None
        if file is not None and file.is_file():
            points = PointLabels(file=file.relative_to(root).as_posix(), counts=type_counts(file))
        yield SetPicture(
            path=path,
            set_name=SOURCE,
            source=SOURCE,
            kind="field",
            group=f"{SOURCE}-{trailing_number(path.stem) // FIELDS_PER_BLOCK:03d}",
            original=path.stem,
            licence=LICENCE,
            labels=Labels(points=points),
            width_um=WIDTH_UM,
            scale_known="estimated",
            read_points=None if points is None or file is None else partial(typed_points, file),
        )


def type_counts(path: Path) -> dict[str, int]:
    """How many points of each type a label file holds; UsageError for a line that is no point."""
    counts = Counter(TYPES[int(kind)] for kind in typed_points(path).types)
    return {name: counts[name] for name in TYPES if counts[name]}


def typed_points(path: Path) -> CellPoints:
    """The points of a label file with their types; UsageError for a line that is no point."""
    rows: list[tuple[float, float, int]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        parts = line.split()
        if not parts:
            continue
        try:
            x, y, kind = (float(part) for part in parts)
            if kind not in range(len(TYPES)):
                raise ValueError
        except ValueError:
            raise UsageError(
                f"{path.name} line {number}: not `x y type` with a type of 0 to {len(TYPES) - 1}"
            ) from None
        rows.append((x, y, int(kind)))
    return CellPoints(
        np.array([row[:2] for row in rows], np.float32).reshape(-1, 2),
        np.array([row[2] for row in rows], np.intp),
    )
