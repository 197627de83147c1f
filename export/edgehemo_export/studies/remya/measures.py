"""The paper's measures of a binary classifier, with the intervals that it lacks.

Anaemia-like is the positive class: recall is the sensitivity for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, rankdata
from sklearn.metrics import roc_curve

from edgehemo_export.data.smears import ANAEMIA
from edgehemo_export.evaluation.statistics import (
    EvaluationFigure,
    bootstrap_by_group,
    clopper_pearson,
)

# In the order of the paper, section II.H.
MEASURES = (
    "accuracy",
    "precision",
    "recall",
    "F1",
    "balanced accuracy",
    "specificity",
    "MCC",
    "Cohen's kappa",
    "ROC-AUC",
)
# Fewer groups than these cannot be drawn from: with two or three nearly every draw is the same.
LEAST_GROUPS = 8
THRESHOLD = 0.5


def confusion(truth: NDArray[np.intp], scores: NDArray[np.float64]) -> NDArray[np.int_]:
    """Counts (2, 2), truth in rows, answers in columns; anaemia-like from THRESHOLD on."""
    counts = np.zeros((2, 2), np.int_)
    np.add.at(counts, (truth, (scores >= THRESHOLD).astype(np.intp)), 1)
    return counts


def measured(truth: NDArray[np.intp], scores: NDArray[np.float64]) -> dict[str, float]:
    """`MEASURES` of answers (n,) with scores for anaemia-like (n,); NaN where one is undefined
    (no picture of a class, nothing called anaemia-like).
    """
    counts = confusion(truth, scores)
    (tn, fp), (fn, tp) = counts.astype(float).tolist()
    n = tn + fp + fn + tp
    precision, recall = _ratio(tp, tp + fp), _ratio(tp, tp + fn)
    specificity = _ratio(tn, tn + fp)
    accuracy = _ratio(tp + tn, n)
    by_chance = ((tp + fp) * (tp + fn) + (tn + fn) * (tn + fp)) / (n * n) if n else math.nan
    spread = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return {
        "accuracy": accuracy,
        "precision": precision,
        "recall": recall,
        "F1": _ratio(2 * tp, 2 * tp + fp + fn),
        "balanced accuracy": (recall + specificity) / 2,
        "specificity": specificity,
        "MCC": _ratio(tp * tn - fp * fn, spread),
        "Cohen's kappa": _ratio(accuracy - by_chance, 1 - by_chance),
        "ROC-AUC": auc(truth, scores),
    }


def auc(truth: NDArray[np.intp], scores: NDArray[np.float64]) -> float:
    """Area under the receiver operating characteristic, as the rank sum of Mann and Whitney 1947;
    NaN where a class lacks.
    """
    positive = int(truth.sum())
    pairs = positive * (len(truth) - positive)
    ranks = rankdata(scores)[truth == ANAEMIA].sum()
    return _ratio(float(ranks) - positive * (positive + 1) / 2, pairs)


def report(truth: NDArray[np.intp], scores: NDArray[np.float64]) -> list[dict[str, float]]:
    """By class, control-like first: precision, recall, F1, support."""
    rows = []
    for label in (1 - ANAEMIA, ANAEMIA):
        turned = truth if label == ANAEMIA else 1 - truth
        # The complement of a score at the threshold itself must still say anaemia-like.
        called = (scores >= THRESHOLD) == (label == ANAEMIA)
        own = measured(turned, called.astype(np.float64))
        rows.append(
            {
                "precision": own["precision"],
                "recall": own["recall"],
                "F1": own["F1"],
                "support": float((truth == label).sum()),
            }
        )
    return rows


def with_intervals(
    truth: NDArray[np.intp],
    scores: NDArray[np.float64],
    groups: Sequence[str],
    rounds: int,
) -> Mapping[str, EvaluationFigure]:
    """`MEASURES` with percentile intervals of a bootstrap of whole groups.

    Of fewer than LEAST_GROUPS groups, and where every draw gives the same (nothing is wrong),
    shares of pictures have exact intervals that take pictures as independent (too narrow, as the
    method says), the others none.
    """
    exact = _exact_shares(truth, scores)
    if len(set(groups)) < LEAST_GROUPS:
        few = f"none: {len(set(groups))} groups"
        return {
            name: exact.get(name, EvaluationFigure(value, None, None, few))
            for name, value in measured(truth, scores).items()
        }
    drawn = bootstrap_by_group(
        groups, lambda chosen: measured(truth[chosen], scores[chosen]), rounds=rounds
    )
    same = "none: every draw gives the same"
    return {
        name: figure
        if figure.low is None or figure.low != figure.high
        else exact.get(name, EvaluationFigure(figure.value, None, None, same))
        for name, figure in drawn.items()
    }


def _exact_shares(
    truth: NDArray[np.intp], scores: NDArray[np.float64]
) -> dict[str, EvaluationFigure]:
    """The measures that are shares of pictures, where there are pictures to share."""
    (tn, fp), (fn, tp) = confusion(truth, scores).tolist()
    shares = {
        "accuracy": (tp + tn, len(truth)),
        "precision": (tp, tp + fp),
        "recall": (tp, tp + fn),
        "specificity": (tn, tn + fp),
    }
    return {
        name: replace(clopper_pearson(right, of), method="Clopper-Pearson, pictures as independent")
        for name, (right, of) in shares.items()
        if of
    }


def exact_share(truth: NDArray[np.intp], scores: NDArray[np.float64]) -> EvaluationFigure:
    """Accuracy with its exact binomial interval, as the paper gives it for 32 of 32."""
    counts = confusion(truth, scores)
    return clopper_pearson(int(np.trace(counts)), int(counts.sum()))


def roc_points(
    truth: NDArray[np.intp], scores: NDArray[np.float64]
) -> tuple[list[float], list[float]]:
    """False and true positive rates, ascending; the diagonal's ends where a class lacks."""
    if not 0 < truth.sum() < len(truth):
        return [0.0, 1.0], [0.0, 1.0]
    false_rate, true_rate, _ = roc_curve(truth, scores)
    return [float(x) for x in false_rate], [float(y) for y in true_rate]


def mcnemar(
    truth: NDArray[np.intp], one: NDArray[np.float64], other: NDArray[np.float64]
) -> tuple[int, int, float]:
    """Two classifiers on the same pictures (McNemar 1947): how many only one, only the other has
    right, and the exact p of a difference as large (binomial, two-sided; 1 where they agree).
    """
    right_one = (one >= THRESHOLD) == (truth == ANAEMIA)
    right_other = (other >= THRESHOLD) == (truth == ANAEMIA)
    only_one = int((right_one & ~right_other).sum())
    only_other = int((~right_one & right_other).sum())
    apart = only_one + only_other
    p = 1.0 if apart == 0 else float(binomtest(only_one, apart, 0.5).pvalue)
    return only_one, only_other, p


def _ratio(over: float, under: float) -> float:
    return over / under if under else math.nan
