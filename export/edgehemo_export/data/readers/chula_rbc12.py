"""Chula RBC-12 (Chula-PIC-Lab/Chula-RBC-12-Dataset, MIT): fields with points and red-cell types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from edgehemo.errors import UsageError
from edgehemo_export.data.readers.records import (
    FIELDS_PER_BLOCK,
    FoundPicture,
    Labels,
    PointLabels,
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


def read(root: Path, folder: Path) -> Iterator[FoundPicture]:
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
        known = Labels()
        if file is not None and file.is_file():
            known = Labels(
                points=PointLabels(file=str(file.relative_to(root)), counts=type_counts(file))
            )
        yield FoundPicture(
            path=path,
            source=SOURCE,
            kind="field",
            group=f"{SOURCE}-{trailing_number(path.stem) // FIELDS_PER_BLOCK:03d}",
            original=path.stem,
            licence=LICENCE,
            labels=known,
            width_um=WIDTH_UM,
            scale_known="estimated",
        )


def type_counts(path: Path) -> dict[str, int]:
    """How many points of each type a label file holds; UsageError for a line that is no point."""
    counts: Counter[str] = Counter()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        parts = line.split()
        if not parts:
            continue
        try:
            _, _, kind = (float(part) for part in parts)
            if kind < 0:
                raise IndexError
            counts[TYPES[int(kind)]] += 1
        except (ValueError, IndexError):
            raise UsageError(
                f"{path.name} line {number}: not `x y type` with a type of 0 to {len(TYPES) - 1}"
            ) from None
    return {name: counts[name] for name in TYPES if counts[name]}
