"""Cross-validation: every picture held out once."""

from __future__ import annotations

import numpy as np

from edgehemo_export.studies.figures import confusion_figure
from edgehemo_export.studies.remya.cohorts import CLASSES
from edgehemo_export.studies.remya.measures import confusion, measured
from edgehemo_export.studies.remya.page.tally import Tally
from edgehemo_export.studies.remya.page.words import cell, share
from edgehemo_export.studies.remya.results import Found
from edgehemo_export.studies.remya.trial import pictures_of
from edgehemo_export.studies.study import Section, StudyFigure, Table


def folds_sections(found: Found, tally: Tally) -> list[Section]:
    """Whole groups held out in turn, on each set."""
    arms = found.arms("folds")
    if not arms:
        return []
    rows = []
    for arm in arms:
        own = tally.held_out(arm)
        config = found.runs[arm][0].asked.config
        by_fold = [
            measured(np.array(truth, np.intp), np.array(scores))["ROC-AUC"]
            for truth, scores in _folds_of(found, arm)
        ]
        tally.tables.setdefault("folds", {})[arm] = {"ROC-AUC by fold": by_fold}
        rows.append(
            (
                found.cohorts[config.cohort].name,
                str(own["accuracy"].n),
                *(
                    cell(own.get(name))
                    for name in ("accuracy", "balanced accuracy", "F1", "MCC", "ROC-AUC")
                ),
                ", ".join(share(value) for value in by_fold),
            )
        )
    return [
        Section(
            "Cross-validation",
            [
                f"{found.config.split.folds} folds of whole groups; of those not held out one "
                "validates, the others train. Every picture is answered once, the classes as "
                "they are.",
                Table(
                    (
                        "set",
                        "pictures",
                        "accuracy",
                        "balanced accuracy",
                        "F1",
                        "MCC",
                        "ROC-AUC",
                        "AUC by fold",
                    ),
                    rows,
                    tuple(range(1, 8)),
                    "Intervals: bootstrap of groups over all answers. The AUC over all folds "
                    "compares scores of different networks and can lie below those of the folds.",
                ),
                tuple(
                    StudyFigure(
                        f"confusion-{arm}",
                        confusion_figure(
                            confusion(
                                (answers := found.held_out(arm, balanced=False)).truth,
                                answers.scores,
                            ),
                            CLASSES,
                            found.cohorts[found.runs[arm][0].asked.config.cohort].name,
                        ),
                        "All folds together.",
                    )
                    for arm in arms
                ),
            ],
        )
    ]


def _folds_of(found: Found, arm: str) -> list[tuple[list[int], list[float]]]:
    out = []
    for run in found.runs[arm]:
        pictures = pictures_of(run.asked.config, found.material)
        truth = [pictures[place].label for place in run.answer["split"]["test"]]
        out.append((truth, list(run.answer["test"])))
    return out
