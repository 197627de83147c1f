"""Intervals around measured figures: exact and score intervals of shares, bootstrap by group.

Pictures of one slide or patient resemble each other, so the bootstrap draws whole groups.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, norm

from edgehemo.bundle.manifest import Metric

CONFIDENCE = 0.95
BOOTSTRAP_ROUNDS = 1000

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class EvaluationFigure:
    """A figure with its bounds; None where no interval can be given. method: how it was made.

    The device's `edgehemo.statistics.interval.Interval` always has both bounds, and the record
    beside it says how they were made.
    """

    value: float
    low: float | None
    high: float | None
    method: str

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.4f}"
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


def clopper_pearson(
    successes: int, trials: int, confidence: float = CONFIDENCE
) -> EvaluationFigure:
    """Exact interval of a share (Clopper and Pearson 1934): never too narrow, often too wide.

    Raises ValueError unless 0 <= successes <= trials and trials > 0.
    """
    _check_share(successes, trials)

    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, trials - successes + 1))
    high = (
        1.0 if successes == trials else float(beta.ppf(1 - tail, successes + 1, trials - successes))
    )
    return EvaluationFigure(successes / trials, low, high, "Clopper-Pearson")


def wilson(successes: int, trials: int, confidence: float = CONFIDENCE) -> EvaluationFigure:
    """Score interval of a share (Wilson 1927): close to its nominal coverage at small numbers.

    Raises ValueError unless 0 <= successes <= trials and trials > 0.
    """
    _check_share(successes, trials)

    z = float(norm.ppf(1 - (1 - confidence) / 2))
    share = successes / trials
    shrunk = 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / shrunk
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / shrunk
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return EvaluationFigure(share, low, high, "Wilson")


def metric_of(interval: EvaluationFigure, name: str, source: str, images: int) -> Metric:
    """A figure with its interval as models and bundles store it."""
    return Metric(
        name=name,
        source=source,
        value=interval.value,
        low=interval.low,
        high=interval.high,
        images=images,
    )


def bootstrap_by_group(
    groups: Sequence[str],
    statistics: Callable[[Indices], Mapping[str, float]],
    *,
    rounds: int = BOOTSTRAP_ROUNDS,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> dict[str, EvaluationFigure]:
    """Percentile intervals of several figures at once (Efron 1979), whole groups drawn.

    groups: of each item, for example its slide or patient. statistics: takes indices of items
    (with repetitions) and answers figures by name; a figure that is missing or not finite in a
    round is left out of its interval. With fewer than two groups, or where more than a tenth of
    the rounds gave nothing, there is no interval. Raises ValueError where there is no item.
    """
    if not len(groups):
        raise ValueError("no items to draw from")
    _, owner = np.unique(np.asarray(groups), return_inverse=True)
    members = [np.flatnonzero(owner == group) for group in range(int(owner.max()) + 1)]
    measured = dict(statistics(np.arange(len(groups), dtype=np.intp)))
    method = f"bootstrap of {len(members)} groups"
    if len(members) < 2:
        return {
            name: EvaluationFigure(value, None, None, method) for name, value in measured.items()
        }
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(rounds):
        chosen = rng.integers(0, len(members), len(members))
        figures = statistics(np.concatenate([members[i] for i in chosen]))
        for name, values in drawn.items():
            value = figures.get(name, math.nan)
            if math.isfinite(value):
                values.append(value)
    return {
        name: _percentiles(value, drawn[name], rounds, confidence, method)
        for name, value in measured.items()
    }


def _percentiles(
    value: float, drawn: Sequence[float], rounds: int, confidence: float, method: str
) -> EvaluationFigure:
    if len(drawn) < 0.9 * rounds:
        return EvaluationFigure(value, None, None, method)
    tail = (1 - confidence) / 2
    low, high = (float(v) for v in np.quantile(np.asarray(drawn), [tail, 1 - tail]))
    return EvaluationFigure(value, low, high, method)


def _check_share(successes: int, trials: int) -> None:
    if trials <= 0 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is not a share")
