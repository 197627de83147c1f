"""What the steps found, and the figures that are taken from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo_export.evaluation.statistics import (
    BOOTSTRAP_ROUNDS,
    CONFIDENCE,
    EvaluationFigure,
)
from edgehemo_export.studies.lateef.configuration import LateefConfiguration
from edgehemo_export.studies.lateef.data import OtherSet, Split, StudyData, Way
from edgehemo_export.studies.lateef.methods import NetworkMethod
from edgehemo_export.studies.lateef.networks import Begun
from edgehemo_export.studies.lateef.steps import part_of_way, svm_runs

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class NetworkRun:
    """A network trained with a seed, and what it answered (see `steps.network_of_seed`)."""

    method: NetworkMethod
    seed: int
    arrays: Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Findings:
    """All that was stored. splits, svms: by seed."""

    configuration: LateefConfiguration
    root: Path
    data: StudyData
    splits: Mapping[int, Split]
    features: Mapping[Way, Mapping[str, NDArray[Any]]]
    svms: Mapping[int, Mapping[str, NDArray[Any]]]
    networks: Sequence[NetworkRun]
    starts: Mapping[str, Begun]
    doubles: Sequence[Sequence[int]]

    def answers(self) -> list[Answers]:
        """Every method in every way it was measured, in the order of the page."""
        found = []
        for method, way in svm_runs():
            key = f"{method.key}|{part_of_way(way)}"
            found.append(
                Answers(
                    method.name,
                    way,
                    {seed: stored[f"{key}|test"] for seed, stored in self.svms.items()},
                    {
                        seed: stored[f"{key}|others"]
                        for seed, stored in self.svms.items()
                        if f"{key}|others" in stored
                    },
                )
            )
        for network in _methods_of(self.networks):
            runs = [run for run in self.networks if run.method == network]
            others = {run.seed: run.arrays["others"] for run in runs if "others" in run.arrays}
            seen = {run.seed: run.arrays["test"] for run in runs}
            hidden = {run.seed: run.arrays["hidden"] for run in runs}
            found.append(Answers(network.name, "as they are", seen, others))
            found.append(Answers(network.name, "cell hidden", hidden, {}, trained_on="as they are"))
        return found + self._ensembles(found)

    def _ensembles(self, found: Sequence[Answers]) -> list[Answers]:
        """The mean of the scores of the first SVM and of networks, over the seeds all have."""
        plain = [a for a in found if a.way == "as they are"]
        first = plain[0]
        names = {method.name for method in _methods_of(self.networks)}
        networks = [a for a in plain if a.name in names]
        teams = [[first, one] for one in networks]
        if len(networks) > 1:
            teams.append([first, *networks])
        return [_mean_of(team) for team in teams]


@dataclass(frozen=True)
class Answers:
    """Scores of one method in one way of showing pictures. test, others: by seed, float64
    (n, classes). trained_on: another way, where it was not trained in this one.
    """

    name: str
    way: Way
    test: Mapping[int, Scores]
    others: Mapping[int, Scores]
    trained_on: Way | None = None

    @property
    def seeds(self) -> list[int]:
        return list(self.test)


def _methods_of(runs: Sequence[NetworkRun]) -> list[NetworkMethod]:
    return sorted(
        {run.method for run in runs}, key=lambda m: ["cnn", "resnet50", "transfer"].index(m.key)
    )


def _mean_of(team: Sequence[Answers]) -> Answers:
    seeds = [seed for seed in team[0].test if all(seed in one.test for one in team)]
    others = [seed for seed in seeds if all(seed in one.others for one in team)]
    name = "ensemble: " + ", ".join(one.name for one in team)
    return Answers(
        name,
        "as they are",
        {seed: np.mean([one.test[seed] for one in team], axis=0) for seed in seeds},
        {seed: np.mean([one.others[seed] for one in team], axis=0) for seed in others},
    )


def confusion(answers: Answers, splits: Mapping[int, Split], classes: int) -> NDArray[np.int_]:
    """Truth in rows, answers in columns, all seeds together, int (classes, classes)."""
    out = np.zeros((classes, classes), np.int_)
    for seed, scores in answers.test.items():
        np.add.at(out, (splits[seed].test_labels, scores.argmax(axis=1)), 1)
    return out


def figures_of(counts: NDArray[Any], classes: Sequence[str]) -> dict[str, float]:
    """Accuracy, and precision, recall and F1 of each class and their plain means ("macro").

    counts: truth in rows. A class that is never called has a precision of 0, as F1 then has.
    """
    right = np.diag(counts).astype(np.float64)
    called, there = counts.sum(axis=0), counts.sum(axis=1)
    precision = right / np.maximum(called, 1)
    recall = right / np.maximum(there, 1)
    f1 = 2 * right / np.maximum(called + there, 1)
    out = {"accuracy": float(right.sum() / max(1, counts.sum()))}
    for name, values in (("precision", precision), ("recall", recall), ("F1", f1)):
        out |= {f"{name} {c}": float(v) for c, v in zip(classes, values, strict=True)}
        out[f"macro {name}"] = float(values.mean())
    return out


def with_intervals(
    answers: Answers,
    splits: Mapping[int, Split],
    classes: Sequence[str],
) -> dict[str, tuple[dict[int, float], EvaluationFigure]]:
    """Each figure of each seed, and the interval of all seeds together.

    Several seeds hold out some of the same pictures: a round of the bootstrap draws pictures, and
    with each its answers of every seed.
    """
    number = len(classes)

    def measure(counts: NDArray[Any]) -> dict[str, float]:
        return figures_of(counts.reshape(number, number), classes)

    truth = np.concatenate([splits[seed].test_labels for seed in answers.test])
    called = np.concatenate([scores.argmax(axis=1) for scores in answers.test.values()])
    pictures = np.concatenate([splits[seed].test for seed in answers.test])
    cells = np.eye(number * number)[truth * number + called]
    whole = measure(cells.sum(axis=0))
    rounds = [measure(drawn) for drawn in drawn_sums(pictures, cells)]
    each = {
        seed: measure(confusion(Answers("", answers.way, {seed: s}, {}), splits, number))
        for seed, s in answers.test.items()
    }
    return {
        name: (
            {seed: values[name] for seed, values in each.items()},
            bounded(value, [found[name] for found in rounds], pictures),
        )
        for name, value in whole.items()
    }


def share_with_interval(right: NDArray[np.bool_], pictures: NDArray[np.intp]) -> EvaluationFigure:
    """A share of answers, its interval by bootstrap of the pictures that they are about."""
    both = np.stack([right, np.ones(len(right))], axis=1).astype(np.float64)
    drawn = drawn_sums(pictures, both)
    return bounded(float(right.mean()), list(drawn[:, 0] / drawn[:, 1]), pictures)


def drawn_sums(pictures: NDArray[np.intp], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of values (n, k) over pictures drawn with repetition, each with all that is about it:
    float64 (rounds, k). As `bootstrap_by_group` draws, for figures that follow from sums.
    """
    _, owner = np.unique(pictures, return_inverse=True)
    groups = int(owner.max()) + 1
    sums = np.zeros((groups, values.shape[1]))
    np.add.at(sums, owner, values)
    rng = np.random.default_rng(0)
    times = rng.multinomial(groups, np.full(groups, 1 / groups), size=BOOTSTRAP_ROUNDS)
    return np.asarray(times @ sums, np.float64)


def bounded(value: float, drawn: Sequence[float], pictures: NDArray[np.intp]) -> EvaluationFigure:
    """A figure with the percentiles of its rounds; without, where there is one picture alone."""
    count = len(np.unique(pictures))
    method = f"bootstrap of {count} pictures"
    if count < 2:
        return EvaluationFigure(value, None, None, method)
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(v) for v in np.quantile(np.asarray(drawn), [tail, 1 - tail]))
    return EvaluationFigure(value, low, high, method)


def others_of(data: StudyData, scores: Scores) -> list[tuple[OtherSet, Scores]]:
    """The scores of each further set, out of those of all of them."""
    out, start = [], 0
    for other in data.others:
        out.append((other, scores[start : start + len(other.pictures)]))
        start += len(other.pictures)
    return out
