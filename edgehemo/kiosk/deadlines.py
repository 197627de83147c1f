"""What happens when nothing does: one table of deadlines.

A message that must be read has none: neither a result nor a fault goes away by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgehemo.kiosk.events import Event, Idle, WorkerSilent
from edgehemo.kiosk.screens import PLACES, Screen
from edgehemo.kiosk.state import KioskState, screen_of

# What a deadline counts from: coming to the screen, the last touch, the worker's last word.
Since = Literal["screen", "touch", "worker"]


@dataclass(frozen=True, slots=True)
class Deadline:
    """screens: where it runs. seconds: how long. locked: of the PIN, whether somebody is signed in
    behind it; None where it does not matter.
    """

    screens: frozenset[Screen]
    since: Since
    seconds: float
    event: Event
    locked: bool | None = None


# Whoever looks into the microscope does not touch the page.
_LOOKING: frozenset[Screen] = frozenset({"capture", "analysis"})
_SIGNED_IN: tuple[Screen, ...] = (*PLACES, "fault")
_OTHERS = frozenset(_SIGNED_IN) - _LOOKING
DEADLINES: tuple[Deadline, ...] = (
    Deadline(frozenset({"pin"}), "touch", 60.0, Idle(), locked=False),
    Deadline(frozenset({"pin"}), "screen", 3600.0, Idle(), locked=True),
    Deadline(_OTHERS, "touch", 600.0, Idle()),
    Deadline(_LOOKING, "touch", 1800.0, Idle()),
    Deadline(frozenset({"check"}), "worker", 60.0, WorkerSilent()),
    Deadline(frozenset({"capture"}), "worker", 30.0, WorkerSilent()),
    Deadline(frozenset({"analysis"}), "worker", 120.0, WorkerSilent()),
)


def due(state: KioskState, since: Since | None = None) -> tuple[float, Event] | None:
    """When the next deadline ends (seconds since 1970) and what it leads to; None without one.
    since: of those that count from this alone; None, of all.
    """
    screen = screen_of(state)
    signed_in = state.session is not None
    running = [
        (_since(state, each) + each.seconds, number)
        for number, each in enumerate(DEADLINES)
        if since in (None, each.since)
        and _where(state, screen, each) in each.screens
        and each.locked in (None, signed_in)
        and _runs(state, each)
    ]
    if not running:
        return None
    at, number = min(running)
    return at, DEADLINES[number].event


def _where(state: KioskState, screen: Screen, deadline: Deadline) -> Screen:
    """The worker goes on behind the locked page, and is watched there too."""
    locked = state.session is not None and state.session.locked and state.fault is None
    return state.place if locked and deadline.since == "worker" else screen


def _runs(state: KioskState, deadline: Deadline) -> bool:
    """A self-check that has answered is not waited for."""
    return not (state.place == "check" and deadline.since == "worker" and state.checks)


def _since(state: KioskState, deadline: Deadline) -> float:
    if deadline.since == "touch":
        return state.heard_s
    if deadline.since == "worker" and state.sample is not None:
        return max(state.sample.progress.at_s, state.since_s)
    return state.since_s
