"""What tells the classifier of red-cell morphology from another."""

from __future__ import annotations

from pathlib import Path

from edgehemo_export.data.cell_crops import CellCrops
from edgehemo_export.data.sets import bccd, chula_disease, txl_pbc, uganda_phone
from edgehemo_export.models.classifiers.conformal import marginal_rule
from edgehemo_export.models.classifiers.morphology.data import (
    LICENCE,
    MORPHOLOGY_CLASSES,
    SOURCE,
    morphology_crops,
)
from edgehemo_export.models.classifiers.morphology.drawn_cells import drawn_cells
from edgehemo_export.models.classifiers.morphology.isolated_cells import (
    isolated_cells,
    partly_known,
)
from edgehemo_export.models.classifiers.specification import ClassifierSpec, FalseAlarms
from edgehemo_export.models.classifiers.training import ClassifierConfig


def build(data: Path, config: ClassifierConfig, cache: Path | None) -> CellCrops:
    """The labelled red cells of a data root."""
    return morphology_crops(data, config.crop, cache)


SPEC = ClassifierSpec(
    task="morphology",
    title="Red-cell morphology",
    says=(
        "Names the type of the red cell in the middle of a picture. Size counts: the picture's "
        "scale must be known or measured."
    ),
    classes=MORPHOLOGY_CLASSES,
    rejects=(),
    build=build,
    masks=None,
    licences={
        SOURCE: LICENCE,
        bccd.SOURCE: "BCCD (Shenggan/BCCD_Dataset), MIT",
        chula_disease.SOURCE: "Chula fields by diagnosis (Chula-PIC-Lab), MIT",
        txl_pbc.SOURCE: "TXL-PBC crops of PBC Barcelona (Acevedo et al. 2020), MIT and CC BY 4.0",
        uganda_phone.SOURCE: "Sickle-cell smears of Teso, Uganda (Tushabe et al.), CC BY 4.0 as "
        "quoted",
    },
    # With thresholds type by type the types that are often mistaken for one another would be in
    # nearly every cell's set, and nine cells in ten `uncertain` (measured on the tune part).
    rule=marginal_rule,
    rule_says="all types together",
    unnamed=lambda data, config, cache: partly_known(isolated_cells(data, config.crop, cache)),
    drawn=lambda data, config, cache, labelled: drawn_cells(
        isolated_cells(data, config.crop, cache), labelled, cache
    ),
    false_alarms=FalseAlarms(
        healthy=("normal",), named=("schistocyte",), says="normal cells named schistocyte"
    ),
    never_tested=(
        "the types of any microscope, camera or laboratory but the one of Chula RBC-12: there is "
        "one labelled source; of the others only what a cell's outline tells is known",
        "sickle cells that a person has named: the type is learnt from drawn cells",
        "acanthocytes and other types that are not among the classes",
        "elliptocytes of any slide but the two blocks of fields that hold nearly all of them",
    ),
)
