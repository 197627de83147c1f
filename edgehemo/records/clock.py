"""What time it is, and whether that can be believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

ClockState = Literal["set", "unset"]
# How far a known date may lie ahead of the clock: clocks of two machines differ by so much.
TOLERANCE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Stamp:
    """A moment as the records hold it. at: what the clock said. clock: unset where a date that is
    known here lies after it: then nobody knows when it was.
    """

    at: datetime
    clock: ClockState

    @property
    def text(self) -> str:
        """With its time zone, to the second."""
        return self.at.isoformat(timespec="seconds")

    @property
    def seconds(self) -> int:
        """Since 1970."""
        return int(self.at.timestamp())


def now() -> datetime:
    """The time, timezone-aware."""
    return datetime.now().astimezone()


@dataclass(frozen=True, slots=True)
class Clock:
    """The device's clock, held against what is known. known: the newest date from elsewhere."""

    read: Callable[[], datetime] = now
    known: datetime | None = None

    def stamp(self, newest_s: int | None = None) -> Stamp:
        """Now; newest_s: the newest date in the records, in seconds since 1970."""
        at = self.read()
        dates = [] if self.known is None else [self.known]
        if newest_s is not None:
            dates.append(datetime.fromtimestamp(newest_s, UTC))
        unset = any(date - at > TOLERANCE for date in dates)
        return Stamp(at, "unset" if unset else "set")
