"""When a cell is named and when it is `uncertain`: split conformal prediction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import ConformalRule, FamiliarityRule
from edgehemo.cells.typing import ALARMING_TYPES


def conformal_rule(
    probabilities: NDArray[np.float32],
    labels: NDArray[np.intp],
    classes: Sequence[str],
    coverage: float,
) -> ConformalRule:
    """Thresholds by split conformal prediction, class by class (Vovk et al. 2005, Mondrian).

    A class's threshold is the k-th smallest probability its own calibration cells gave it,
    k = floor((1 - coverage) (n + 1)): at least ``coverage`` of exchangeable cells of that class
    then reach it. A class of too few cells (k = 0) takes the threshold of all cells together.
    """
    alpha = 1.0 - coverage
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    pooled = _kth(true, alpha)
    thresholds: dict[str, float] = {}
    for index, name in enumerate(classes):
        own = _kth(true[labels == index], alpha)
        chosen = pooled if own is None else own
        thresholds[name] = 0.0 if chosen is None else float(np.clip(chosen, 0.0, 1.0))
    return ConformalRule(coverage=coverage, thresholds=thresholds, cells=len(labels))


def marginal_rule(
    probabilities: NDArray[np.float32],
    labels: NDArray[np.intp],
    classes: Sequence[str],
    coverage: float,
) -> ConformalRule:
    """One threshold for all classes by split conformal prediction (Vovk et al. 2005).

    The k-th smallest probability that a calibration cell gave its true class, k as in
    `conformal_rule`: at least ``coverage`` of exchangeable cells, over all classes, then reach it.
    """
    true = _kth(probabilities[np.arange(len(labels)), labels].astype(np.float64), 1.0 - coverage)
    threshold = 0.0 if true is None else float(np.clip(true, 0.0, 1.0))
    return ConformalRule(
        coverage=coverage, thresholds=dict.fromkeys(classes, threshold), cells=len(labels)
    )


def _kth(values: NDArray[np.float64], alpha: float) -> float | None:
    k = int(np.floor(alpha * (len(values) + 1) + 1e-9))
    return float(np.sort(values)[k - 1]) if k >= 1 else None


def prediction_sets(
    probabilities: NDArray[np.float32], classes: Sequence[str], rule: ConformalRule
) -> NDArray[np.bool_]:
    """Which classes belong to each cell's prediction set, bool (n, classes)."""
    limits = np.array([rule.thresholds[name] for name in classes], np.float64)
    return np.asarray(probabilities >= limits - 1e-7, np.bool_)


def named(
    probabilities: NDArray[np.float32],
    classes: Sequence[str],
    rule: ConformalRule,
    familiarity: NDArray[np.float32] | None = None,
    familiar: FamiliarityRule | None = None,
) -> NDArray[np.intp]:
    """The class each cell is named, intp (n,); ``len(classes)`` for `uncertain`.

    familiarity: float32 (n,). familiar: from which of it a cell is named, as on the device; without
    either all may be.
    """
    inside = prediction_sets(probabilities, classes, rule)
    one = inside.sum(axis=1) == 1
    chosen = inside.argmax(axis=1)
    if familiarity is not None and familiar is not None:
        alarms = np.isin(classes, ALARMING_TYPES)[chosen]
        one &= familiarity >= np.where(alarms, familiar.strange_cell_from, familiar.cell_from)
    return np.where(one, chosen, len(classes)).astype(np.intp)
