"""Folds grouped by patient: no field of a patient is ever on both sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import UsageError

# Fewer patients give no fold worth its name.
MIN_PATIENTS = 5


def folds_of(
    groups: Sequence[str], values: NDArray[np.float64], folds: int, seed: int
) -> NDArray[np.intp]:
    """The fold of each item, int (n,), 0 to folds - 1; with fewer groups than folds each group is
    its own fold.

    Groups are dealt out by the mean of ``values`` (n,), each fold one of every run of as many
    neighbours in a random order: every fold sees the whole range of concentrations. Raises
    UsageError with fewer than `MIN_PATIENTS` groups.
    """
    names = sorted(set(groups))
    if len(names) < MIN_PATIENTS:
        raise UsageError(
            f"{len(names)} patients with different blood counts are too few for folds: the study "
            f"needs at least {MIN_PATIENTS}, better 50 and more"
        )
    count = min(folds, len(names))
    group_of = np.array([names.index(group) for group in groups])
    level = np.array([values[group_of == i].mean() for i in range(len(names))])
    rng = np.random.default_rng([seed, 10])
    ordered = np.argsort(level, kind="stable")
    fold_of_group = np.empty(len(names), np.intp)
    for start in range(0, len(names), count):
        run = ordered[start : start + count]
        fold_of_group[run] = rng.permutation(count)[: len(run)]
    return np.asarray(fold_of_group[group_of], np.intp)
