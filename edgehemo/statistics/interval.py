"""A number with its interval."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Interval:
    """A number with its 95 % interval, in the number's own unit."""

    value: float
    low: float
    high: float

    def as_json(self, decimals: int | None = None) -> dict[str, float]:
        record = asdict(self)
        if decimals is None:
            return record
        return {key: round(value, decimals) for key, value in record.items()}
