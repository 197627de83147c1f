"""Does the density of a field matter? The paper's claim as a test that can fail.

Within one patient the analyser's value is one; so fields of one patient at thin and thick places of
the smear should be answered alike. What is measured is the elasticity: by what share of the
patient's value the answer changes when a field holds e times as many cells, read within patients.
0 is the claim, 1 is an answer that only counts what lies in the field.

H0, elasticity 0, is tested by permutation: densities exchanged among the fields of each patient.
"Does not matter" is no failure to reject H0, but equivalence: from the thinnest to the thickest
tenth of the fields the answer changes by less than an analyser may err (two one-sided tests at 5 %:
the 90 % interval of the bootstrap over patients lies within the margin; Schuirmann 1987). An
answer that is the same for everybody passes any such test: nothing is said of answers that tell too
little of the patients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgehemo.measurands import Measurand
from edgehemo_export.evaluation.statistics import (
    EvaluationFigure,
    bootstrap_by_group,
)
from edgehemo_export.studies.yang.agreement import BIAS, MAE, Answers, with_intervals

Array = NDArray[np.float64]

# Shares of a value that an analyser may err by: CLIA 2025 for HGB, HCT and RBC alike.
MARGIN = 0.04
LEVEL = 0.05
EQUIVALENCE_CONFIDENCE = 1 - 2 * LEVEL
TENTHS = (0.1, 0.9)
# A field of less cover than this has no density to speak of.
MIN_COVER = 0.01

# Answers by patient that explain less than this of the variance tell too little.
LEAST_R2 = 0.5

Verdict = Literal["matters", "does not matter", "undecided", "answers tell too little"]


@dataclass(frozen=True)
class Densities:
    """Of fields: relative density x, the logarithm of cover over its mean within the patient, and
    the patient (n,), of patients with at least two fields. kept: which of the given fields.
    """

    x: Array
    groups: NDArray[np.intp]
    kept: NDArray[np.bool_]


@dataclass(frozen=True)
class DensityTest:
    """elasticity: with its 95 % interval. p: of H0. p_adjusted: by Holm over the measurands.
    change: of the answer between the tenths, as a share of the value, with the interval of the
    equivalence test. tenths: relative densities at them. thirds: error of the thinnest, middle and
    thickest third.
    """

    elasticity: EvaluationFigure
    p: float
    p_adjusted: float
    change: EvaluationFigure
    tenths: tuple[float, float]
    verdict: Verdict
    fields: int
    patients: int
    thirds: tuple[Mapping[str, EvaluationFigure], ...]


def densities(covers: Array, groups: Sequence[str]) -> Densities:
    """Relative densities of fields from the share that cells cover (n,)."""
    _, owner = np.unique(np.asarray(groups), return_inverse=True)
    enough = covers >= MIN_COVER
    counts = np.bincount(owner, enough.astype(np.float64))
    kept = enough & (counts[owner] >= 2)
    x = np.log(covers[kept])
    _, own = np.unique(owner[kept], return_inverse=True)
    return Densities(_within(x, own), own.astype(np.intp), kept)


def density_tests(
    found: Densities,
    answers: Mapping[Measurand, Answers],
    *,
    rounds: int,
    permutations: int,
    seed: int,
    r2: Mapping[Measurand, float],
) -> dict[Measurand, DensityTest]:
    """The test for each measurand, their p values adjusted for being several (Holm 1979).

    answers: of all fields that ``found`` was made from. r2: of the answers by patient. Empty where
    no patient has two fields.
    """
    if not len(found.x) or float((found.x**2).sum()) <= 0:
        return {}
    raw = {
        measurand: permutation_p(found, relative(of.of(found.kept), found), permutations, seed)
        for measurand, of in answers.items()
    }
    adjusted = holm(raw)
    return {
        measurand: _tested(
            found,
            of.of(found.kept),
            (raw[measurand], adjusted[measurand]),
            rounds,
            telling=r2.get(measurand, 0.0) >= LEAST_R2,
        )
        for measurand, of in answers.items()
    }


def relative(answers: Answers, found: Densities) -> Array:
    """Answers over the patient's value, less the patient's mean, mean over seeds (n,)."""
    return _within(answers.mean / answers.truth, found.groups)


def slope(x: Array, y: Array) -> float:
    """Least squares through zero: both are deviations within patients."""
    return float((x * y).sum() / (x * x).sum())


def permutation_p(found: Densities, y: Array, permutations: int, seed: int) -> float:
    """Two-sided p of elasticity 0: how often exchanged densities give as steep a slope. The one
    that was seen counts among them (Phipson and Smyth 2010).
    """
    rng = np.random.default_rng([seed, 77])
    seen = abs(float((found.x * y).sum()))
    order = np.argsort(found.groups, kind="stable")
    x, sorted_y, owner = found.x[order], y[order], found.groups[order]
    as_steep = 0
    for _ in range(permutations):
        # Sorting by patient and a random number exchanges within patients alone.
        mixed = x[np.lexsort((rng.random(len(x)), owner))]
        as_steep += abs(float((mixed * sorted_y).sum())) >= seen * (1 - 1e-12)
    return (1 + as_steep) / (1 + permutations)


def holm(p: Mapping[Measurand, float]) -> dict[Measurand, float]:
    """Holm's adjusted p values."""
    out: dict[Measurand, float] = {}
    least = 0.0
    for rank, name in enumerate(sorted(p, key=lambda each: p[each])):
        least = max(least, min(1.0, (len(p) - rank) * p[name]))
        out[name] = least
    return out


def verdict_of(
    p_adjusted: float, change: EvaluationFigure, *, telling: bool, margin: float = MARGIN
) -> Verdict:
    """What is shown; `matters` wants both: a slope that chance does not give, and a change beyond
    the margin. telling: whether the answers tell the patients apart at all.
    """
    if not telling:
        return "answers tell too little"
    if change.low is not None and change.high is not None:
        if -margin < change.low and change.high < margin:
            return "does not matter"
        if p_adjusted < LEVEL and abs(change.value) > margin:
            return "matters"
    return "undecided"


def _tested(
    found: Densities, answers: Answers, p: tuple[float, float], rounds: int, *, telling: bool
) -> DensityTest:
    y = relative(answers, found)
    names = [str(owner) for owner in found.groups]
    low, high = (float(v) for v in np.quantile(found.x, TENTHS))

    def of(chosen: NDArray[np.intp]) -> dict[str, float]:
        return {"slope": slope(found.x[chosen], y[chosen])}

    elasticity = bootstrap_by_group(names, of, rounds=rounds)["slope"]
    narrow = bootstrap_by_group(names, of, rounds=rounds, confidence=EQUIVALENCE_CONFIDENCE)
    change = _times(narrow["slope"], high - low)
    thirds = np.searchsorted(np.quantile(found.x, (1 / 3, 2 / 3)), found.x)
    return DensityTest(
        elasticity=elasticity,
        p=p[0],
        p_adjusted=p[1],
        change=change,
        tenths=(float(np.exp(low)), float(np.exp(high))),
        verdict=verdict_of(p[1], change, telling=telling),
        fields=len(found.x),
        patients=len(set(names)),
        thirds=tuple(
            {
                name: figure
                for name, figure in with_intervals(answers.of(thirds == third), rounds).items()
                if name in (MAE, BIAS)
            }
            for third in range(3)
            if (thirds == third).any()
        ),
    )


def _times(figure: EvaluationFigure, factor: float) -> EvaluationFigure:
    low = None if figure.low is None else figure.low * factor
    high = None if figure.high is None else figure.high * factor
    return EvaluationFigure(figure.value * factor, low, high, figure.method)


def _within(values: Array, owner: NDArray[np.intp]) -> Array:
    counts = np.bincount(owner)
    return np.asarray(values - (np.bincount(owner, values) / counts)[owner])
