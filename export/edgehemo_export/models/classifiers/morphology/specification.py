"""What tells the classifier of red-cell morphology from another."""

from __future__ import annotations

from pathlib import Path

from edgehemo_export.configuration import CONFIGS
from edgehemo_export.data.cell_crops import CellCrops
from edgehemo_export.data.sets import bccd, chula_disease, txl_pbc
from edgehemo_export.models.classifiers.conformal import marginal_rule
from edgehemo_export.models.classifiers.morphology.data import (
    LICENCE,
    MORPHOLOGY_CLASSES,
    SOURCE,
    morphology_crops,
    unnamed_red_cells,
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
    },
    # With thresholds type by type the types that are often mistaken for one another would be in
    # nearly every cell's set, and nine cells in ten `uncertain` (measured on the tune part).
    rule=marginal_rule,
    rule_says="all types together",
    pupil=f"{CONFIGS.name}/morphology_pupil.toml",
    unnamed=lambda data, config, cache: unnamed_red_cells(data, config.crop, cache),
    unnamed_classes=MORPHOLOGY_CLASSES,
    false_alarms=FalseAlarms(
        healthy=("normal",), named=("schistocyte",), says="normal cells named schistocyte"
    ),
    never_tested=(
        "any microscope, camera or laboratory but the one of Chula RBC-12: there is one labelled "
        "source, so leaving a source out is not possible; what is kept out are whole blocks of "
        "fields",
        "sickle cells, acanthocytes and other types outside the thirteen",
        "elliptocytes of any slide but the two blocks of fields that hold nearly all of them",
    ),
)
