"""A check of a control slide, judged against this device's own history, and as a page shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgehemo.control.check import checked
from edgehemo.control.history import (
    Clearance,
    ControlCheck,
    checks_since_clearance,
)
from edgehemo.control.repeatability import Run
from edgehemo.errors import ProfileError
from edgehemo.kiosk.engineering.measured_view import MeasuredView, quantity_name
from edgehemo.kiosk.engineering.profile_view import Fact
from edgehemo.profile.parts import ControlSlide
from edgehemo.profile.profile import CalibrationProfile
from edgehemo.records.controls import stored_controls
from edgehemo.records.store import Reader
from edgehemo.words.language import Words


def judged_again(
    document: Mapping[str, Any],
    target: ControlSlide,
    profile: CalibrationProfile,
    history: Sequence[ControlCheck | Clearance],
) -> ControlCheck:
    """A check whose pictures another process measured, judged with the checks before it.

    document: the check as the command wrote it, which knew of none before.
    """
    alone = ControlCheck.model_validate(dict(document))
    run = Run(alone.slide, alone.values, alone.fields, alone.refused)
    check = checked(run, target, history, profile_sha256=profile.digest(), at=alone.at)
    # Why no field was accepted knows only who read them.
    reason = alone.reason if not alone.fields else check.reason
    return check.model_copy(update={"reason": reason, "pictures": alone.pictures})


def failed_checks(
    reader: Reader, profile: CalibrationProfile, path: Path
) -> tuple[ControlCheck, ...]:
    """The failed checks that were not cleared; none where the history cannot be read, of which the
    self-check tells.
    """
    try:
        history = stored_controls(reader, profile)
    except ProfileError:
        return ()
    return tuple(check for check in checks_since_clearance(history) if not check.passed)


def check_view(check: ControlCheck, profile: CalibrationProfile, words: Words) -> MeasuredView:
    """What was measured, each in standard deviations from its target, and the verdict."""
    _ = words._
    broken = {violation.quantity: violation.rule for violation in check.violations}
    facts = []
    for quantity, deviation in check.deviations.items():
        sign = "+" if deviation >= 0 else "−"
        said = f"{sign}{words.number(abs(deviation), 1)} SD"
        if quantity in broken:
            said += f" ({broken[quantity]})"
        facts.append(
            Fact(quantity_name(words, quantity), said, "fails" if quantity in broken else "good")
        )
    facts.append(Fact(_("Fields accepted"), f"{check.fields} / {check.fields + check.refused}"))
    if check.passed:
        return MeasuredView(_("passed"), facts)
    warning = _("When it is kept, results are withheld until the cause is found and noted.")
    return MeasuredView(_("failed"), facts, (), warning)
