"""The study's result: its figures, its predictions, the comparison with the paper, its page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgehemo_export.evaluation.statistics import wilson
from edgehemo_export.nets.architecture_table import BY_NAME
from edgehemo_export.studies.lateef import paper
from edgehemo_export.studies.lateef.configuration import LateefConfiguration
from edgehemo_export.studies.lateef.data import CellPicture
from edgehemo_export.studies.lateef.findings import (
    Answers,
    Findings,
    confusion,
    figures_of,
    others_of,
    share_with_interval,
    with_intervals,
)
from edgehemo_export.studies.lateef.methods import CNN, NETWORKS, RESNET50, SCATTERING
from edgehemo_export.studies.lateef.networks import Begun, parameters_as_keras_counts
from edgehemo_export.studies.lateef.sections import page_sections
from edgehemo_export.studies.lateef.steps import part_of_way, straddling, svm_runs
from edgehemo_export.studies.lateef.svm import threshold_keeping
from edgehemo_export.studies.lateef.wording import (
    HELD_OUT,
    OF_ONE_SCANNER,
    SAME_CELL,
    measure_of,
    shown,
    told,
)
from edgehemo_export.studies.parts import relative_name
from edgehemo_export.studies.study import (
    Comparison,
    Json,
    Measure,
    Prediction,
    StudyResult,
    Table,
    worded,
)


def result_of(found: Findings) -> StudyResult:
    """The whole result, from what the steps stored."""
    answers = found.answers()
    measures = list(_measures(found, answers))
    return StudyResult(
        summary=_summary(found, measures),
        measures=measures,
        predictions=list(_predictions(found, answers)),
        comparison=_comparison(found, measures),
        not_comparable=_not_comparable(found),
        sections=page_sections(found, answers, measures),
        data=_data_table(found),
        start={
            method.name: found.starts[method.key].says
            for method in NETWORKS
            if any(run.method == method for run in found.networks)
        },
        tables=_tables(found, answers),
    )


def _measures(found: Findings, answers: Sequence[Answers]) -> Iterator[Measure]:
    classes = found.data.classes
    for one in answers:
        held = sum(len(found.splits[seed].test) for seed in one.seeds)
        place = shown(HELD_OUT, one.way)
        if one.trained_on is not None:
            place += f" (trained on them {one.trained_on})"
        for name, (seeds, bounds) in with_intervals(one, found.splits, classes).items():
            yield Measure.of_seeds(name, seeds, of=one.name, on=place, n=held, figure=bounds)
    yield from _cross_validated(found)
    yield from _on_others(found, answers)
    yield from _thresholds(found)


def _cross_validated(found: Findings) -> Iterator[Measure]:
    """Accuracy of the training pictures out of fold, of the paper's SVM."""
    key = f"{SCATTERING.key}|{part_of_way('as they are')}|folds"
    right, ids = {}, []
    for seed, stored in found.svms.items():
        split = found.splits[seed]
        right[seed] = stored[key].argmax(axis=1) == split.train_labels
        ids.append(split.train)
    folds = found.configuration.svm.folds
    yield _share("accuracy", right, ids, SCATTERING.name, f"training part, {folds}-fold")


def _share(
    name: str,
    right: Mapping[int, NDArray[np.bool_]],
    ids: Sequence[NDArray[np.intp]],
    of: str,
    on: str,
) -> Measure:
    """A share over several seeds; a round of its bootstrap draws pictures with all their seeds."""
    flat = np.concatenate(list(right.values()))
    bounds = share_with_interval(flat, np.concatenate(list(ids)))
    seeds = {seed: float(values.mean()) for seed, values in right.items()}
    return Measure.of_seeds(name, seeds, of=of, on=on, n=len(flat), figure=bounds)


def _on_others(found: Findings, answers: Sequence[Answers]) -> Iterator[Measure]:
    """What each further set is called by each method; recall where one of the classes is right."""
    classes = found.data.classes
    for one in answers:
        if not one.others:
            continue
        parts = {seed: others_of(found.data, scores) for seed, scores in one.others.items()}
        for index, (other, _) in enumerate(next(iter(parts.values()))):
            ids = [np.arange(len(other.pictures)) for _ in parts]
            called = {seed: found_[index][1].argmax(axis=1) for seed, found_ in parts.items()}
            for number, name in enumerate(classes):
                if other.answer not in (None, name):
                    continue
                hits = {seed: values == number for seed, values in called.items()}
                what = f"called {name}" if other.answer is None else "recall"
                yield _share(what, hits, ids, one.name, shown(other.name, one.way))


def _thresholds(found: Findings) -> Iterator[Measure]:
    """Of the SVMs: how many cells stay named above the threshold, and how many of these rightly."""
    share = found.configuration.svm.kept_share
    for method, way in svm_runs():
        key = f"{method.key}|{part_of_way(way)}"
        if way not in ("as they are", "made alike") or method.coding is not None:
            continue
        limits = {
            seed: threshold_keeping(stored[f"{key}|folds"], found.splits[seed].train_labels, share)
            for seed, stored in found.svms.items()
        }
        named = {
            seed: stored[f"{key}|test"].max(axis=1) >= limits[seed]
            for seed, stored in found.svms.items()
        }
        ids = [found.splits[seed].test for seed in found.svms]
        yield _share("named above the threshold", named, ids, method.name, shown(HELD_OUT, way))
        right = {
            seed: (stored[f"{key}|test"].argmax(axis=1) == found.splits[seed].test_labels)[
                named[seed]
            ]
            for seed, stored in found.svms.items()
        }
        if all(len(values) for values in right.values()):
            kept = [found.splits[seed].test[named[seed]] for seed in found.svms]
            yield _share(
                "accuracy above the threshold", right, kept, method.name, shown(HELD_OUT, way)
            )
        if not all(f"{key}|others" in stored for stored in found.svms.values()):
            continue
        parts = {
            seed: others_of(found.data, stored[f"{key}|others"])
            for seed, stored in found.svms.items()
        }
        for index, other in enumerate(found.data.others):
            over = {
                seed: found_[index][1].max(axis=1) >= limits[seed] for seed, found_ in parts.items()
            }
            numbers = [np.arange(len(other.pictures)) for _ in parts]
            yield _share(
                "named above the threshold", over, numbers, method.name, shown(other.name, way)
            )


def _predictions(found: Findings, answers: Sequence[Answers]) -> Iterator[Prediction]:
    own = [picture for name in found.data.classes for picture in found.data.pictures[name]]
    further = [(o, picture) for o in found.data.others for picture in o.pictures]
    key = f"{SCATTERING.key}|{part_of_way('as they are')}"
    for seed, stored in found.svms.items():
        train = found.splits[seed].train
        rows = zip(train, stored[f"{key}|folds"], stored[f"{key}|fold"], strict=True)
        for index, scores, fold in rows:
            yield _prediction(
                found,
                "training part, out of fold",
                SCATTERING.name,
                seed,
                own[index],
                scores,
                int(fold),
            )
    for one in answers:
        place = f"{HELD_OUT}, {one.way}"
        for seed, scores in one.test.items():
            for index, row in zip(found.splits[seed].test, scores, strict=True):
                yield _prediction(found, place, one.name, seed, own[index], row)
        for seed, scores in one.others.items():
            for (other, picture), row in zip(further, scores, strict=True):
                yield _prediction(found, f"{other.name}, {one.way}", one.name, seed, picture, row)


def _prediction(
    found: Findings,
    part: str,
    method: str,
    seed: int,
    picture: CellPicture,
    scores: NDArray[np.float64],
    fold: int | None = None,
) -> Prediction:
    classes = found.data.classes
    return Prediction(
        part=part,
        method=method,
        seed=seed,
        picture=relative_name(found.root, picture.path),
        group=picture.group,
        source=picture.source,
        truth=picture.class_name,
        predicted=classes[int(scores.argmax())],
        scores={name: float(value) for name, value in zip(classes, scores, strict=True)},
        fold=fold,
    )


def _comparison(found: Findings, measures: Sequence[Measure]) -> list[Comparison]:
    rows: list[Comparison] = []
    if found.data.classes == paper.CLASSES:
        for method, reported in paper.REPORTED.items():
            rows += _compared(found, method, reported, measures)
        rows.append(_parameters())
        rows += _curves(found)
    return rows


def _compared(
    found: Findings, method: str, reported: paper.Reported, measures: Sequence[Measure]
) -> list[Comparison]:
    right, count = int(np.trace(reported.counts)), int(reported.counts.sum())
    theirs, exact = figures_of(reported.counts, paper.CLASSES), wilson(right, count)
    begun = found.starts.get(RESNET50.key)
    if measure_of(measures, method, HELD_OUT, "accuracy") is None:
        apart, why = True, "Not trained in this run."
    elif method == RESNET50.name and begun is not None and begun.start != "imagenet":
        apart = True
        why = (
            "Another method: the paper's began with ImageNet's weights, which could not be had "
            "here."
        )
    elif not _as_in_the_paper(found.configuration, method):
        apart, why = True, "This run's configuration is not the paper's."
    else:
        apart = False
        why = (
            "The same protocol on pictures of the same two sets, not the same 300. One held-out "
            "set of 90 in the paper."
        )
        if method == SCATTERING.name:
            why += " MATLAB's wavelets and the paper's pooling of coefficients are not published."
    rows = [
        Comparison(
            f"{method}: accuracy",
            f"{right} of {count}: {worded(theirs['accuracy'], exact.low, exact.high)}",
            reported.where,
            told(measure_of(measures, method, HELD_OUT, "accuracy")),
            not apart,
            why,
        )
    ]
    for name in ("macro precision", "macro recall", "macro F1"):
        ours = measure_of(measures, method, HELD_OUT, name)
        rows.append(
            Comparison(
                f"{method}: {name}",
                worded(theirs[name]),
                f"from {reported.where}",
                told(ours),
                not apart,
                "As above.",
            )
        )
    for name in paper.CLASSES:
        ours = measure_of(measures, method, HELD_OUT, f"recall {name}")
        rows.append(
            Comparison(
                f"{method}: recall of {name}",
                worded(theirs[f"recall {name}"]),
                reported.where,
                told(ours),
                not apart,
                "As above; 30 pictures in the paper.",
            )
        )
    return rows


def _as_in_the_paper(config: LateefConfiguration, method: str) -> bool:
    """Whether a method ran as the paper tells: its pictures, and its own hyperparameters."""
    data = config.data
    if (data.pictures_a_class, data.train_share, data.side_px) != (100, 0.7, 400):
        return False
    if method == SCATTERING.name:
        scattering, svm = config.scattering, config.svm
        return (
            (scattering.invariance_px, scattering.qualities, scattering.rotations)
            == (40.0, (2, 1), (2, 2))
            and (svm.degree, svm.box_constraint, svm.kernel_scale) == (3, 314.0, 1.0)
            and svm.coding == "one_vs_one"
        )
    options = config.cnn if method == CNN.name else config.resnet50
    return (options.epochs, options.batch_size, options.learning_rate) == (100, 10, 1e-4)


def _parameters() -> Comparison:
    counted = parameters_as_keras_counts(BY_NAME[CNN.architecture].builder(len(paper.CLASSES)))
    same = counted == paper.PARAMETERS

    def words(numbers: tuple[int, int, int]) -> str:
        return f"{numbers[0]:,} ({numbers[1]:,} trained, {numbers[2]} not)"

    return Comparison(
        "the CNN's parameters",
        words(paper.PARAMETERS),
        "Table 2",
        words(counted),
        True,
        "The same network." if same else "Not the same network.",
    )


def _curves(found: Findings) -> list[Comparison]:
    rows = []
    for method, loss, accuracy, where in (
        (CNN, "about 9", "about 0.6", "Figure 3 and its text"),
        (RESNET50, "high", "moderate", "Figure 5 and its text"),
    ):
        runs = [run.arrays for run in found.networks if run.method == method]
        if not runs:
            continue
        first = np.mean([[r["loss"][0], r["accuracy"][0]] for r in runs], axis=0)
        last = np.mean([[r["loss"][-1], r["accuracy"][-1]] for r in runs], axis=0)
        epochs = len(runs[0]["loss"])
        rows.append(
            Comparison(
                f"{method.name}: training",
                f"begins at loss {loss}, accuracy {accuracy}; near 0 and near 1 after 100 epochs",
                where,
                f"first epoch: loss {first[0]:.2f}, accuracy {first[1]:.2f}; epoch {epochs}: loss "
                f"{last[0]:.4f}, accuracy {last[1]:.3f}",
                method == CNN,
                "Loss of a batch in the paper, mean of an epoch here."
                if method == CNN
                else f"Begun {_from(found.starts[method.key])} here.",
            )
        )
    return rows


def _from(start: Begun) -> str:
    return "from ImageNet's weights" if start.start == "imagenet" else "from scratch"


def _not_comparable(found: Findings) -> list[str]:
    config = found.configuration
    out = [
        "The paper's list of pictures is not published. Its seed is fixed and not told; here every "
        "seed draws its own pictures.",
        "MATLAB's `waveletScattering2` has wavelets of its own. Here they are Morlet wavelets as "
        "Kymatio takes them, with the mother frequency of Sifre and Mallat (2013) where there is "
        "more than one an octave. Which coefficients the paper gave to the SVM is not told; here "
        "it is the mean of each over the picture, of each colour channel.",
        "MATLAB's SVM is fitted here with scikit-learn: the same kernel, coding and decoding, "
        "another solver.",
        "Nobody knows which patients the pictures come from: both sets are published without. "
        "Pictures of one patient may lie on both sides of every split, in the paper and here.",
    ]
    start = found.starts.get(RESNET50.key)
    if start is not None and start.start != "imagenet":
        out.append(
            f"ResNet-50 was trained {_from(start)} for {config.resnet50.scratch_epochs} epochs: "
            "its ImageNet weights could not be had. What transfer brings is shown by "
            "EfficientNet-Lite0, whose weights a package index holds."
        )
    if config.cnn.runs < len(config.seeds):
        out.append(
            f"The CNN was trained with {config.cnn.runs} of {len(config.seeds)} seeds, "
            f"EfficientNet-Lite0 with {config.transfer.runs}, ResNet-50 with "
            f"{config.resnet50.runs}: each takes minutes to half an hour on one core."
        )
    return out


def _summary(found: Findings, measures: Sequence[Measure]) -> str:
    first = measure_of(measures, SCATTERING.name, HELD_OUT, "accuracy")
    hidden = measure_of(measures, SCATTERING.name, f"{HELD_OUT}, cell hidden", "accuracy")
    text = (
        f"Wavelet scattering and a cubic SVM call {first} of the held-out cells rightly"
        + (" (the paper: 0.989). " if found.data.classes == paper.CLASSES else ". ")
        + f"With the cell hidden under a disc, the corners and edges alone still give {hidden}."
    )
    theirs = measure_of(measures, SCATTERING.name, SAME_CELL[0], f"called {OF_ONE_SCANNER}")
    ours = measure_of(measures, SCATTERING.name, SAME_CELL[1], f"called {OF_ONE_SCANNER}")
    if theirs is not None and ours is not None:
        text += (
            f" Neutrophils, a kind of cell that neither class list nor training holds, are called "
            f"{OF_ONE_SCANNER} in {theirs} where the myeloblasts' scanner took them and in {ours} "
            "where the other did: the class and the scanner are one, and accuracy on such a set "
            "is no accuracy on cells."
        )
    return text


def _data_table(found: Findings) -> Table:
    rows = []
    for name in found.data.classes:
        pictures = found.data.pictures[name]
        rows.append((name, str(len(pictures)), _sources(pictures), "trained on and held out"))
    for other in found.data.others:
        rows.append((other.name, str(len(other.pictures)), _sources(other.pictures), other.says))
    split = next(iter(found.splits.values()))
    pairs = [straddling(found.doubles, s) for s in found.splits.values()]
    return Table(
        ("pictures", "number", "source", "what for"),
        rows,
        (1,),
        f"Each seed trains on {len(split.train)} and holds out {len(split.test)}. Pairs of the "
        f"classes' pictures that show one thing: {len(found.doubles)}; held-out pictures that show "
        f"what a training picture shows: {', '.join(map(str, pairs))} (by seed).",
    )


def _sources(pictures: Sequence[CellPicture]) -> str:
    return ", ".join(sorted({picture.source for picture in pictures}))


def _tables(found: Findings, answers: Sequence[Answers]) -> dict[str, Json]:
    classes = found.data.classes
    machines = {}
    for method, way in svm_runs():
        key = f"{method.key}|{part_of_way(way)}"
        machines[f"{method.name}, {way}"] = {
            str(seed): {
                "support_vectors": int(stored[f"{key}|machine"][0]),
                "at_the_box_constraint": int(stored[f"{key}|machine"][1]),
            }
            for seed, stored in found.svms.items()
        }
    return {
        "confusion": {
            f"{one.name}, {one.way}": confusion(one, found.splits, len(classes)).tolist()
            for one in answers
        },
        "called": {
            f"{one.name}, {one.way}": {
                other.name: dict(
                    Counter(
                        classes[int(i)]
                        for scores in one.others.values()
                        for i in others_of(found.data, scores)[place][1].argmax(axis=1)
                    )
                )
                for place, other in enumerate(found.data.others)
            }
            for one in answers
            if one.others
        },
        "training": {
            f"{run.method.name}, seed {run.seed}": {
                name: run.arrays[name].tolist() for name in ("loss", "accuracy", "held_out")
            }
            for run in found.networks
        },
        "machines": machines,
        "disagreements_in_the_paper": [list(row) for row in paper.DISAGREEMENTS],
    }
