"""How well estimates agree with the analyser: correlation, errors, limits, error by concentration.

Everything is counted by patient: fields of one patient are no independent samples.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgehemo.measurands import Measurand
from edgehemo_export.evaluation.statistics import EvaluationFigure, bootstrap_by_group

Array = NDArray[np.float64]

PCC, R2, MAE, BIAS = "PCC", "R2", "MAE", "bias"
FIGURES = (PCC, R2, MAE, BIAS)
# Bands of concentration, upper ends. HGB: severe anaemia, moderate, mild or none in women, none
# (WHO 2024, non-pregnant adults, rounded to one table); HCT and RBC at about the same blood.
BANDS: Mapping[Measurand, tuple[float, ...]] = {
    "hgb_g_per_l": (80.0, 110.0, 130.0),
    "hct_l_per_l": (0.25, 0.33, 0.39),
    "rbc_1e12_per_l": (3.0, 4.0, 5.0),
}


@dataclass(frozen=True)
class Answers:
    """Estimates of one measurand. groups: patient of each item. truth: (n,). by_seed: seed ->
    estimates (n,).
    """

    groups: Sequence[str]
    truth: Array
    by_seed: Mapping[int, Array]

    def of(self, chosen: NDArray[np.bool_]) -> Answers:
        """Some of the items."""
        return Answers(
            [group for group, kept in zip(self.groups, chosen, strict=True) if kept],
            self.truth[chosen],
            {seed: values[chosen] for seed, values in self.by_seed.items()},
        )

    def by_patient(self) -> Answers:
        """The mean of each patient's items."""
        names, owner = np.unique(np.asarray(self.groups), return_inverse=True)
        counts = np.bincount(owner, minlength=len(names))

        def mean(values: Array) -> Array:
            return np.asarray(np.bincount(owner, values, minlength=len(names)) / counts)

        return Answers(
            [str(name) for name in names],
            mean(self.truth),
            {seed: mean(values) for seed, values in self.by_seed.items()},
        )

    @property
    def mean(self) -> Array:
        """The mean over the seeds, (n,)."""
        return np.asarray(np.mean(list(self.by_seed.values()), axis=0))


def figures(estimated: Array, truth: Array) -> dict[str, float]:
    """PCC: Pearson's correlation. R2: 1 less the squared error over that of the mean. MAE, bias: of
    estimate less truth. What cannot be told is left out.
    """
    error = estimated - truth
    out = {MAE: float(np.abs(error).mean()), BIAS: float(error.mean())}
    total = float(((truth - truth.mean()) ** 2).sum())
    if len(truth) > 2 and total > 0:
        out[R2] = 1.0 - float((error**2).sum()) / total
        if np.ptp(estimated) > 1e-9 * max(1e-9, float(np.abs(truth).max())):
            out[PCC] = float(np.corrcoef(estimated, truth)[0, 1])
    return out


def mean_figures(answers: Answers) -> dict[str, float]:
    """The figures of each seed, their mean."""
    each = [figures(values, answers.truth) for values in answers.by_seed.values()]
    return {name: float(np.mean([f[name] for f in each])) for name in each[0] if _all(each, name)}


def _all(each: Sequence[Mapping[str, float]], name: str) -> bool:
    return all(name in item for item in each)


def with_intervals(answers: Answers, rounds: int, seed: int = 0) -> dict[str, EvaluationFigure]:
    """The mean over seeds of each figure with its interval: the bootstrap draws patients, and the
    same ones for all seeds.
    """

    def of(chosen: NDArray[np.intp]) -> dict[str, float]:
        return mean_figures(
            Answers(
                [answers.groups[i] for i in chosen],
                answers.truth[chosen],
                {number: values[chosen] for number, values in answers.by_seed.items()},
            )
        )

    return bootstrap_by_group(list(answers.groups), of, rounds=rounds, seed=seed)


@dataclass(frozen=True)
class Band:
    """Patients of one band of concentration: from low (included) to high, None without an end."""

    low: float | None
    high: float | None
    patients: int
    figures: Mapping[str, EvaluationFigure]


def by_concentration(answers: Answers, measurand: Measurand, rounds: int) -> list[Band]:
    """Error and bias in each band of the analyser's value; bands without patients are left out."""
    ends = (-np.inf, *BANDS[measurand], np.inf)
    found = []
    for low, high in itertools.pairwise(ends):
        chosen = (answers.truth >= low) & (answers.truth < high)
        if not chosen.any():
            continue
        part = answers.of(chosen)
        made = with_intervals(part, rounds)
        found.append(
            Band(
                None if np.isinf(low) else float(low),
                None if np.isinf(high) else float(high),
                len(set(part.groups)),
                {name: made[name] for name in (MAE, BIAS) if name in made},
            )
        )
    return found


def shrinkage(answers: Answers, rounds: int) -> EvaluationFigure:
    """Slope of the error on the analyser's value: 0 for an even error, -1 for an answer that is the
    same for everybody.
    """

    def of(chosen: NDArray[np.intp]) -> dict[str, float]:
        truth = answers.truth[chosen]
        spread = float(((truth - truth.mean()) ** 2).sum())
        if spread <= 0:
            return {}
        slopes = [
            float(((truth - truth.mean()) * (values[chosen] - truth)).sum()) / spread
            for values in answers.by_seed.values()
        ]
        return {"slope": float(np.mean(slopes))}

    return bootstrap_by_group(list(answers.groups), of, rounds=rounds)["slope"]
