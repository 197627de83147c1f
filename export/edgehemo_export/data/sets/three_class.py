"""Basophil, erythroblast, myeloblast as in Lateef et al. 2025: pictures of PBC and LMU again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgehemo_export.data.sets import lmu, pbc
from edgehemo_export.data.sets.picture import (
    LMU_WIDTH_UM,
    PBC_WIDTH_UM,
    Labels,
    SetPicture,
    class_folders,
    lmu_group,
    pbc_group,
    pictures_in,
    prefix_and_number,
)

SOURCE = "three_class"
FOLDERS = ("three_class", "three-class")
CLASSES = ("basophil", "erythroblast", "myeloblast")


def read(root: Path, folder: Path) -> Iterator[SetPicture]:
    """One folder a class. Class and scanner are confounded: only the myeloblasts are of LMU.

    Groups are those of the sets the pictures come from.
    """
    for name, inner in class_folders(folder, CLASSES):
        from_lmu = name == "myeloblast"
        for path in pictures_in(inner):
            yield SetPicture(
                path=path,
                set_name=SOURCE,
                source=f"{SOURCE}/{'lmu' if from_lmu else 'pbc'}",
                kind="crop",
                group=lmu_group(path.stem) if from_lmu else pbc_group(path.stem),
                original=path.stem,
                licence=lmu.LICENCE if from_lmu else pbc.LICENCE,
                labels=Labels(class_name=name, code=prefix_and_number(path.stem)[0].upper()),
                width_um=LMU_WIDTH_UM if from_lmu else PBC_WIDTH_UM,
                scale_known="estimated",
            )
