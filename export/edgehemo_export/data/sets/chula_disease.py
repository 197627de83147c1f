"""Fields by diagnosis of the Chula laboratory (MIT): one folder a disease."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgehemo_export.data.sets.picture import (
    DISEASE_FIELDS_PER_BLOCK,
    Labels,
    SetPicture,
    class_folders,
    pictures_in,
    trailing_number,
)

SOURCE = "chula_disease"
FOLDERS = ("chula_disease", "Chula-disease", "Chula-RBC-Disease")
LICENCE = "MIT (Chula-PIC-Lab)"
WIDTH_UM = 128.0
DISEASES = (
    "hereditary_elliptocytosis",
    "hereditary_spherocytosis",
    "iron_deficiency",
    "megaloblastic",
    "thalassemia",
)


def read(root: Path, folder: Path) -> Iterator[SetPicture]:
    """One folder a disease, at any depth. Groups are blocks of five of one disease."""
    for disease, inner in class_folders(folder, DISEASES):
        for path in pictures_in(inner):
            block = trailing_number(path.stem) // DISEASE_FIELDS_PER_BLOCK
            yield SetPicture(
                path=path,
                set_name=SOURCE,
                source=SOURCE,
                kind="field",
                group=f"{SOURCE}-{disease}-{block:02d}",
                original=path.stem,
                licence=LICENCE,
                labels=Labels(class_name=disease),
                width_um=WIDTH_UM,
                scale_known="estimated",
            )
