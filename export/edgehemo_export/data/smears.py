"""Pictures of smears, and what is known of the blood on them: selected from the public sets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgehemo.errors import UsageError
from edgehemo_export.data.sets import (
    anerbc,
    bccd,
    chula_disease,
    chula_rbc12,
    read_set,
    txl_pbc,
    uganda_phone,
)
from edgehemo_export.data.sets.picture import SetPicture

# Labels of the anaemia screen.
CONTROL, ANAEMIA = 0, 1
# The sets with pictures of smears, in the order they are read in.
SMEAR_SETS = (
    bccd.SOURCE,
    chula_rbc12.SOURCE,
    txl_pbc.SOURCE,
    chula_disease.SOURCE,
    uganda_phone.SOURCE,
    anerbc.SOURCE,
)

# What each source is and the terms it came with.
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


@dataclass(frozen=True)
class FieldImage:
    """A picture of a smear. source: its set, with the diagnosis of a field that has one. group,
    key: see `SetPicture`. label: CONTROL, ANAEMIA, or None where the set does not say.
    """

    path: Path
    source: str
    group: str
    label: int | None = None
    key: str = ""


def smear_pictures(root: Path, sets: Iterable[str] = SMEAR_SETS) -> list[SetPicture]:
    """The pictures of every set of smears in a data root; UsageError where it holds none."""
    found = [picture for name in sets for picture in read_set(root, name)]
    if not found:
        raise UsageError(f"{root} holds none of the sets with pictures of smears")
    return found


def smear_images(root: Path) -> list[FieldImage]:
    """`smear_pictures` with what is known of the blood.

    AneRBC is among them with its labels; who fits an estimator must leave it out.
    """
    return [field_image(picture) for picture in smear_pictures(root)]


def field_image(picture: SetPicture) -> FieldImage:
    """A picture of a smear by its source and label."""
    source, label, name = picture.source, None, picture.labels.class_name
    if picture.set_name == chula_disease.SOURCE:
        source, label = f"{picture.source}/{name}", ANAEMIA
    elif picture.set_name in (uganda_phone.SOURCE, anerbc.SOURCE):
        label = CONTROL if name in ("clear", "healthy") else ANAEMIA
    return FieldImage(picture.path, source, picture.group, label, picture.key)
