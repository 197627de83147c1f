"""What tells the nucleated cells' classifier from another."""

from __future__ import annotations

from pathlib import Path

from edgehemo.cells.typing import ALARMING_TYPES
from edgehemo_export.data.cell_crops import CellCrops
from edgehemo_export.models.classifiers.nucleated.data import (
    DEFAULT_SETS,
    HEALTHY_WHITE_CELLS,
    NUCLEATED_CLASSES,
    OTHER,
    WHITE_CELL_TYPES,
    nucleated_crops,
    unnamed_white_cells,
)
from edgehemo_export.models.classifiers.nucleated.exchanged_backgrounds import (
    gains_between_scanners,
    masks_of,
)
from edgehemo_export.models.classifiers.specification import ClassifierSpec, FalseAlarms
from edgehemo_export.models.classifiers.training import ClassifierConfig, UnnamedCrops


def build(data: Path, config: ClassifierConfig, cache: Path | None) -> CellCrops:
    """The crops of the configured sets."""
    return nucleated_crops(data, config.crop, cache, config.sets or DEFAULT_SETS)


SPEC = ClassifierSpec(
    task="nucleated",
    title="Nucleated cells and platelets",
    says=(
        "Names the type of the nucleated cell or platelet in the middle of a picture, or says "
        "that there is none (`other`)."
    ),
    classes=NUCLEATED_CLASSES,
    rejects=(OTHER,),
    build=build,
    masks=masks_of,
    stain_gains=gains_between_scanners,
    unnamed=lambda data, config, cache: UnnamedCrops.among(
        unnamed_white_cells(data, config.crop, cache), WHITE_CELL_TYPES
    ),
    false_alarms=FalseAlarms(
        healthy=HEALTHY_WHITE_CELLS,
        named=ALARMING_TYPES,
        says="healthy white cells named blast, erythroblast or immature",
    ),
    left_out_steps=450,
    licences={
        "pbc": "PBC Barcelona (Acevedo et al. 2020), CC BY 4.0",
        "lmu": "AML-Cytomorphology LMU (Matek et al. 2019) as re-published, CC BY 4.0",
        "three_class": "PBC Barcelona and LMU as above, CC BY 4.0",
        "chula_rbc12": "Chula RBC-12 (Chula-PIC-Lab), MIT: red cells and empty places",
        "bccd": "BCCD (Shenggan/BCCD_Dataset), MIT: red cells, empty places, platelets, "
        "white cells with the types published beside them",
        "txl_pbc": "TXL-PBC crops of PBC Barcelona, MIT and CC BY 4.0: red cells, empty places",
    },
    never_tested=(
        "promyelocytes, plasma cells, blasts other than myeloblasts, smudge cells",
        "myeloblasts of any scanner but LMU's",
    ),
)
