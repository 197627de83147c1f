"""Training, validation and held-out parts: picture by picture as in the paper, or by group.

Indices are into the pictures that were given. Each split depends on its seed alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgehemo_export.studies.remya.configuration import SplitConfig

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class StudySplit:
    """Indices of each part, ascending. test: what is held out. fold: of a cross-validation."""

    train: Indices
    validate: Indices
    test: Indices
    fold: int | None = None

    def parts(self) -> dict[str, Indices]:
        """By name, in the order they are made."""
        return {"train": self.train, "validate": self.validate, "test": self.test}


def image_split(count: int, config: SplitConfig, seed: int) -> StudySplit:
    """The paper's: shuffled once, the first 70 % train, the next 20 % validate, the rest is held
    out. Neither class nor group is looked at.
    """
    order = np.random.default_rng([seed, 1]).permutation(count)
    train = int(config.train_share * count)
    validate = train + int(config.validate_share * count)
    return StudySplit(
        np.sort(order[:train]), np.sort(order[train:validate]), np.sort(order[validate:])
    )


def grouped_split(
    labels: Sequence[int], groups: Sequence[str], config: SplitConfig, seed: int
) -> StudySplit:
    """Whole groups, so that each part has its share of either class as nearly as groups allow."""
    shares = (config.train_share, config.validate_share, config.held_out_share)
    train, validate, test = _dealt(labels, groups, shares, seed)
    return StudySplit(train, validate, test)


def grouped_folds(
    labels: Sequence[int], groups: Sequence[str], config: SplitConfig, seed: int
) -> list[StudySplit]:
    """Each group held out once; of the other folds the next one validates, the rest train."""
    count = config.folds
    folds = _dealt(labels, groups, (1 / count,) * count, seed)
    return [
        StudySplit(
            train=np.sort(
                np.concatenate([f for i, f in enumerate(folds) if i not in (k, (k + 1) % count)])
            ),
            validate=folds[(k + 1) % count],
            test=folds[k],
            fold=k,
        )
        for k in range(count)
    ]


def shared_groups(groups: Sequence[str], split: StudySplit) -> int:
    """How many held-out pictures have a picture of their group in training."""
    trained = {groups[i] for i in split.train}
    return sum(groups[i] in trained for i in split.test)


def _dealt(
    labels: Sequence[int], groups: Sequence[str], shares: Sequence[float], seed: int
) -> list[Indices]:
    """Groups dealt to parts: large ones first, each to where it brings the counts of both classes
    nearest to their shares. Among groups of one size the seed decides.
    """
    label = np.asarray(labels, np.intp)
    names, owner = np.unique(np.asarray(groups), return_inverse=True)
    classes = int(label.max()) + 1
    counts = np.zeros((len(names), classes))
    np.add.at(counts, (owner, label), 1)
    wanted = np.outer(shares, counts.sum(axis=0))
    size = counts.sum(axis=1)
    chance = np.random.default_rng([seed, 2]).random(len(names))
    have = np.zeros_like(wanted)
    part_of = np.zeros(len(names), np.intp)
    for group in np.lexsort((chance, -size)):
        # What each part would lack or have too much of, relative to what it should have.
        costs = [
            float((np.abs(have[p] + counts[group] - wanted[p]) / np.maximum(wanted[p], 1)).sum())
            - float((np.abs(have[p] - wanted[p]) / np.maximum(wanted[p], 1)).sum())
            for p in range(len(shares))
        ]
        part_of[group] = int(np.argmin(costs))
        have[part_of[group]] += counts[group]
    return [np.flatnonzero(part_of[owner] == p) for p in range(len(shares))]
