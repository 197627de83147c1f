"""The clock that counts here: the receiver's. Those of kiosks may say anything."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def text_of(at: datetime) -> str:
    """As it is stored and shown: to the second, with its zone."""
    return at.astimezone(UTC).isoformat(timespec="seconds")


def seconds_of(at: datetime) -> int:
    """Since 1970."""
    return int(at.timestamp())


def length_of(seconds: int) -> str:
    """A length of time as lists say it: one number that matters."""
    for name, size, until in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 2 * 86_400)):
        if seconds < until:
            return f"{seconds // size} {name}"
    return f"{seconds // 86_400} days"


def moment_of(seconds: int) -> str:
    """Seconds since 1970 as pages write them: day and minute, in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
