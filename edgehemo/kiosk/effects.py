"""What the flow has the device do; each ends in an event that comes back."""

from __future__ import annotations

from dataclasses import dataclass

from edgehemo.kiosk.events import AbandonReason


@dataclass(frozen=True, slots=True)
class Effect:
    """Base of all effects. ref: of the sample it concerns, None for none."""

    ref: int | None = None


@dataclass(frozen=True, slots=True)
class NoteSignOut(Effect):
    """Enter into the chain that somebody left. why: empty where they said so themselves."""

    name: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class DrawANumber(Effect):
    """Ends in NumberDrawn."""


@dataclass(frozen=True, slots=True)
class RunSelfCheck(Effect):
    """Ends in SelfChecked."""


@dataclass(frozen=True, slots=True)
class Capture(Effect):
    """Begin the sample where the records do not know it, and take its fields from where it is.

    Ends in SampleBegun, FieldRead and EnoughFields, or in a fault.
    """


@dataclass(frozen=True, slots=True)
class StopCapture(Effect):
    """Let go of the camera; every field is on the disk already."""


@dataclass(frozen=True, slots=True)
class Analyse(Effect):
    """Pool the fields and store the result; ends in Analysed."""


@dataclass(frozen=True, slots=True)
class KeepReview(Effect):
    """Store a person's word on a cell, in the transaction of the state. taking: None in practice.
    type: None confirms.
    """

    taking: str | None = None
    item: int = 0
    type: str | None = None
    by: str = ""


@dataclass(frozen=True, slots=True)
class SignResult(Effect):
    """Store the signed version; ends in Signed."""

    grade: str | None = None
    reason: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class GiveUp(Effect):
    """Abandon what the records know of a sample, or withdraw its result."""

    taking: str | None = None
    has_result: bool = False
    reason: AbandonReason = "other"
    words: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class RestartWorker(Effect):
    """Start the process that captures and analyses again; ends in FaultCleared or WorkerEnded."""
