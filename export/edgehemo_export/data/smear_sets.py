"""The public sets as pictures of smears: which set, which block, and what is known of the blood."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from edgehemo.errors import UsageError
from edgehemo_export.data.datasets import read_txl_pbc
from edgehemo_export.data.field_tiles import FieldImage
from edgehemo_export.data.readers.records import (
    DISEASE_FIELDS_PER_BLOCK,
    FIELDS_PER_BLOCK,
    pictures_in,
    trailing_number,
)
from edgehemo_export.data.splits import Part, part_of

# Labels of the anaemia screen.
CONTROL, ANAEMIA = 0, 1
CHULA_DISEASES = (
    "hereditary_elliptocytosis",
    "hereditary_spherocytosis",
    "iron_deficiency",
    "megaloblastic",
    "thalassemia",
)

# What each set is and the terms it came with.
LICENCES = {
    "anerbc": "AneRBC (Shahzad et al. 2024), CC BY 4.0",
    "bccd": "BCCD (Shenggan/BCCD_Dataset), MIT",
    "chula": "Chula RBC-12 and its fields by diagnosis (Chula-PIC-Lab), MIT",
    "chula_rbc12": "Chula RBC-12 (Chula-PIC-Lab), MIT",
    "chula_disease": "Chula fields by diagnosis (Chula-PIC-Lab), MIT",
    "txl_pbc": "TXL-PBC crops of PBC Barcelona (Acevedo et al. 2020), MIT and CC BY 4.0",
    "txl_raabin": "TXL-PBC crops of Raabin-WBC, MIT",
    "uganda_phone": "phone pictures of smears from Uganda (Tushabe et al.), CC BY 4.0",
    "simulated": "the simulated microscope of this project, CBC panels after AneRBC (CC BY 4.0)",
}


def smear_images(root: Path) -> list[FieldImage]:
    """The pictures of every set in a data root; UsageError where it holds none.

    AneRBC is among them with its labels; who fits an estimator must leave it out.
    """
    found = [
        *_numbered(root / "bccd", "bccd", "images", "JPEGImages"),
        *_numbered(root / "chula_rbc12", "chula_rbc12", "images", "Dataset"),
        *_txl(root / "txl_pbc"),
        *_diseases(root / "chula_disease"),
        *_uganda(root / "uganda_phone"),
        *_anerbc(root / "anerbc"),
    ]
    if not found:
        raise UsageError(f"{root} holds none of the sets with pictures of smears")
    return found


def of_part(images: list[FieldImage], part: Part) -> list[FieldImage]:
    """The pictures of one part of the split."""
    return [image for image in images if part_of(image.group) == part]


def _numbered(folder: Path, source: str, *names: str) -> Iterator[FieldImage]:
    for name in names:
        for path in pictures_in(folder / name):
            block = trailing_number(path.stem) // FIELDS_PER_BLOCK
            yield FieldImage(path, source, f"{source}-{block:03d}")


def _txl(folder: Path) -> Iterator[FieldImage]:
    for image in read_txl_pbc(folder) if folder.is_dir() else ():
        yield FieldImage(image.path, image.source, image.group)


def _diseases(folder: Path) -> Iterator[FieldImage]:
    for disease in CHULA_DISEASES:
        for path in pictures_in(folder / disease):
            block = trailing_number(path.stem) // DISEASE_FIELDS_PER_BLOCK
            group = f"chula_disease-{disease}-{block:02d}"
            yield FieldImage(path, f"chula_disease/{disease}", group, ANAEMIA)


def _uganda(folder: Path) -> Iterator[FieldImage]:
    for name, label in (("clear", CONTROL), ("sickle", ANAEMIA)):
        for path in pictures_in(folder / name):
            block = trailing_number(path.stem) // FIELDS_PER_BLOCK
            yield FieldImage(path, "uganda_phone", f"uganda_phone-{name}-{block:02d}", label)


def _anerbc(folder: Path) -> Iterator[FieldImage]:
    """Patients with the very same blood count are one."""
    table = folder / "pairs.csv"
    if not table.is_file():
        return
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            panel = f"{row['hgb_g_per_l']}-{row['hct_l_per_l']}-{row['rbc_1e12_per_l']}"
            label = CONTROL if row["cohort"] == "healthy" else ANAEMIA
            path = folder / "images" / row["image"]
            if path.is_file():
                yield FieldImage(path, "anerbc", f"anerbc-{panel}", label)
