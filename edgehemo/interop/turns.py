"""Which messages of one receiver are next, and how long to wait; by what is open alone.

Messages go in the order in which they were noted. A receiver that cannot be reached is waited for
by the first of them. One that the receiver stumbles over steps aside and holds up only later
versions of its own result: a correction never overtakes what it corrects.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgehemo.interop.states import Answer, Failed, Standing, is_aside, left_s, wait_s

# So many turns in a row that the receiver stumbled over make it be waited for.
FAULTS_IN_A_ROW = 3


@dataclass(frozen=True, slots=True)
class Waiting:
    """An open message. number: of its row. result: which it is of. bytes: of it; 0 until made."""

    number: int
    result: int
    standing: Standing
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """What is next. numbers: rows to be sent now, in this order, each of another result. wait_s:
    how long to wait where there are none; None where nothing is open.
    """

    numbers: tuple[int, ...] = ()
    wait_s: float | None = None


def next_turn(
    waiting: Iterable[Waiting], now_s: float, *, most: int = 1, most_bytes: int | None = None
) -> Turn:
    """What to send now. waiting: what is open, in the order in which it was noted. most: messages
    of one turn. most_bytes: of all of them together; a larger one goes alone.
    """
    rows = list(waiting)
    if not rows:
        return Turn()
    held = [
        left_s(row.standing, now_s)
        for row in rows
        if row.standing.state == "retrying" and not is_aside(row.standing)
    ]
    if (longest := max(held, default=0.0)) > 0:
        return Turn(wait_s=longest)
    chosen: list[int] = []
    busy: set[int] = set()
    size, soonest = 0, float("inf")
    for row in rows:
        if row.result in busy:
            continue
        busy.add(row.result)
        left = left_s(row.standing, now_s)
        if left > 0:
            soonest = min(soonest, left)
            continue
        size += row.bytes
        if chosen and (len(chosen) == most or (most_bytes is not None and size > most_bytes)):
            break
        chosen.append(row.number)
    return Turn(tuple(chosen)) if chosen else Turn(wait_s=soonest)


@dataclass(frozen=True, slots=True)
class Patience:
    """How many turns in a row failed. A receiver that stumbles over everything is waited for."""

    faults: int = 0

    def after(self, answers: Iterable[Answer]) -> Patience:
        """What the answers of one turn make of it: any that is no failure ends the row."""
        failed = all(isinstance(answer, Failed) for answer in answers)
        return Patience(self.faults + 1 if failed else 0)

    def pause_s(self, jitter: float) -> float:
        """How long to leave the receiver alone."""
        over = self.faults - FAULTS_IN_A_ROW
        return wait_s(over + 1, jitter) if over >= 0 else 0.0
