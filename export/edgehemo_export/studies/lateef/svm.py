"""The paper's classifier as MATLAB fits it: standardised, cubic, one class against one.

MATLAB's ``polynomial`` kernel of order 3 and scale s is (1 + x.y / s^2)^3. scikit-learn's ``poly``
kernel is (gamma x.y + coef0)^degree with coef0 = 0 and gamma = 1 / (features * variance) unless
told otherwise: without the 1 there are only terms of third order, and with that gamma the box
constraint means something else. Here gamma = 1 / s^2 and coef0 = 1, so that the kernels are one.

Answers come from ``fitcecoc``'s loss-weighted decoding (Allwein, Schapire and Singer 2000; Escalera
et al. 2010), not from scikit-learn's votes: of each class the mean hinge loss of the machines that
know it, and the least loss wins. So three machines that contradict each other still have an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import SVC

from edgehemo_export.studies.lateef.configuration import Coding, SvmOptions

Features = NDArray[np.float64]
Labels = NDArray[np.intp]
# A feature that never varies stays at zero.
LEAST_SPREAD = 1e-12


@dataclass(frozen=True)
class CubicSvm:
    """Fitted machines. mean, spread: of the training features, float64 (f,). code: float64
    (classes, machines), 1 and -1 for the sides that a class is on, 0 where a machine does not know
    it.
    """

    mean: Features
    spread: Features
    code: Features
    machines: tuple[SVC, ...]

    @property
    def support_vectors(self) -> int:
        """How many pictures the machines stand on, in all."""
        return int(sum(machine.n_support_.sum() for machine in self.machines))

    @property
    def bound_vectors(self) -> int:
        """How many of these are held by the box constraint: 0 means that it never acted."""
        return int(
            sum(
                np.count_nonzero(np.abs(machine.dual_coef_) >= machine.C * (1 - 1e-9))
                for machine in self.machines
            )
        )

    def losses(self, features: Features) -> Features:
        """Mean hinge loss of each class, float64 (n, classes); features float64 (n, f)."""
        standard = (features - self.mean) / self.spread
        sides = np.stack([machine.decision_function(standard) for machine in self.machines], axis=1)
        hinge = np.maximum(0.0, 1 - self.code[None] * sides[:, None]) / 2
        knows = np.abs(self.code)
        return np.asarray((hinge * knows).sum(axis=2) / knows.sum(axis=1), np.float64)

    def scores(self, features: Features) -> Features:
        """Shares that sum to one, float64 (n, classes): the less loss, the more."""
        return shares_of(-self.losses(features))


def coding_matrix(classes: int, coding: Coding) -> Features:
    """Which side each class is on in each machine, float64 (classes, machines)."""
    if coding == "one_vs_rest":
        return np.asarray(2 * np.eye(classes) - 1, np.float64)
    pairs = list(combinations(range(classes), 2))
    code = np.zeros((classes, len(pairs)))
    for column, (one, other) in enumerate(pairs):
        code[one, column], code[other, column] = 1, -1
    return code


def fit_svm(features: Features, labels: Labels, classes: int, options: SvmOptions) -> CubicSvm:
    """Fit on features float64 (n, f) and labels intp (n,), each of the classes there.

    Raises ValueError where a class has no picture.
    """
    if len(np.unique(labels)) != classes:
        raise ValueError("every class needs a picture")
    mean = features.mean(axis=0)
    spread = features.std(axis=0, ddof=1)
    spread = np.where(spread > LEAST_SPREAD, spread, 1.0)
    standard = (features - mean) / spread
    code = coding_matrix(classes, options.coding)
    machines = []
    for column in code.T:
        side = column[labels]
        machine = SVC(
            C=options.box_constraint,
            kernel="poly",
            degree=options.degree,
            gamma=1 / options.kernel_scale**2,
            coef0=1.0,
        )
        machines.append(machine.fit(standard[side != 0], side[side != 0]))
    return CubicSvm(mean, spread, code, tuple(machines))


def out_of_fold(
    features: Features, labels: Labels, classes: int, options: SvmOptions, seed: int
) -> tuple[Features, NDArray[np.intp]]:
    """Scores of each training picture by a machine that did not see it, and its fold."""
    folds = StratifiedKFold(options.folds, shuffle=True, random_state=seed)
    scores = np.zeros((len(labels), classes))
    fold_of = np.zeros(len(labels), np.intp)
    for fold, (kept, held) in enumerate(folds.split(features, labels)):
        machine = fit_svm(features[kept], labels[kept], classes, options)
        scores[held] = machine.scores(features[held])
        fold_of[held] = fold
    return scores, fold_of


def shares_of(values: Features) -> Features:
    """Softmax along the last axis, float64."""
    grown = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=-1, keepdims=True), np.float64)


def threshold_keeping(scores: Features, labels: Labels, share: float) -> float:
    """The score above which so large a share of the right answers lies."""
    best, right = scores.max(axis=1), scores.argmax(axis=1) == labels
    return float(np.quantile(best[right], 1 - share)) if right.any() else 1.0
