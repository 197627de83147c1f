"""The study's page, section by section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgehemo_export.studies.figures import confusion_figure, intervals_figure
from edgehemo_export.studies.lateef import paper
from edgehemo_export.studies.lateef.data import HIDDEN, WAYS
from edgehemo_export.studies.lateef.drawings import (
    called_figure,
    coverage_figure,
    training_figure,
    ways_figure,
    ways_sheet,
)
from edgehemo_export.studies.lateef.findings import (
    Answers,
    Findings,
    confusion,
    figures_of,
    others_of,
)
from edgehemo_export.studies.lateef.methods import (
    COLOUR_SHAPE,
    CORNERS,
    FUSED,
    NETWORKS,
    ONE_VS_REST,
    SCATTERING,
)
from edgehemo_export.studies.lateef.steps import part_of_way
from edgehemo_export.studies.lateef.wording import (
    HELD_OUT,
    OF_ONE_SCANNER,
    SAME_CELL,
    brief,
    measure_of,
    shown,
    told,
)
from edgehemo_export.studies.study import Block, Measure, Section, StudyFigure, Table, worded

FIGURES = ("accuracy", "macro precision", "macro recall", "macro F1")
# Of the scanner: what it alone tells of three classes, two of which it cannot tell apart.
SCANNER_ALONE = "the scanner told, the rest guessed"


def page_sections(
    found: Findings, answers: Sequence[Answers], measures: Sequence[Measure]
) -> list[Section]:
    """Every section, those left out that this run's data cannot fill."""
    sections = [
        _methods(found, answers, measures),
        _classes(found, answers, measures),
        _training(found),
        _future(found, measures),
        _trap(found, answers, measures),
    ]
    if found.data.others:
        sections.append(_abroad(found, answers, measures))
    return [*sections, _machine(found, measures), _disagreements()]


def _plain(answers: Sequence[Answers]) -> list[Answers]:
    """The methods on pictures as they are, without the ensembles."""
    return [a for a in answers if a.way == "as they are" and not a.name.startswith("ensemble")]


def _methods(found: Findings, answers: Sequence[Answers], measures: Sequence[Measure]) -> Section:
    classes = found.data.classes
    of_paper = classes == paper.CLASSES
    rows, marks, beside = [], [], {}
    for one in _plain(answers):
        found_ = [measure_of(measures, one.name, HELD_OUT, name) for name in FIGURES]
        accuracy = found_[0]
        if accuracy is None:
            continue
        reported = paper.REPORTED.get(one.name) if of_paper else None
        if reported is not None:
            beside[one.name] = figures_of(reported.counts, classes)["accuracy"]
        rows.append(
            (
                one.name,
                told(accuracy),
                *(brief(m) for m in found_[1:]),
                "" if accuracy.sd is None else worded(accuracy.sd),
                worded(beside[one.name]) if one.name in beside else "",
            )
        )
        marks.append((one.name, accuracy.value, accuracy.low, accuracy.high))
    header = ("method", "accuracy", "precision", "recall", "F1", "sd over seeds", "paper")
    charts = tuple(
        StudyFigure(
            f"confusion-{number}",
            confusion_figure(confusion(one, found.splits, len(classes)), classes, one.name),
            f"{one.name}: {_seeds(one)}",
        )
        for number, one in enumerate(_plain(answers), start=1)
        if one.name in (SCATTERING.name, *(method.name for method in NETWORKS))
    )
    folds = found.configuration.svm.folds
    crossed = measure_of(measures, SCATTERING.name, f"training part, {folds}-fold", "accuracy")
    return Section(
        "The methods on the held-out pictures",
        [
            "Precision, recall and F1 are plain means over the classes. The intervals are by "
            "bootstrap of pictures, all seeds together.",
            Table(header, rows, (2, 3, 4, 5, 6)),
            f"Scattering and SVM by {folds} folds of the training part: {told(crossed)}.",
            StudyFigure(
                "accuracy",
                intervals_figure(marks, "Held-out accuracy", x_label="accuracy", beside=beside),
                "Held-out accuracy with its 95 % interval, and the paper's.",
            ),
            charts,
        ],
    )


def _seeds(one: Answers) -> str:
    return "one seed" if len(one.test) == 1 else f"{len(one.test)} seeds together"


def _classes(found: Findings, answers: Sequence[Answers], measures: Sequence[Measure]) -> Section:
    rows = []
    for one in _plain(answers):
        reported = paper.REPORTED.get(one.name)
        theirs = (
            figures_of(reported.counts, paper.CLASSES)
            if reported is not None and found.data.classes == paper.CLASSES
            else {}
        )
        for name in found.data.classes:
            row = [one.name, name]
            for figure in ("precision", "recall", "F1"):
                key = f"{figure} {name}"
                measure = measure_of(measures, one.name, HELD_OUT, key)
                row += [str(measure), worded(theirs[key]) if key in theirs else ""]
            rows.append(tuple(row))
    header = ("method", "class", "precision", "paper", "recall", "paper", "F1", "paper")
    return Section("By class", [Table(header, rows, (3, 5, 7))])


def _training(found: Findings) -> Section:
    blocks: list[Block] = []
    for method in NETWORKS:
        runs = [run for run in found.networks if run.method == method]
        if runs:
            blocks += [
                f"{method.name}: {found.starts[method.key].says}.",
                StudyFigure(
                    f"training-{method.key}",
                    training_figure(runs, method.name),
                    f"{method.name}: loss and accuracy by epoch, on pictures turned and mirrored "
                    "at random.",
                ),
            ]
    return Section("Training", blocks or ["No network was trained."])


def _future(found: Findings, measures: Sequence[Measure]) -> Section:
    names = [SCATTERING.name, COLOUR_SHAPE.name, FUSED.name]
    names += sorted({m.of for m in measures if m.of.startswith("ensemble")})
    rows = []
    for name in names:
        accuracy = measure_of(measures, name, HELD_OUT, "accuracy")
        alike = measure_of(measures, name, f"{HELD_OUT}, made alike", "accuracy")
        kept = measure_of(measures, name, HELD_OUT, "named above the threshold")
        right = measure_of(measures, name, HELD_OUT, "accuracy above the threshold")
        rows.append(
            (name, told(accuracy), "" if alike is None else str(alike), brief(kept), brief(right))
        )
    header = ("method", "accuracy", "pictures made alike", "named", "of these right")
    curves: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
    for method in (SCATTERING, COLOUR_SHAPE, FUSED):
        key = f"{method.key}|{part_of_way('as they are')}|test"
        scores = np.concatenate([stored[key] for stored in found.svms.values()])
        truth = np.concatenate([found.splits[seed].test_labels for seed in found.svms])
        order = np.argsort(-scores.max(axis=1), kind="stable")
        right_ = (scores.argmax(axis=1) == truth)[order]
        number = np.arange(1, len(order) + 1)
        curves[method.name] = (number / len(order), np.cumsum(right_) / number)
    share = found.configuration.svm.kept_share
    return Section(
        "What the paper leaves to future work",
        [
            "Colour: histograms of hue, saturation and value, mean and spread of each channel. "
            "Shape: area, outline, roundness, parts and density of the nucleus, the cell around "
            "it. Fused: side by side with the scattering coefficients, in one SVM. The threshold "
            f"keeps {share:.0%} of the right answers of the folds; what scores less stays unnamed. "
            "Ensembles: the mean of the scores, with the seeds that all of them have.",
            Table(header, rows, (3, 4)),
            StudyFigure(
                "coverage",
                coverage_figure(curves),
                "Accuracy of the surest cells, by the share of cells that is named.",
            ),
        ],
    )


def _trap(found: Findings, answers: Sequence[Answers], measures: Sequence[Measure]) -> Section:
    classes = found.data.classes
    share = found.configuration.background.disc_share
    rows, drawn = [], []
    for name in dict.fromkeys(a.name for a in answers if not a.name.startswith("ensemble")):
        if name in (ONE_VS_REST.name,):
            continue
        values: dict[str, tuple[float, float | None, float | None]] = {}
        cells = [name]
        for way in WAYS:
            one = next((a for a in answers if (a.name, a.way) == (name, way)), None)
            if one is None:
                cells.append("")
                continue
            place = shown(HELD_OUT, way)
            if one.trained_on is not None:
                place += f" (trained on them {one.trained_on})"
            measure = measure_of(measures, name, place, "accuracy")
            assert measure is not None, "of every answer there is an accuracy"
            values[way] = (measure.value, measure.low, measure.high)
            star = " *" if one.trained_on is not None else ""
            cells.append(f"{measure}{star}")
        rows.append(tuple(cells))
        if len(values) > 1:
            drawn.append((name, values))
    by_class = []
    for method in (SCATTERING, CORNERS):
        for way in HIDDEN:
            recalls = [
                measure_of(measures, method.name, shown(HELD_OUT, way), f"recall {name}")
                for name in classes
            ]
            by_class.append((method.name, way, *(str(m) for m in recalls)))
    chance = {"guessed": 1 / len(classes)}
    if classes == paper.CLASSES:
        chance[SCANNER_ALONE] = 2 / 3
    return Section(
        "The trap: class and scanner are one",
        [
            "Basophils and erythroblasts are pictures of PBC Barcelona (a CellaVision DM96), "
            "myeloblasts of LMU Munich (an M8 scanner): other light, stain, scale, focus and size "
            "of file. So a picture's background tells the class. Here the cell is hidden under a "
            f"disc of {share:.0%} of the picture's width, the same in every picture, and only "
            "corners and edges are left. Made alike: a clear background divided out, "
            f"{found.configuration.equal.width_um:g} um across, "
            f"{found.configuration.equal.side_px} px, before the picture is resized.",
            StudyFigure("ways", ways_sheet(found), "The four ways in which pictures are shown."),
            Table(("method", *WAYS), rows, (), "Accuracy. * trained on whole pictures as they are"),
            StudyFigure(
                "background",
                ways_figure(drawn, chance),
                "Who knows the scanner alone names the myeloblasts and guesses the rest: 0.667.",
            ),
            "What is left with the cell hidden, by class:",
            Table(("method", "shown", *(f"recall of {name}" for name in classes)), by_class),
            "The corners' six numbers are the mean and the spread of red, green and blue.",
        ],
    )


def _abroad(found: Findings, answers: Sequence[Answers], measures: Sequence[Measure]) -> Section:
    classes = found.data.classes
    able = [a for a in answers if a.others and not a.name.startswith("ensemble")]
    able = [a for a in able if a.name != ONE_VS_REST.name]
    blocks: list[Block] = [
        "No third source has the three classes: none is known that shows erythroblasts and "
        "myeloblasts from one microscope. Three things can be asked all the same. First, other "
        "pictures of the same classes from the same two scanners, at a lower resolution. Second, "
        "a kind of cell that both scanners saw and that none of the classes is, the neutrophil: "
        "whoever looks at the cell must call it the same on both. Third, a third microscope: its "
        "cells are none of the classes but for single basophils, and a threshold should leave "
        "them unnamed.",
    ]
    names = {other.name for other in found.data.others}
    if OF_ONE_SCANNER in classes and set(SAME_CELL) <= names:
        rows: list[tuple[str, ...]] = []
        for one in able:
            pair = [
                measure_of(measures, one.name, shown(place, one.way), f"called {OF_ONE_SCANNER}")
                for place in SAME_CELL
            ]
            if pair[0] is None or pair[1] is None:
                continue
            apart = pair[0].value - pair[1].value
            rows.append((one.name, one.way, str(pair[0]), str(pair[1]), f"{apart:+.3f}"))
        blocks.append(
            Table(
                (
                    "method",
                    "shown",
                    *(f"{name} called {OF_ONE_SCANNER}" for name in SAME_CELL),
                    "the scanner's part",
                ),
                rows,
                (4,),
                "The same kind of cell on both scanners.",
            )
        )
    known = [other.name for other in found.data.others if other.answer is not None]
    recalls: list[tuple[str, ...]] = []
    for one in able:
        own = [measure_of(measures, one.name, shown(name, one.way), "recall") for name in known]
        recalls.append((one.name, one.way, *(str(measure) for measure in own)))
    if known:
        header = ("method", "shown", *(f"recall of {name}" for name in known))
        blocks.append(Table(header, recalls, (), "Pictures of the classes that no run trained on."))
    over: list[tuple[str, ...]] = []
    for method in (SCATTERING, COLOUR_SHAPE, FUSED):
        for other in found.data.others:
            pair = [
                measure_of(
                    measures, method.name, shown(other.name, way), "named above the threshold"
                )
                for way in ("as they are", "made alike")
            ]
            over.append((method.name, other.name, *(str(m) for m in pair)))
    blocks += [
        _called(found, able, classes),
        "How many of them are named in spite of the threshold (of what is none of the classes, all "
        "should stay unnamed):",
        Table(("method", "pictures", "as they are", "made alike"), over),
    ]
    return Section("The same cell on both scanners, and a third", blocks)


def _called(
    found: Findings, able: Sequence[Answers], classes: Sequence[str]
) -> tuple[StudyFigure, ...]:
    drawn = []
    for number, one in enumerate(able, start=1):
        rows = _shares(found, one.others, len(classes))
        title = f"{one.name}, {one.way}"
        drawn.append(
            StudyFigure(
                f"called-{number}",
                called_figure(rows, classes, title),
                f"What {one.name} calls them ({one.way}).",
            )
        )
    return tuple(drawn)


def _shares(
    found: Findings, others: Mapping[int, NDArray[np.float64]], classes: int
) -> list[tuple[str, NDArray[np.float64]]]:
    out = []
    for place, other in enumerate(found.data.others):
        called = np.concatenate(
            [others_of(found.data, scores)[place][1].argmax(axis=1) for scores in others.values()]
        )
        out.append((other.name, np.bincount(called, minlength=classes) / len(called)))
    return out


def _machine(found: Findings, measures: Sequence[Measure]) -> Section:
    options = found.configuration.svm
    key = f"{SCATTERING.key}|{part_of_way('as they are')}|machine"
    held = np.array([stored[key] for stored in found.svms.values()])
    rest = measure_of(measures, ONE_VS_REST.name, HELD_OUT, "accuracy")
    return Section(
        "The SVM, in MATLAB and here",
        [
            "MATLAB's `polynomial` kernel of order 3 and scale s is (1 + x.y / s^2)^3. "
            "scikit-learn's `poly` is (gamma x.y + coef0)^3 with coef0 = 0 and gamma = 1 / "
            "(features x variance) unless told otherwise: without the 1 it has terms of third "
            "order alone, and with that gamma the same box constraint weighs something else. Here "
            "gamma is 1 / s^2 and coef0 is 1. Features are standardised with the training part's "
            "mean and standard deviation. Answers are decoded from the hinge losses, as "
            "`fitcecoc` does, not by votes.",
            f"The box constraint of {options.box_constraint:g} never acts: of "
            f"{int(held[:, 0].mean())} support vectors (mean of seeds) {int(held[:, 1].sum())} are "
            "at it. With so many features the cubic kernel parts the training pictures without an "
            "error, and any large constraint gives the same machine.",
            f"One class against the rest instead of one against one: {told(rest)}.",
        ],
    )


def _disagreements() -> Section:
    return Section(
        "Where the paper says two things",
        [Table(("in one place", "in another", "here"), list(paper.DISAGREEMENTS))],
    )
