"""What is reached without looking at a cell."""

from __future__ import annotations

import numpy as np

from edgehemo_export.studies.remya import drawing
from edgehemo_export.studies.remya.cohorts import CLASSES
from edgehemo_export.studies.remya.measures import with_intervals
from edgehemo_export.studies.remya.page.tally import Tally
from edgehemo_export.studies.remya.results import Found
from edgehemo_export.studies.remya.shortcuts import SHORTCUTS, all_shortcuts
from edgehemo_export.studies.remya.splitting import grouped_folds
from edgehemo_export.studies.study import Section, StudyFigure, Table, worded

SHOWN = ("accuracy", "balanced accuracy", "ROC-AUC")


def shortcut_sections(found: Found, tally: Tally) -> list[Section]:
    """What is reached without a cell, on each set as it is and on the main one made alike."""
    bars: dict[str, dict[str, float]] = {}
    rows = []
    for role, prepared in (
        ("main", "as_is"),
        ("main", "levelled"),
        ("unconfounded", "as_is"),
        ("second", "as_is"),
    ):
        if role not in found.material.taught:
            continue
        pictures = found.material.taught[role]
        labels = np.array([picture.label for picture in pictures], np.intp)
        groups = [picture.group for picture in pictures]
        folds = grouped_folds(labels.tolist(), groups, found.config.split, found.config.seeds[0])
        if any(len(set(labels[np.r_[f.train, f.validate]])) < len(CLASSES) for f in folds):
            continue
        places = found.material.decoded.places(pictures)
        scores = all_shortcuts(
            getattr(found.material.decoded, prepared)[places],
            found.material.decoded.of_file[places],
            labels,
            folds,
        )
        name = found.cohorts[role].name + (", made alike" if prepared == "levelled" else "")
        table = tally.tables.setdefault("shortcuts", {}).setdefault(name, {})
        for shortcut in SHORTCUTS:
            if prepared == "levelled" and shortcut.name == "file":
                continue
            own = with_intervals(
                labels, scores[shortcut.name], groups, found.config.bootstrap_rounds
            )
            table[shortcut.name] = {key: own[key].value for key in SHOWN}
            bars.setdefault(name, {})[shortcut.name] = own["ROC-AUC"].value
            rows.append(
                (
                    name,
                    shortcut.name,
                    *(worded(own[key].value, own[key].low, own[key].high) for key in SHOWN),
                )
            )
    if not rows:
        return []
    return [
        Section(
            "What is reached without looking at a cell",
            [
                "A logistic regression, every picture answered by a line that never saw its "
                "group. "
                + " ".join(f"{s.name}: {s.says}." for s in SHORTCUTS)
                + " Where such a line does well, a network's figure on that set proves nothing "
                "about blood.",
                StudyFigure(
                    "shortcuts",
                    drawing.grouped_bars_figure(
                        bars, "AUC without a cell", y_label="ROC-AUC", chance=0.5
                    ),
                    "0.5 is chance. Made alike: one width, one compression, the background of "
                    "each channel at one value.",
                ),
                Table(
                    ("set", "what the line sees", *SHOWN),
                    rows,
                    (2, 3, 4),
                    "Out of fold, whole groups held out; intervals: bootstrap of groups.",
                ),
            ],
        )
    ]
