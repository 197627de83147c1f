"""Classes of unlike size: what is shown in an epoch, and how it counts in the loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgehemo_export.studies.remya.configuration import Balance
from edgehemo_export.studies.remya.splitting import Indices


@dataclass(frozen=True)
class Shown:
    """indices: pictures of one epoch, some of them more than once where a class is oversampled.
    class_weights: float (classes,) of the loss, None where each picture counts alike.
    """

    indices: Indices
    class_weights: NDArray[np.float64] | None = None


def shown(indices: Indices, labels: NDArray[np.intp], balance: Balance, seed: int) -> Shown:
    """The pictures of a training part as a way of balancing shows them. labels: of all pictures."""
    if balance == "downsample":
        return Shown(downsampled(indices, labels, seed))
    if balance == "oversample":
        return Shown(_oversampled(indices, labels, seed))
    if balance == "class_weights":
        counts = np.bincount(labels[indices], minlength=2).astype(np.float64)
        return Shown(indices, len(indices) / (len(counts) * np.maximum(counts, 1)))
    return Shown(indices)


def downsampled(indices: Indices, labels: NDArray[np.intp], seed: int) -> Indices:
    """The larger class cut at random to the size of the smaller one; ascending."""
    by_class = _by_class(indices, labels)
    least = min(len(one) for one in by_class)
    rng = np.random.default_rng([seed, 3])
    return np.sort(np.concatenate([rng.permutation(one)[:least] for one in by_class]))


def _oversampled(indices: Indices, labels: NDArray[np.intp], seed: int) -> Indices:
    """The smaller class repeated at random to the size of the larger one."""
    by_class = _by_class(indices, labels)
    most = max(len(one) for one in by_class)
    rng = np.random.default_rng([seed, 4])
    grown = [
        np.concatenate([one, rng.choice(one, most - len(one))]) if len(one) < most else one
        for one in by_class
    ]
    return np.sort(np.concatenate(grown))


def _by_class(indices: Indices, labels: NDArray[np.intp]) -> list[Indices]:
    """Indices of each class that is there."""
    own = labels[indices]
    return [indices[own == label] for label in np.unique(own)]
