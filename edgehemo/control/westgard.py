"""The Westgard multirule on control measurements. Pure functions on standard deviations.

Westgard, Barry, Hunt and Groth, Clinical Chemistry 27 (1981) 493: a warning rule and five that
reject. All look at one control slide's measurements of one quantity, oldest first, each as its
distance from the target in the target's standard deviations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Rule = Literal["1-2s", "1-3s", "2-2s", "R-4s", "4-1s", "10x"]

# What each rule says, in the words of the report; all but the first reject.
RULES: dict[Rule, str] = {
    "1-2s": "one beyond 2 SD",
    "1-3s": "one beyond 3 SD",
    "2-2s": "two in a row beyond 2 SD on one side",
    "R-4s": "two in a row more than 4 SD apart, one beyond +2 SD and one beyond -2 SD",
    "4-1s": "four in a row beyond 1 SD on one side",
    "10x": "ten in a row on one side of the target",
}
WARNING: Rule = "1-2s"


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """Rules that the newest measurement breaks: those that reject, and the warning."""

    rejected_by: tuple[Rule, ...]
    warned: bool

    @property
    def passed(self) -> bool:
        return not self.rejected_by


def evaluate(deviations: Sequence[float]) -> RuleOutcome:
    """Judge the newest of a series (oldest first, in SD of the target).

    Raises ValueError without a measurement or with one that is no finite number.
    """
    if not deviations:
        raise ValueError("the Westgard rules need a measurement")
    if not all(math.isfinite(value) for value in deviations):
        raise ValueError("the Westgard rules need finite numbers")
    newest = deviations[-1]
    broken: list[Rule] = []
    if abs(newest) > 3:
        broken.append("1-3s")
    if _run_beyond(deviations, 2, 2.0):
        broken.append("2-2s")
    if len(deviations) >= 2:
        high, low = max(deviations[-2:]), min(deviations[-2:])
        if high > 2 and low < -2:
            broken.append("R-4s")
    if _run_beyond(deviations, 4, 1.0):
        broken.append("4-1s")
    if _run_beyond(deviations, 10, 0.0):
        broken.append("10x")
    return RuleOutcome(tuple(broken), warned=abs(newest) > 2)


def _run_beyond(deviations: Sequence[float], count: int, limit: float) -> bool:
    """Whether the last ``count`` all lie beyond the limit on one side."""
    last = deviations[-count:]
    if len(last) < count:
        return False
    return all(value > limit for value in last) or all(value < -limit for value in last)
