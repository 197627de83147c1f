"""AML-Cytomorphology LMU (Matek et al. 2019): single cells by morphological code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgehemo_export.data.sets.picture import (
    LMU_WIDTH_UM,
    Labels,
    SetPicture,
    class_folders,
    lmu_group,
    pictures_in,
    prefix_and_number,
)

SOURCE = "lmu"
FOLDERS = ("lmu", "AML-Cytomorphology_LMU", "PKG - AML-Cytomorphology_LMU", "AML-Cytomorphology")
LICENCE = "CC BY 4.0 by its README (AML-Cytomorphology LMU, Matek et al. 2019)"
# Code of the published folders to a class of the contract; None has no class there.
CODES: dict[str, str | None] = {
    "BAS": "basophil",
    "EBO": "erythroblast",
    "EOS": "eosinophil",
    "KSC": None,
    "LYA": None,
    "LYT": "lymphocyte",
    "MMZ": "immature_granulocyte",
    "MOB": None,
    "MON": "monocyte",
    "MYB": "immature_granulocyte",
    "MYO": "myeloblast",
    "NGB": "neutrophil",
    "NGS": "neutrophil",
    "PMB": "immature_granulocyte",
    "PMO": "immature_granulocyte",
}
_NAMED_FOLDERS = ("myeloblast", "seg_neutrophil")
ANNOTATIONS = "annotations.dat"


def read(root: Path, folder: Path) -> Iterator[SetPicture]:
    """Takes folders of codes (``MYO/MYO_0001.tiff``) with ``annotations.dat`` as published, and
    folders of class names.

    A class that the contract does not name (smudge cells, atypical lymphocytes, monoblasts) is
    given by its code in lower case. Patients are not published; see `pbc`.
    """
    opinions = read_annotations(folder)
    wanted = [code.lower() for code in CODES]
    for _, inner in class_folders(folder, (*wanted, *_NAMED_FOLDERS)):
        for path in pictures_in(inner):
            code = prefix_and_number(path.stem)[0].upper()
            if code not in CODES:
                continue
            stem = path.stem.removesuffix(".tiff")
            yield SetPicture(
                path=path,
                set_name=SOURCE,
                source=SOURCE,
                kind="crop",
                group=lmu_group(stem),
                original=stem,
                licence=LICENCE,
                labels=Labels(
                    class_name=CODES[code] or code.lower(),
                    code=code,
                    opinions=opinions.get(stem, []),
                ),
                width_um=LMU_WIDTH_UM,
                scale_known="estimated",
            )


def read_annotations(folder: Path) -> dict[str, list[str]]:
    """Codes that later annotators gave, by picture name; empty where the file is not there.

    A line is the picture's path, its code and up to two later annotators' codes, with ``nan``
    where one gave none.
    """
    file = next(iter(sorted(folder.rglob(ANNOTATIONS))), None)
    if file is None:
        return {}
    found: dict[str, list[str]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        parts = line.split()
        if len(parts) >= 2:
            later = [code for code in parts[2:] if code.upper() in CODES]
            found[Path(parts[0]).name.split(".")[0]] = later
    return found
