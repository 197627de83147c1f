"""What becomes of a message: its states, by events alone.

::

    noted -> pending -> delivered        noted: a row, made with the version itself.
      |         |  ^                     pending: its message is made and frozen.
      |         v  |                     retrying: sending failed and is tried again.
      |      retrying -> delivered       delivered: the receiver has it.
      v         v                        refused: the receiver will not have it, or no message
      +-----> refused -> (asked again)   can be made; a person must act.

A receiver that counts may say that it never got what it had acknowledged: then a delivered message
is noted once more.

Time and chance come in as arguments, so that every path is a fast test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from edgehemo.errors import UsageError
from edgehemo.guidance.codes import SendingCode

State = Literal["noted", "pending", "retrying", "delivered", "refused"]
OPEN: tuple[State, ...] = ("noted", "pending", "retrying")
SETTLED: tuple[State, ...] = ("delivered", "refused")

# The wait after the first failure doubles up to the longest.
FIRST_WAIT_S = 5.0
LONGEST_WAIT_S = 600.0
# A wait is shortened by up to this share, so that a hundred kiosks do not come back at once.
JITTER = 0.25
# What is kept of a receiver's words, in characters.
MAX_WORDS = 500
# What fails of one message and may go well with the next: the others do not wait for it.
OF_ONE_MESSAGE: frozenset[SendingCode] = frozenset({"RECEIVER_FAILED", "ANSWER_UNREADABLE"})
# So often a receiver may be silent before the message itself is thought to be the reason.
SILENT_BEFORE_ASIDE = 6


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a message stands. attempts: that failed, since it was noted or asked for again.
    next_at_s: not to be sent before, seconds since 1970. code: what is wrong. said: the receiver's
    words, or why the device itself failed. made: whether the message is made.
    """

    state: State = "noted"
    attempts: int = 0
    next_at_s: float = 0.0
    code: SendingCode | None = None
    said: str = ""
    made: bool = False


@dataclass(frozen=True, slots=True)
class Made:
    """The message was made and is frozen."""


@dataclass(frozen=True, slots=True)
class NotMade:
    """No message can be made of it."""

    code: SendingCode
    said: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """The receiver says that it has it."""

    said: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """The receiver says that it will not have it."""

    code: SendingCode
    said: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """Nobody knows whether it has it: it is sent again."""

    code: SendingCode
    said: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A person wants it to be sent now."""


@dataclass(frozen=True, slots=True)
class Missed:
    """The receiver counts, and says that it does not have what it had acknowledged."""


# What a receiver says to a message, or what the way to it does.
Answer = Stored | Refused | Failed
Event = Made | NotMade | Answer | Asked | Missed

# Event -> the states it may come in.
_FITS: Mapping[type, tuple[State, ...]] = {
    Made: ("noted",),
    NotMade: ("noted", "pending", "retrying"),
    Stored: ("pending", "retrying"),
    Refused: ("pending", "retrying"),
    Failed: ("pending", "retrying"),
    Asked: ("noted", "pending", "retrying", "refused"),
    Missed: ("delivered",),
}


def fits(standing: Standing, event: Event) -> bool:
    """Whether an event can come in a state."""
    return standing.state in _FITS[type(event)]


def step(standing: Standing, event: Event, now_s: float, jitter: float = 0.0) -> Standing:
    """What a message becomes. now_s: seconds since 1970. jitter: from 0 to below 1, by chance.

    UsageError for an event that does not fit: what was delivered stays delivered, unless the
    receiver itself has lost it.
    """
    if not fits(standing, event):
        raise UsageError(f"what is {standing.state} cannot be {_doing(event)}")
    match event:
        case Made():
            return Standing("pending", next_at_s=now_s, made=True)
        case NotMade(code, said):
            return replace(standing, state="refused", code=code, said=words(said))
        case Stored(said):
            return replace(standing, state="delivered", code=None, said=words(said))
        case Refused(code, said):
            return replace(standing, state="refused", code=code, said=words(said))
        case Failed(code, said):
            attempts = standing.attempts + 1
            return replace(
                standing,
                state="retrying",
                attempts=attempts,
                next_at_s=now_s + wait_s(attempts, jitter),
                code=code,
                said=words(said),
            )
        case Asked():
            state: State = "pending" if standing.made else "noted"
            return Standing(state, next_at_s=now_s, made=standing.made)
        case Missed():
            return Standing("noted", next_at_s=now_s)


def _doing(event: Event) -> str:
    return "asked for again" if isinstance(event, Asked) else type(event).__name__.lower()


def wait_s(attempts: int, jitter: float) -> float:
    """The wait after so many failures: 5 s, doubling to 10 min, less up to a quarter by chance."""
    longest = FIRST_WAIT_S * 2.0 ** min(attempts - 1, 60)
    return min(LONGEST_WAIT_S, longest) * (1 - JITTER * jitter)


def left_s(standing: Standing, now_s: float) -> float:
    """How long it is still to wait, 0 where it is due.

    A clock that was set back would make it wait for years: no wait is longer than the longest.
    """
    left = standing.next_at_s - now_s
    return 0.0 if left <= 0 or left > LONGEST_WAIT_S else left


def is_aside(standing: Standing) -> bool:
    """Whether a failed message seems to be the reason itself, so that others go before it."""
    if standing.state != "retrying" or standing.code is None:
        return False
    silent = standing.code == "RECEIVER_SILENT" and standing.attempts >= SILENT_BEFORE_ASIDE
    return silent or standing.code in OF_ONE_MESSAGE


def words(said: str) -> str:
    """A receiver's words as they are kept: one line of printable characters, cut off."""
    line = " ".join("".join(c if c.isprintable() else " " for c in said).split())
    return line if len(line) <= MAX_WORDS else f"{line[: MAX_WORDS - 3]}..."
