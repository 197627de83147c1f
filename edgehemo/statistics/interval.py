"""A number with its interval."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True)
class Interval:
    """A number with its 95 % interval, in the number's own unit."""

    value: float
    low: float
    high: float

    def rounded(self, decimals: int) -> Self:
        """The same to a number of decimals."""
        value, low, high = (round(part, decimals) for part in (self.value, self.low, self.high))
        return replace(self, value=value, low=low, high=high)
