"""Share of each type of cell in a sample, corrected for how the classifier confuses the types.

Counting names alone is biased: where one cell in a hundred is a teardrop, most cells *named*
teardrop are other cells. The kept-out confusion matrix tells how often each true type receives
each name; the shares are those under which the names found are most likely (as parasite counts
are corrected for false positives). This assumes that the classifier errs on this sample as it did
on the kept-out cells; the shares themselves may be entirely different. From slide to slide it does
not quite, so that thousands of kept-out cells say no more of a new slide than a few of its own
would: the interval holds that. And a slide may leave more cells `uncertain` than the kept-out ones
did; those say nothing of any type.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import Confusion
from edgehemo.cells.cell import UNCERTAIN
from edgehemo.errors import UsageError
from edgehemo.files.strict import Count, Share

INTERVAL = 0.95
# Gibbs sampling behind an interval: chains that run side by side from the estimate, the rounds
# each is left to forget where it began, and the rounds kept. The seed is fixed: a stored result
# can be computed again to the last digit.
CHAINS = 80
SETTLING_ROUNDS = 15
KEPT_ROUNDS = 15
SEED = 20261121
# Below this many cells a share says nothing; the interval would span nearly all of 0 to 1.
MIN_CELLS = 20
# Weight of the prior, in cells, spread over the names of each row of the confusion matrix (Perks
# 1947): a name never seen for a type remains possible, the less so the more cells were seen.
MATRIX_PRIOR_CELLS = 1.0
# Prior of the shares, in cells a type: a type of which a small sample shows no cell still has an
# upper bound above zero. Of 0.3, 0.5 and 1 this one held nearest to 95 % in simulation.
SHARE_PRIOR_CELLS = 0.3
# As much as so many cells of each type of the sample itself the kept-out cells say of it, however
# many they are: how types are confused differs between slides. Over the eleven kept-out slides of
# Chula RBC-12, each taken for the sample and the ten others for the kept-out cells, 15 is likeliest
# (Dirichlet-multinomial); the intervals of the types that occur hold with 15 in 93 %, with 7 in
# 95 %, without a limit in 85 % of 91. All are of one microscope, and another differs more: 7.
SLIDE_CELLS = 7.0
# A name whose corrected share is below this part of what its count says is explained by other types
# that are mistaken for it: the type may be absent.
EXPLAINED_BELOW = 0.5
# Where the search for how many more cells a sample leaves uncertain begins.
FIRST_UNNAMED = 0.2
MAX_ITERATIONS = 400
# The iteration ends when no share moves by more than this.
TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class TypeShare:
    """One type's share of a sample's cells.

    named: cells that bear its name. share: corrected, 0-1. low, high: 95 % interval of it; what the
    count alone would say lies inside.
    """

    type: str
    named: Count
    share: Share
    low: Share
    high: Share

    def rounded(self) -> TypeShare:
        """As files hold it."""
        return TypeShare(
            self.type,
            self.named,
            round(self.share, 4),
            round(self.low, 4),
            round(self.high, 4),
        )


def explained_by_others(named: int, share: float, cells: int) -> bool:
    """Whether a type's names are mostly other types' that were mistaken for it.

    named, share: its own. cells: of all types, the uncertain ones included.
    """
    return named > 0 and share * cells < EXPLAINED_BELOW * named


def count_names(names: Iterable[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """How many cells bear each name: int64 (len(classes) + 1,), `uncertain` last.

    UsageError for a name the classes do not know.
    """
    places = {name: index for index, name in enumerate((*classes, UNCERTAIN))}
    counts = np.zeros(len(places), np.int64)
    for name in names:
        if name not in places:
            raise UsageError(f"{name!r} is not a class of this model; classify the cells again")
        counts[places[name]] += 1
    return counts


def type_shares(
    named: NDArray[np.int64],
    classes: Sequence[str],
    confusion: Confusion,
    *,
    seed: int = SEED,
    slide_cells: float = SLIDE_CELLS,
) -> list[TypeShare] | None:
    """Corrected shares with intervals, in the order of ``classes``; None below `MIN_CELLS`.

    named: int64 (len(classes) + 1,), see `count_names`. slide_cells: see `SLIDE_CELLS`. The share
    is the constrained maximum likelihood (EM) under the confusion matrix; the interval is the
    posterior's of shares and matrix together, so that it holds both the counting error of this
    sample and how little the kept-out cells say of the matrix on this slide. UsageError where the
    matrix has another shape.
    """
    kept_out = np.asarray(confusion.counts, dtype=np.float64)
    kinds = len(classes)
    if kept_out.shape != (kinds, kinds + 1) or named.shape != (kinds + 1,):
        raise UsageError(
            "the confusion matrix does not fit the model's classes; export the bundle again"
        )
    total = int(named.sum())
    if total < MIN_CELLS:
        return None
    rows = kept_out + MATRIX_PRIOR_CELLS / (kinds + 1)
    share = most_likely_shares(rows / rows.sum(axis=1, keepdims=True), named / total)
    held = np.minimum(1.0, slide_cells / rows.sum(axis=1, keepdims=True))
    drawn = _posterior_shares(rows * held, named, share, np.random.default_rng(seed))
    tail = (1 - INTERVAL) / 2
    low, high = np.quantile(drawn, (tail, 1 - tail), axis=0)
    # Less than one cell of the sample is none: the type may be absent.
    low = np.where(low * total < 1.0, 0.0, low)
    # Names are not said to be wrong beyond what anybody knows of this slide.
    counted = np.where(named[:-1] > 0, named[:-1] / total, share)
    return [
        TypeShare(
            type=name,
            named=int(named[index]),
            share=float(share[index]),
            low=float(min(low[index], share[index], counted[index])),
            high=float(max(high[index], share[index], counted[index])),
        )
        for index, name in enumerate(classes)
    ]


def most_likely_shares(
    matrix: NDArray[np.float64], sample: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Maximum likelihood shares (kinds,), none below 0, together 1, by EM.

    matrix: (kinds, names), rows sum to 1, the last name `uncertain`. sample: (names,), share of
    each name. A sample may leave more cells uncertain than the matrix says, whatever their type;
    how many more is fitted beside the shares.
    """
    shares, unnamed = np.full(len(matrix), 1.0 / len(matrix)), FIRST_UNNAMED
    for _ in range(MAX_ITERATIONS):
        expected = np.maximum(shares @ matrix, 1e-12)
        more = unnamed / (unnamed + (1.0 - unnamed) * expected[-1])
        typed = sample.copy()
        typed[-1] *= 1.0 - more
        updated = shares * (matrix @ (typed / expected))
        updated /= max(float(updated.sum()), 1e-12)
        moved = max(float(np.abs(updated - shares).max()), abs(more * sample[-1] - unnamed))
        shares, unnamed = updated, float(more * sample[-1])
        if moved < TOLERANCE:
            break
    return np.asarray(shares / shares.sum())


def _posterior_shares(
    rows: NDArray[np.float64],
    named: NDArray[np.int64],
    start: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Draws of the shares, (CHAINS * KEPT_ROUNDS, kinds), by data augmentation.

    In turn: the matrix given which cells are truly what, how many cells are uncertain whatever
    their type, the true types of the other cells of each name given matrix and shares, the shares
    given the true types (Tanner and Wong 1987).
    """
    kinds, names = rows.shape
    shares = np.broadcast_to(0.98 * start + 0.02 / kinds, (CHAINS, kinds))
    true_cells = np.zeros((CHAINS, kinds, names))
    unnamed = np.full(CHAINS, FIRST_UNNAMED)
    trials = np.tile(named, (CHAINS, 1))
    kept: list[NDArray[np.float64]] = []
    for round_ in range(SETTLING_ROUNDS + KEPT_ROUNDS):
        joint = shares[:, :, None] * _dirichlet(rng, rows + true_cells)
        of_name = joint.sum(axis=1, keepdims=True)
        more = unnamed / (unnamed + (1.0 - unnamed) * of_name[:, 0, -1])
        whatever = rng.binomial(named[-1], more)
        unnamed = rng.beta(1.0 + whatever, 1.0 + named.sum() - whatever)
        trials[:, -1] = named[-1] - whatever
        truth_of_name = np.swapaxes(joint / of_name, 1, 2)
        true_cells = np.swapaxes(rng.multinomial(trials, truth_of_name), 1, 2).astype(np.float64)
        shares = _dirichlet(rng, SHARE_PRIOR_CELLS + true_cells.sum(axis=2))
        if round_ >= SETTLING_ROUNDS:
            kept.append(shares)
    return np.concatenate(kept)


def _dirichlet(rng: np.random.Generator, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """One draw along the last axis for each leading index; floored, so that none is exactly 0."""
    drawn = np.maximum(rng.standard_gamma(weights), 1e-200)
    return np.asarray(drawn / drawn.sum(axis=-1, keepdims=True))
