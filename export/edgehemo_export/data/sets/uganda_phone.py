"""Sickle-cell smears of Teso, Uganda (Tushabe et al., CC BY 4.0 as quoted), by phone camera."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgehemo_export.data.sets.picture import (
    FIELDS_PER_BLOCK,
    Labels,
    SetPicture,
    class_folders,
    pictures_in,
    trailing_number,
)

SOURCE = "uganda_phone"
FOLDERS = ("uganda_phone", "sickle-cell-disease-dataset", "sickle_cell_disease_dataset")
LICENCE = "CC BY 4.0 as quoted (Tushabe et al.)"
# Folder name to class. The published folder of labelled pictures holds those of "Unlabelled" with
# boxes painted into the pixels: it is left out.
_CLASSES = {"clear": "clear", "sickle": "sickle", "unlabelled": "sickle"}


def read(root: Path, folder: Path) -> Iterator[SetPicture]:
    """Takes ``clear/ sickle/`` and the published ``Negative/Clear``, ``Positive/Unlabelled``.

    Patients are not published; groups are blocks of ten neighbouring numbers. The picture is a
    circle in a black frame, its scale unknown.
    """
    for name, inner in class_folders(folder, _CLASSES):
        label = _CLASSES[name]
        for path in pictures_in(inner):
            block = trailing_number(path.stem) // FIELDS_PER_BLOCK
            yield SetPicture(
                path=path,
                set_name=SOURCE,
                source=SOURCE,
                kind="field",
                group=f"{SOURCE}-{label}-{block:02d}",
                original=f"{label}/{path.stem}",
                licence=LICENCE,
                labels=Labels(class_name=label),
            )
