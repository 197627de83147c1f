"""Red-cell morphology as the exporter sees it: a classifier whose shares are corrected."""

from __future__ import annotations

import dataclasses

import numpy as np

from edgehemo.bundle.manifest import Artefact, Confusion, ModelEntry
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.models.classifiers.export import classifier_subject
from edgehemo_export.models.classifiers.morphology.data import (
    SOURCE,
)
from edgehemo_export.models.classifiers.morphology.specification import SPEC
from edgehemo_export.quantisation.subject import ExportSubject


def export_subject(checkpoint: Checkpoint) -> ExportSubject:
    """What the exporter needs to know of the model.

    The confusion matrix, by which shares are corrected, is that of all kept-out cells: of the
    tune part, and of the test part once it has been measured.
    """
    subject = classifier_subject(SPEC, checkpoint)

    def entry(artefacts: list[Artefact], checkpoint_sha256: str) -> ModelEntry:
        made = subject.entry(artefacts, checkpoint_sha256)
        return made.model_copy(update={"confusion": kept_out_confusion(checkpoint)})

    return dataclasses.replace(subject, entry=entry)


def kept_out_confusion(checkpoint: Checkpoint) -> Confusion:
    """Confusion of the tune part's cells, and of the test part's where the record holds it.

    Of a type that nobody has labelled any cell of the drawn ones of the same parts stand in.
    """
    counts = np.array(checkpoint.record["tune_confusion"]["counts"], np.int64)
    tables = checkpoint.record.get("tables", {})
    for tested in (tables.get("confusion", {}).get(SOURCE), tables.get("drawn_confusion")):
        if tested is not None:
            counts = counts + np.array(tested, np.int64)
    return Confusion(counts=counts.tolist())
