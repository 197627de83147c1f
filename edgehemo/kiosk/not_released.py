"""What must be known before a stored result leaves the device: that it is held, withdrawn, marked
by a failed control slide, or that nobody has signed it. The report's banners and the QR code say so
too, so that a paper that is given away still says it.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgehemo.records.controls import control_mark
from edgehemo.records.results import StoredResult
from edgehemo.records.store import Reader
from edgehemo.words.language import Words


@dataclass(frozen=True, slots=True)
class NotReleased:
    """title: what it is. meaning: what handing it out would mean."""

    title: str
    meaning: str


def not_released(reader: Reader, result: StoredResult, words: Words) -> NotReleased | None:
    """Why a result should not be handed out as it stands; None of one that is good."""
    _ = words._
    state = result.latest.state
    if state == "withdrawn":
        return NotReleased(
            _("This result is withdrawn."),
            _("It must never be used. What is handed out says so in large letters."),
        )
    if state == "held":
        return NotReleased(
            _("This result is held."),
            _("Do not use it before it is released. What is handed out says so in large letters."),
        )
    if control_mark(reader, result) is not None:
        return NotReleased(
            _("A control slide failed after this result."),
            _("Confirm it before it is used. What is handed out says so in large letters."),
        )
    if state == "unsigned":
        return NotReleased(
            _("Nobody has signed this result."),
            _("What is handed out says that it is preliminary."),
        )
    return None
