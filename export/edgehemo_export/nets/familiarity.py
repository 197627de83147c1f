"""How like the cells that a classifier learnt from a cell looks to it: one value beside its answer.

A network names what it has never seen as surely as what it has. Its features tell the two apart:
their distance from the nearest centre of a class in one source of the training, measured against
how cells scatter about their own centres (Mahalanobis; Lee et al. 2018).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

# Directions of scatter that are told apart; the others are taken to scatter alike.
DIRECTIONS = 64
# The mean scatter's share that is added to every direction: the features of an int8 graph are a
# little off, and a direction in which nothing scattered would magnify that.
SHRINKAGE = 0.3
# A centre stands on at least so many cells of one class and source.
MIN_CELLS_OF_A_CENTRE = 12
# Of the cells of known sources this share is at least half familiar, by definition.
FAMILIAR_SHARE = 0.95
# The familiarity of a cell at that limit.
HALF = 0.5


class Familiarity(nn.Module):
    """Features float (n, d) to familiarity float (n, 1): 1 at a centre, `HALF` at the limit.

    2^-(distance / limit)^2, with distance^2 = |f - c|^2 - |B (f - c)|^2 from the nearest centre c:
    the inverse of a scatter with `DIRECTIONS` principal directions, in B, and the shrinkage alone
    in all others.
    """

    centres: Tensor
    basis: Tensor
    limit: Tensor

    def __init__(self, centres: int, directions: int, features: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.zeros(centres, features))
        self.register_buffer("basis", torch.zeros(directions, features))
        self.register_buffer("limit", torch.ones(()))

    def squared_distance(self, features: Tensor) -> Tensor:
        """From the nearest centre, float (n, 1)."""
        centres, basis = self.centres, self.basis
        within = features.square().sum(dim=1, keepdim=True) - 2 * features @ centres.T
        within = within + centres.square().sum(dim=1)
        along = features @ basis.T
        own = centres @ basis.T
        explained = along.square().sum(dim=1, keepdim=True) - 2 * along @ own.T
        explained = explained + own.square().sum(dim=1)
        return (within - explained).amin(dim=1, keepdim=True).clamp_min(0.0)

    def forward(self, features: Tensor) -> Tensor:
        return torch.exp2(-self.squared_distance(features) / self.limit.square())


def fitted(features: NDArray[np.float32], kinds: NDArray[np.str_]) -> Familiarity:
    """A familiarity from training cells; its limit is yet to be set (`distance_of_share`).

    features: float32 (n, d). kinds: str (n,), class and source of each. Raises ValueError where no
    kind has `MIN_CELLS_OF_A_CENTRE` cells.
    """
    names = [k for k in sorted(set(kinds.tolist())) if (kinds == k).sum() >= MIN_CELLS_OF_A_CENTRE]
    if not names:
        raise ValueError("too few cells of any class and source for a familiarity")
    centres = np.array([features[kinds == name].mean(axis=0) for name in names], np.float64)
    apart = np.concatenate(
        [features[kinds == name] - centre for name, centre in zip(names, centres, strict=True)]
    ).astype(np.float64)
    scatter = apart.T @ apart / len(apart)
    values, vectors = np.linalg.eigh(scatter)
    order = np.argsort(values)[::-1][: min(DIRECTIONS, len(values))]
    shrinkage = SHRINKAGE * float(values.mean())
    share = np.sqrt(np.maximum(1 - shrinkage / (values[order] + shrinkage), 0.0))
    found = Familiarity(len(names), len(order), features.shape[1])
    found.centres.copy_(torch.from_numpy(centres).half())
    found.basis.copy_(torch.from_numpy((vectors[:, order] * share).T.copy()).half())
    return found


def distance_of_share(familiarity: Familiarity, features: NDArray[np.float32]) -> float:
    """The distance within which `FAMILIAR_SHARE` of the cells lie; features: float32 (n, d)."""
    with torch.inference_mode():
        squared = familiarity.squared_distance(torch.from_numpy(features)).numpy()
    return max(float(np.sqrt(np.quantile(squared, FAMILIAR_SHARE))), 1e-3)
