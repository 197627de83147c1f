"""The model card of red-cell morphology: what only it has, around the classifiers' own card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.evaluation import card_parts
from edgehemo_export.models.classifiers.card import classifier_card
from edgehemo_export.models.classifiers.checkpoint import stored_config
from edgehemo_export.models.classifiers.morphology.drawn_shapes import DRAWN
from edgehemo_export.models.classifiers.morphology.specification import SPEC
from edgehemo_export.models.classifiers.training import ClassifierConfig


def card(checkpoint: Checkpoint) -> str:
    """The model card, from the checkpoint's record."""
    tables = checkpoint.record.get("tables", {})
    more = card_parts.section("How it came about", checkpoint.record.get("lineage", []))
    more += card_parts.tried(checkpoint.record)
    more += card_parts.section(
        "Blocks left out",
        "One labelled source, so accuracy cannot be told of a source left out. Each block of ten "
        "neighbouring fields below was left out whole of training; the blocks before and after it "
        "may be of the same slide.",
        card_parts.table(
            ("block", "cells", "commonest type", "accuracy", "macro F1"),
            [
                (
                    row["block"],
                    row["cells"],
                    row["commonest"],
                    f"{row['accuracy']:.3f}",
                    f"{row['macro_F1']:.3f}",
                )
                for row in tables.get("blocks", [])
            ],
        ),
    )
    if tables.get("diagnoses"):
        more += card_parts.section(
            "Fields of known diagnosis",
            "Chula's disease fields, whose cells bear no labels: the cells the shipped finder "
            "finds, and the corrected share of each type (95 % interval). A look, not a "
            "measurement; the scale is 0.10 um/px at full size.",
            _diagnosis_table(tables["diagnoses"]),
        )
    if checkpoint.record.get("drawn_alone"):
        more += card_parts.section(
            "Drawn shapes",
            drawn_says(checkpoint.record["drawn_alone"], stored_config(checkpoint)),
        )
    return classifier_card(SPEC, checkpoint, more=more)


def drawn_says(drawn_alone: Sequence[str], config: ClassifierConfig) -> str:
    """The card's words for cells that were drawn, and what they stand for."""
    types = ", ".join(f"`{name}`" for name in DRAWN)
    alone = ", ".join(f"`{name}`" for name in drawn_alone)
    return (
        f"{config.drawn_share:.0%} of every batch are round cells of all microscopes drawn into "
        f"{types}, {config.unnamed_share:.0%} isolated cells of the sets without types, of which "
        "the outline alone says which types are possible. Nobody has labelled any cell as "
        f"{alone}: in the confusion matrix by which shares are corrected, drawn cells of kept-out "
        "groups stand for it. They are easier than real ones, so the corrected share of that type "
        "is too small rather than too large where real cells are missed. Its threshold is that of "
        "all types together."
    )


def _diagnosis_table(rows: Sequence[Mapping[str, Any]], largest: int = 5) -> list[str]:
    """For each diagnosis the types with the largest shares."""
    lines = []
    for row in rows:
        shares = sorted(row["shares"] or [], key=lambda share: -share["share"])[:largest]
        said = "; ".join(
            f"{s['type']} {s['share']:.0%} ({s['low']:.0%} to {s['high']:.0%})" for s in shares
        )
        lines.append((row["diagnosis"], row["fields"], row["cells"], said))
    return card_parts.table(("diagnosis", "fields", "red cells", "largest shares"), lines)
