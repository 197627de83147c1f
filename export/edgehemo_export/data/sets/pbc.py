"""PBC Barcelona (Acevedo et al. 2020, CC BY 4.0): single cells by class, CellaVision DM96."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgehemo_export.data.sets.picture import (
    PBC_WIDTH_UM,
    Labels,
    SetPicture,
    class_folders,
    pbc_group,
    pictures_in,
    prefix_and_number,
)

SOURCE = "pbc"
FOLDERS = ("pbc", "PBC_dataset_normal_DIB", "PBC_dataset_normal_Barcelona")
LICENCE = "CC BY 4.0 (PBC Barcelona, Acevedo et al. 2020)"
CLASSES = {
    "basophil": "basophil",
    "eosinophil": "eosinophil",
    "erythroblast": "erythroblast",
    "ig": "immature_granulocyte",
    "lymphocyte": "lymphocyte",
    "monocyte": "monocyte",
    "neutrophil": "neutrophil",
    "platelet": "platelet",
}


def read(root: Path, folder: Path) -> Iterator[SetPicture]:
    """One folder a class, at the published 360 px or reduced; the prefix tells the finer type.

    The patient of a picture is not published, and neighbouring numbers look no more alike than
    others: the groups keep published copies together, they cannot keep patients apart.
    """
    for name, inner in class_folders(folder, CLASSES):
        for path in pictures_in(inner):
            yield SetPicture(
                path=path,
                set_name=SOURCE,
                source=SOURCE,
                kind="crop",
                group=pbc_group(path.stem),
                original=path.stem,
                licence=LICENCE,
                labels=Labels(
                    class_name=CLASSES[name], code=prefix_and_number(path.stem)[0].upper()
                ),
                width_um=PBC_WIDTH_UM,
                scale_known="estimated",
            )
