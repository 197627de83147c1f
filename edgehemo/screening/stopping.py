"""When a sample has enough fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgehemo.errors import UsageError

StopReason = Literal["source_ended", "accepted_fields", "counting_error", "examined_fields"]

# A live sample of which so many frames were looked at stops, whatever was accepted of them.
EXAMINED_PER_LIVE_SAMPLE = 60
# Where a counting error is asked for: +-4 % needs 2,400 cells, 120 fields of 20.
EXAMINED_FOR_COUNTING_ERROR = 240


@dataclass(frozen=True, slots=True)
class StopRule:
    """When a sample has enough; None switches a limit off, and all None reads to the end.

    accepted_fields: so many accepted fields. counting_error: the relative half width of the red
    count's 95 % Poisson interval has fallen this low. examined_fields: so many frames looked at,
    whatever became of them.
    """

    accepted_fields: int | None = None
    counting_error: float | None = None
    examined_fields: int | None = None

    def __post_init__(self) -> None:
        for name in ("accepted_fields", "examined_fields"):
            limit = getattr(self, name)
            if limit is not None and limit < 1:
                raise UsageError(f"{name} must be at least 1, got {limit}")
        if self.counting_error is not None and not 0 < self.counting_error < 1:
            raise UsageError(f"counting_error must lie between 0 and 1, got {self.counting_error}")

    def reached(
        self, *, accepted: int, examined: int, counting_error: float | None
    ) -> StopReason | None:
        """Which limit has been reached, None while more fields are wanted.

        counting_error: of the fields accepted so far, None before any cell.
        """
        if self.accepted_fields is not None and accepted >= self.accepted_fields:
            return "accepted_fields"
        if (
            self.counting_error is not None
            and counting_error is not None
            and counting_error <= self.counting_error
        ):
            return "counting_error"
        if self.examined_fields is not None and examined >= self.examined_fields:
            return "examined_fields"
        return None


def files_rule(fields: int | None, counting_error: float | None) -> StopRule:
    """For files: all of them, unless the operator says otherwise."""
    return StopRule(fields, counting_error=counting_error)


def camera_rule(
    fields: int | None,
    counting_error: float | None,
    *,
    device_fields: int,
    device_counting_error: float | None,
) -> StopRule:
    """For a camera, which never ends by itself.

    fields, counting_error: what the operator asked for. device_fields, device_counting_error: what
    the device configuration says where the operator says nothing.
    """
    if fields is None and counting_error is None:
        counting_error = device_counting_error
    if counting_error is not None:
        return StopRule(fields, counting_error, EXAMINED_FOR_COUNTING_ERROR)
    return StopRule(device_fields if fields is None else fields, None, EXAMINED_PER_LIVE_SAMPLE)
