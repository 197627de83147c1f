"""The kiosk's screens: one table of who may see each, what step of a sample it is, and its way out.

Leaf module: it imports nothing of the project but the roles, so that pages, tests and documentation
read the same table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from edgehemo.records.users import ROLES, Role

# Where a signed-in person is.
Place = Literal[
    "home",
    "practice",
    "number",
    "person",
    "check",
    "capture",
    "analysis",
    "result",
    "review",
    "sign_off",
    "done",
    "abandon",
    "results",
    "monitoring",
    "users",
    "backup",
    "updates",
    "equipment",
    "calibration",
    "artefacts",
    "doctor",
]
# What lies over the place: nobody is signed in, a PIN is asked for, something stops the work.
Overlay = Literal["sign_in", "pin", "fault"]
Screen = Literal[Place, Overlay]
PLACES: tuple[Place, ...] = get_args(Place)
SCREENS: tuple[Screen, ...] = (*PLACES, *get_args(Overlay))

# What a sample goes through, in this order.
SampleStep = Literal[
    "number", "person", "check", "capture", "analysis", "result", "review", "sign_off", "done"
]
SAMPLE_STEPS: tuple[SampleStep, ...] = get_args(SampleStep)
# What the status line counts: steps that belong together are one to the worker.
COUNTED_STEPS: tuple[tuple[SampleStep, ...], ...] = (
    ("number", "person"),
    ("check",),
    ("capture",),
    ("analysis",),
    ("result",),
    ("review",),
    ("sign_off", "done"),
)


@dataclass(frozen=True, slots=True)
class PlaceRule:
    """What is so of a place. roles: who may be there. back: where *Back* leads; None, and only
    *Leave* goes out.
    """

    roles: frozenset[Role]
    back: Place | None = "home"


_ALL: frozenset[Role] = frozenset(ROLES)
_SUPERVISOR: frozenset[Role] = frozenset({"supervisor"})
_ENGINEER: frozenset[Role] = frozenset({"engineer"})

RULES: Mapping[Place, PlaceRule] = {
    "home": PlaceRule(_ALL, None),
    "practice": PlaceRule(_ALL),
    "number": PlaceRule(_ALL, None),
    "person": PlaceRule(_ALL, "number"),
    "check": PlaceRule(_ALL, "person"),
    # Fields are on the disk: what they belong to is not changed any more.
    "capture": PlaceRule(_ALL, None),
    "analysis": PlaceRule(_ALL, None),
    "result": PlaceRule(_ALL, None),
    "review": PlaceRule(_ALL, "result"),
    "sign_off": PlaceRule(_ALL, "review"),
    "done": PlaceRule(_ALL, None),
    # Back to the step that was to be abandoned (`flow`).
    "abandon": PlaceRule(_ALL, None),
    "results": PlaceRule(_SUPERVISOR),
    "monitoring": PlaceRule(_SUPERVISOR),
    "users": PlaceRule(_SUPERVISOR),
    "backup": PlaceRule(_SUPERVISOR),
    "updates": PlaceRule(_SUPERVISOR),
    "equipment": PlaceRule(_ENGINEER),
    "calibration": PlaceRule(_ENGINEER),
    "artefacts": PlaceRule(_ENGINEER),
    "doctor": PlaceRule(_ENGINEER),
}
# The places that open from the start page.
Area = Literal[
    "results", "monitoring", "users", "backup", "updates", "equipment", "calibration", "artefacts",
    "doctor",
]  # fmt: skip
AREAS: tuple[Area, ...] = get_args(Area)
# Where a sample is worked on.
SAMPLE_PLACES: frozenset[Place] = frozenset(SAMPLE_STEPS) | {"abandon"}
# Steps whose result is stored: abandoning one withdraws it.
STORED_STEPS: frozenset[SampleStep] = frozenset({"result", "review", "sign_off", "done"})


def counted_step(step: SampleStep) -> int:
    """Which of `COUNTED_STEPS` it is, from 1."""
    return next(n for n, steps in enumerate(COUNTED_STEPS, start=1) if step in steps)


def areas_of(role: Role) -> tuple[Area, ...]:
    """What opens from the start page for somebody."""
    return tuple(area for area in AREAS if role in RULES[area].roles)
