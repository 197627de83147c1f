"""Where a network looks, and which pictures it calls wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgehemo_export.studies.remya import drawing
from edgehemo_export.studies.remya.cohorts import CLASSES
from edgehemo_export.studies.remya.measures import THRESHOLD
from edgehemo_export.studies.remya.page.words import arrays_of, own_arrays, short_name
from edgehemo_export.studies.remya.results import Answers, Found
from edgehemo_export.studies.remya.trial import pictures_of
from edgehemo_export.studies.study import Block, Section, StudyFigure

EXPLAINED_PER_CLASS = 3
SHOWN_ERRORS = 18
# More of the heat on cells than they cover, by so much, counts as aimed at them.
AIMED_SHARE = 0.05


def look_sections(found: Found) -> list[Section]:
    """Grad-CAM and features of the arms that are explained."""
    blocks: list[Block] = []
    for runs in found.runs.values():
        run = runs[0]
        if "looks" not in run.answer:
            continue
        looks = run.answer["looks"]
        pictures = pictures_of(run.asked.config, found.material)
        name = found.cohorts[run.asked.config.cohort].name
        own = own_arrays(found, run)
        test = run.answer["split"]["test"]
        labels = np.array([picture.label for picture in pictures], np.intp)
        if looks["maps"] is not None:
            chosen = _some_of_each(labels[test], EXPLAINED_PER_CLASS)
            scores = np.array(run.answer["test"])
            blocks.append(
                StudyFigure(
                    f"grad-cam-{run.asked.config.cohort}",
                    drawing.heat_figure(
                        own[[test[k] for k in chosen]],
                        [np.asarray(looks["maps"][k], np.float32) for k in chosen],
                        [f"{short_name(labels[test[k]])}, score {scores[k]:.2f}" for k in chosen],
                    ),
                    f"Grad-CAM of held-out pictures of {name}: what speaks for anaemia-like. "
                    + _heat_text(looks["on_cells"]),
                )
            )
        blocks.append(
            StudyFigure(
                f"features-{run.asked.config.cohort}",
                drawing.plane_figure(
                    np.asarray(looks["plane"]),
                    labels,
                    {
                        part: np.array(places, np.intp)
                        for part, places in run.answer["split"].items()
                    },
                ),
                f"Features of {name} in the plane of their main components over the training part.",
            )
        )
    return [Section("Where the network looks", blocks)] if blocks else []


def _heat_text(shares: Sequence[Sequence[float]]) -> str:
    on_cells, cover = np.mean(np.asarray(shares, np.float64), axis=0)
    return (
        f"Over all held-out pictures {on_cells:.0%} of the heat lies on cells, which cover "
        f"{cover:.0%} of the picture (darker than Otsu's limit in green): "
        + (
            "no more than a map without any aim would have."
            if on_cells <= cover + AIMED_SHARE
            else "more than a map without any aim would have."
        )
    )


def _some_of_each(labels: NDArray[np.intp], count: int) -> list[int]:
    out: list[int] = []
    for label in range(len(CLASSES)):
        own = np.flatnonzero(labels == label)
        out += [int(place) for place in own[:count]]
    return out


def _by_source(answers: Answers, wrong: NDArray[np.intp]) -> str:
    """Wrong answers of all answers to each source that has any."""
    every = Counter(picture.source for picture in answers.pictures)
    own = Counter(answers.pictures[place].source for place in wrong)
    return ", ".join(f"{source} {count} of {every[source]}" for source, count in own.most_common())


def error_sections(found: Found) -> list[Section]:
    """Held-out pictures that were called wrong, of the cross-validation where there is one."""
    blocks: list[Block] = []
    for role in ("main", "unconfounded", "second"):
        arm = next(iter(found.arms("folds", role)), None) or found.first(role)
        if arm is None:
            continue
        runs = found.runs[arm]
        answers = found.held_out(arm, balanced=False)
        wrong = np.flatnonzero((answers.scores >= THRESHOLD) != (answers.truth == 1))
        name = found.cohorts[role].name
        if not len(wrong):
            blocks.append(f"{name}: no held-out picture of `{arm}` was called wrong.")
            continue
        surest = wrong[np.argsort(-np.abs(answers.scores[wrong] - THRESHOLD), kind="stable")]
        shown = answers.at(surest[:SHOWN_ERRORS])
        blocks.append(
            StudyFigure(
                f"wrong-{role}",
                drawing.answered_figure(
                    arrays_of(found, shown, runs[0]), shown, f"Called wrong: {name}"
                ),
                f"{len(wrong)} of {len(answers.truth)} held-out answers of `{arm}` are wrong; the "
                f"surest of them first. By source: {_by_source(answers, wrong)}.",
            )
        )
    return [Section("Pictures called wrong", blocks)] if blocks else []
