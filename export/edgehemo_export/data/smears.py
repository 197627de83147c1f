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
from edgehemo_export.data.sets.own import own_sets
from edgehemo_export.data.sets.own_samples import sample_fields
from edgehemo_export.data.sets.picture import SetPicture

# Labels of the anaemia screen.
CONTROL, ANAEMIA = 0, 1
# WHO 2024: below 120 g/L (women) is anaemia, from 130 (men) on it is none; what lies between is
# not shown in training.
ANAEMIA_BELOW_G_PER_L, CONTROL_FROM_G_PER_L = 115.0, 130.0
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
    "uganda_phone": "phone pictures of smears from Uganda (Tushabe et al.), CC BY 4.0 as quoted",
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
    """The pictures of every public set of smears in a data root."""
    return [picture for name in sets for picture in read_set(root, name)]


def smear_images(root: Path) -> list[FieldImage]:
    """`smear_pictures` and the fields of own sets, with what is known of the blood; UsageError
    where there are none.

    AneRBC is among them with its labels; who fits an estimator must leave it out.
    """
    found = [field_image(picture) for picture in smear_pictures(root)] + own_smears(root)
    if not found:
        raise UsageError(
            f"{root} holds none of the sets with pictures of smears, and no set of one's own with "
            "whole fields (dataset.toml)"
        )
    return found


def own_smears(root: Path) -> list[FieldImage]:
    """The fields of own sets; the blood is called by the haemoglobin that an analyser measured."""
    return [
        FieldImage(
            item.path,
            own.told.name,
            item.group,
            label_of(item.values.get("hgb_g_per_l")),
            item.key,
        )
        for own in own_sets(root)
        for item in sample_fields(own)
    ]


def label_of(hgb_g_per_l: float | None) -> int | None:
    """What a haemoglobin is called; None between the limits, and where nobody measured it."""
    if hgb_g_per_l is None or ANAEMIA_BELOW_G_PER_L <= hgb_g_per_l < CONTROL_FROM_G_PER_L:
        return None
    return ANAEMIA if hgb_g_per_l < ANAEMIA_BELOW_G_PER_L else CONTROL


def field_image(picture: SetPicture) -> FieldImage:
    """A picture of a smear by its source and label."""
    source, label, name = picture.source, None, picture.labels.class_name
    if picture.set_name == chula_disease.SOURCE:
        source, label = f"{picture.source}/{name}", ANAEMIA
    elif picture.set_name in (uganda_phone.SOURCE, anerbc.SOURCE):
        label = CONTROL if name in ("clear", "healthy") else ANAEMIA
    return FieldImage(picture.path, source, picture.group, label, picture.key)
