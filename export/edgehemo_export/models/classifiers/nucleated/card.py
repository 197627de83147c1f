"""The model card of the nucleated cells: what only they have, around the classifiers' own card."""

from __future__ import annotations

from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.evaluation import card_parts
from edgehemo_export.models.classifiers.card import classifier_card
from edgehemo_export.models.classifiers.nucleated.specification import SPEC


def card(checkpoint: Checkpoint) -> str:
    """The model card, from the checkpoint's record."""
    more = card_parts.section("How it came about", checkpoint.record.get("lineage", []))
    more += card_parts.section(
        "The scanner must not give the class away",
        "Myeloblasts come from LMU's scanner alone. `surroundings exchanged`: each kept-out cell "
        "of PBC and LMU is cut out and set into surroundings of the other set; `stain exchanged`: "
        "it takes the other set's stain too, by the ratio of the two sets' neutrophils; `cell "
        "removed`: the surroundings with the cell replaced by clear field. A quarter of the "
        "training crops had their surroundings exchanged as well.",
    )
    return classifier_card(SPEC, checkpoint, more=more)
