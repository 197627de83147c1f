"""One thing changed at a time: split, balancing, augmentation, preparation, start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgehemo_export.studies.figures import intervals_figure
from edgehemo_export.studies.remya.configuration import Shows
from edgehemo_export.studies.remya.measures import auc
from edgehemo_export.studies.remya.page.tally import Tally
from edgehemo_export.studies.remya.page.words import cell, per_class, start_text
from edgehemo_export.studies.remya.results import Found, Run
from edgehemo_export.studies.remya.trial import pictures_of
from edgehemo_export.studies.study import Section, StudyFigure, Table, worded

_SAYS: Mapping[Shows, str] = {
    "paper_split": "Shuffled picture by picture, duplicates not looked for, classes made equal "
    "first: the paper's way. Of the held-out pictures {shared} have a picture of their own group "
    "(a neighbouring number, as a rule of one slide) in training.",
    "balance": "The classes are of unlike size here ({counts}). Downsampling shows {down} pictures "
    "in an epoch; the others show all of them, counted by class (class weights), by how wrong they "
    "are (focal loss), or the smaller class repeated (oversampling). Validation and held-out "
    "pictures are the same.",
    "augmentation": "Steps of the training-only augmentation left out, all else the same.",
    "levelled": "Every picture brought to one width and one compression, the background of each "
    "channel to one value: what the file and the lamp tell is gone, cells stay.",
    "start": "What the weights at the start bring. EfficientNet-Lite0 is no network of the "
    "paper's; its ImageNet weights come as a package, so that here at least one pair shows the "
    "same network from ImageNet and from scratch.",
}


def ablation_sections(found: Found, tally: Tally, shows: Shows, title: str) -> list[Section]:
    """The arms of one purpose beside the protocol's first arm on the same set."""
    arms = found.arms(shows)
    if not arms:
        return []
    cohort = found.runs[arms[0]][0].asked.config.cohort
    base = found.first(cohort)
    listed = ([] if base is None else [base]) + arms
    roles = _abroad_roles(found, listed)
    # Compared on the seeds that all of them have.
    seeds = set.intersection(*({run.asked.seed for run in found.runs[arm]} for arm in listed))
    rows: list[tuple[str, ...]] = []
    drawn: list[tuple[str, float, float | None, float | None]] = []
    for arm in listed:
        answers = found.held_out(arm, balanced=True)
        shared = answers.at(np.flatnonzero(np.isin(answers.seeds, sorted(seeds))))
        if arm in arms:
            tally.held_out(arm)
        same = len(seeds) == len(found.runs[arm])
        on = tally.part(arm) + ("" if same else f", seed {', '.join(map(str, sorted(seeds)))}")
        own = tally.of(arm, on, shared, listed=False)
        label = f"{arm}{' (protocol)' if arm == base else ''}"
        run = found.runs[arm][0]
        rows.append(
            (
                label,
                start_text(found, arm),
                str(run.answer["shown"]),
                str(len(seeds)),
                *(cell(own.get(name)) for name in ("accuracy", "F1", "MCC", "ROC-AUC")),
                *(_abroad_cell(found, arm, role, sorted(seeds)) for role in roles),
            )
        )
        auc = own.get("ROC-AUC")
        if auc is not None:
            drawn.append((label, auc.value, auc.low, auc.high))
    first = found.runs[arms[0]][0].asked.config
    counts = per_class([p.label for p in pictures_of(first, found.material)])
    text = _SAYS[shows].format(
        shared=_shared(found.runs[arms[0]]),
        counts=f"{counts[0]} control-like, {counts[1]} anaemia-like",
        down="" if base is None else found.runs[base][0].answer["shown"],
    )
    return [
        Section(
            title,
            [
                text,
                Table(
                    (
                        "arm",
                        "start",
                        "an epoch",
                        "runs",
                        "accuracy",
                        "F1",
                        "MCC",
                        "ROC-AUC",
                        *(f"AUC abroad: {found.cohorts[role].name}" for role in roles),
                    ),
                    rows,
                    tuple(range(2, 8 + len(roles))),
                    "Held-out pictures, classes equal, and pictures of sets that were not taught. "
                    "One run of few pictures: a difference smaller than the interval is none.",
                ),
                StudyFigure(
                    f"ablation-{shows.replace('_', '-')}",
                    intervals_figure(
                        drawn,
                        title,
                        x_label="ROC-AUC on held-out pictures",
                        x_range=(0.0, 1.03),
                        references={"chance": 0.5},
                    ),
                    "The same seeds of each.",
                ),
            ],
        )
    ]


def _shared(runs: Sequence[Run]) -> str:
    shared = sum(run.answer["shared_groups"] for run in runs)
    return f"{shared} of {sum(len(run.answer['test']) for run in runs)}"


def _abroad_roles(found: Found, arms: Sequence[str]) -> list[str]:
    """Roles with both classes that any of the arms answered without having been taught them."""
    return [
        role
        for role in found.cohorts
        if any((answers := found.abroad(arm, role)) is not None and answers.both for arm in arms)
    ]


def _abroad_cell(found: Found, arm: str, role: str, seeds: Sequence[int]) -> str:
    """Mean AUC over seeds on a role's pictures."""
    answers = found.abroad(arm, role)
    if answers is None:
        return "not asked"
    runs = [answers.of_seed(seed) for seed in seeds]
    return worded(float(np.mean([auc(run.truth, run.scores) for run in runs])))
