"""Why a supervisor changes a result: one table of reasons for each change.

A reason is stored as its code, with the person's own words after a colon; `reason_in_words` says
it in the language of whoever reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from edgehemo.kiosk.events import ABANDON_REASONS, OVERRIDE_REASONS
from edgehemo.kiosk.pages import override_reason_name, reason_name
from edgehemo.words.language import Words

# What a page of the results offers; `correct` sets another grade.
Deed = Literal["sign", "hold", "release", "correct", "withdraw"]
# A reason that asks for words.
OTHER = "other"
REASONS: Mapping[Deed, tuple[str, ...]] = {
    "sign": (),
    "hold": ("control_failed", "number_in_doubt", "does_not_fit", OTHER),
    "release": ("confirmed", "mended", "by_mistake", OTHER),
    "correct": OVERRIDE_REASONS,
    "withdraw": ("wrong_sample", "poor_smear", "measured_again", OTHER),
}


def deed_reason_name(words: Words, reason: str) -> str:
    """A reason in words."""
    _ = words._
    own = {
        "control_failed": _("The control slide failed"),
        "number_in_doubt": _("The sample number is in doubt"),
        "does_not_fit": _("It does not fit the person"),
        "confirmed": _("A laboratory confirmed it"),
        "mended": _("The cause was found and mended"),
        "by_mistake": _("It was held by mistake"),
        "measured_again": _("The sample was measured again"),
    }
    if reason in own:
        return own[reason]
    for known in ABANDON_REASONS:
        if reason == known:
            return reason_name(words, known)
    for each in OVERRIDE_REASONS:
        if reason == each:
            return override_reason_name(words, each)
    return reason


def said_reason(reason: str, own_words: str) -> str:
    """A reason as it is stored."""
    return ": ".join(part for part in (reason, own_words.strip()) if part)


def reason_in_words(words: Words, stored: str) -> str:
    """A stored reason, for whoever reads it; what a person wrote stays as they wrote it."""
    code, colon, rest = stored.partition(": ")
    name = deed_reason_name(words, code)
    if not colon:
        return name
    return rest if code == OTHER else f"{name}: {rest}"
