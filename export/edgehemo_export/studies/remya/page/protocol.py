"""The paper's protocol on each set: networks, tests, curves, confusion, the held-out panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgehemo_export.studies.figures import confusion_figure, intervals_figure
from edgehemo_export.studies.remya import drawing
from edgehemo_export.studies.remya.cohorts import CLASSES
from edgehemo_export.studies.remya.measures import (
    LEAST_GROUPS,
    MEASURES,
    confusion,
    exact_share,
    mcnemar,
    report,
)
from edgehemo_export.studies.remya.page.tally import Tally
from edgehemo_export.studies.remya.page.words import arrays_of, cell, exact_text, share, start_text
from edgehemo_export.studies.remya.paper import PAPER_ACCURACY
from edgehemo_export.studies.remya.results import Answers, Found
from edgehemo_export.studies.remya.trial import epochs_of
from edgehemo_export.studies.study import Block, Section, StudyFigure, Table


def protocol_sections(found: Found, tally: Tally) -> list[Section]:
    """A section for each set that was trained on under the protocol."""
    out: list[Section] = []
    for role in ("main", "unconfounded", "second"):
        arms = found.arms("protocol", role)
        if not arms:
            continue
        name = found.cohorts[role].name
        title = {
            "main": f"The protocol on {name}",
            "unconfounded": f"The same where one camera took both classes ({name})",
            "second": f"The same on another set ({name})",
        }[role]
        out.append(Section(title, _protocol_blocks(found, tally, role, arms)))
    return out


def _protocol_blocks(found: Found, tally: Tally, role: str, arms: Sequence[str]) -> list[Block]:
    first, name = arms[0], found.cohorts[role].name
    answers = {arm: found.held_out(arm, balanced=True) for arm in arms}
    own = tally.held_out(first)
    blocks: list[Block] = [
        f"Adam at {found.config.training.learning_rate:g}, {found.config.training.epochs} epochs, "
        f"batches of {found.config.training.batch_size}, {found.config.pictures.side_px} px, "
        "augmentation of training pictures alone, the epoch of the best validation accuracy kept "
        "(of several, the one of the lowest validation loss). Each seed is a split of its own. "
        "Intervals: a bootstrap of whole groups over the answers of all seeds; of fewer than "
        f"{LEAST_GROUPS} groups exact ones, of shares alone, which take pictures as independent "
        "and are too narrow for that.",
        _network_table(found, tally, role, arms),
    ]
    if len(arms) > 1:
        blocks.append(_mcnemar_table(found, tally, arms, answers))
    curves = {f"{found.title(arm)}": epochs_of(found.runs[arm][0].answer) for arm in arms}
    best = {f"{found.title(arm)}": int(found.runs[arm][0].answer["best"]) for arm in arms}
    blocks.append(
        StudyFigure(
            f"curves-{role}",
            drawing.learning_figure(curves, best),
            f"Learning curves of the first run of each network on {name}; dashes: training, as it "
            "was shown; a ring: the epoch that was kept.",
        )
    )
    counts = confusion(answers[first].truth, answers[first].scores)
    blocks.append(
        (
            StudyFigure(
                f"confusion-{role}",
                confusion_figure(counts, CLASSES, f"{found.title(first)}, {name}"),
                f"Held-out pictures of {len(found.runs[first])} runs together.",
            ),
            StudyFigure(
                f"roc-{role}",
                drawing.roc_figure({found.title(arm): answers[arm] for arm in arms}, name),
                "Of the answers of all runs together.",
            ),
        )
    )
    blocks.append(
        StudyFigure(
            f"measures-{role}",
            drawing.bars_figure(
                {key: (m.value, m.low, m.high) for key, m in own.items()},
                f"{found.title(first)} on {name}, held out",
            ),
            "The paper's measures; anaemia-like is the positive class.",
        )
    )
    blocks.append(_report_table(found, first, answers[first]))
    if role == "main":
        rows = [
            (found.title(arm), m.value, m.low, m.high)
            for arm in arms
            for m in [tally.held_out(arm)["accuracy"]]
        ]
        blocks.append(
            StudyFigure(
                "networks",
                intervals_figure(
                    rows,
                    "Accuracy on held-out pictures",
                    x_label="accuracy",
                    x_range=(0.0, 1.03),
                    references={"chance": 0.5},
                    beside=PAPER_ACCURACY,
                ),
                "Ours with intervals, the paper's figures on other pictures beside them.",
            )
        )
    blocks.append(_held_out_panel(found, first, role))
    return blocks


def _network_table(found: Found, tally: Tally, role: str, arms: Sequence[str]) -> Table:
    rows = []
    for arm in arms:
        own = tally.held_out(arm)
        answers = found.held_out(arm, balanced=True)
        exact = exact_share(answers.truth, answers.scores)
        cells = [cell(own.get(name)) for name in MEASURES]
        right = f"{round(exact.value * len(answers.truth))}/{len(answers.truth)}"
        rows.append(
            (
                found.title(arm),
                start_text(found, arm),
                str(len(found.runs[arm])),
                f"{right} {exact_text(exact)}",
                *cells,
            )
        )
    return Table(
        ("network", "start", "runs", "right, exact 95 %", *MEASURES),
        rows,
        tuple(range(2, 4 + len(MEASURES))),
        "Held-out pictures, classes equal; right: of all runs together.",
    )


def _mcnemar_table(
    found: Found, tally: Tally, arms: Sequence[str], answers: Mapping[str, Answers]
) -> Table:
    """The first network against each other one, on the runs they share."""
    rows = []
    for arm in arms[1:]:
        seeds = sorted(set(answers[arms[0]].seeds.tolist()) & set(answers[arm].seeds.tolist()))
        pairs = [(answers[arms[0]].of_seed(s), answers[arm].of_seed(s)) for s in seeds]
        truth = np.concatenate([one.truth for one, _ in pairs])
        only_one, only_other, p = mcnemar(
            truth,
            np.concatenate([one.scores for one, _ in pairs]),
            np.concatenate([other.scores for _, other in pairs]),
        )
        tally.tables.setdefault("mcnemar", {})[arm] = {
            "against": arms[0],
            "pictures": len(truth),
            "only_first_right": only_one,
            "only_other_right": only_other,
            "p": p,
        }
        rows.append(
            (
                f"{found.title(arms[0])} against {found.title(arm)}",
                str(len(truth)),
                str(only_one),
                str(only_other),
                f"{p:.3g}",
            )
        )
    return Table(
        ("pair", "answers", "only the first right", "only the other right", "p (exact)"),
        rows,
        (1, 2, 3, 4),
        "McNemar's test on the same held-out pictures. The networks differ in their start, too: "
        "it compares what can be had, not architectures.",
    )


def _report_table(found: Found, arm: str, answers: Answers) -> Table:
    rows = [
        (
            name,
            *(share(row[key]) for key in ("precision", "recall", "F1")),
            f"{row['support']:.0f}",
        )
        for name, row in zip(CLASSES, report(answers.truth, answers.scores), strict=True)
    ]
    return Table(
        ("class", "precision", "recall", "F1", "support"),
        rows,
        (1, 2, 3, 4),
        f"{found.title(arm)}: classification report of all runs together.",
    )


def _held_out_panel(found: Found, arm: str, role: str) -> StudyFigure:
    run = found.runs[arm][0]
    answers = found.held_out(arm, balanced=True).of_seed(run.asked.seed)
    return StudyFigure(
        f"held-out-{role}",
        drawing.answered_figure(
            arrays_of(found, answers, run), answers, f"Held-out panel, seed {run.asked.seed}"
        ),
        "Every held-out picture of the first run: what it is (GT), what it was called, and the "
        "score for anaemia-like.",
    )
