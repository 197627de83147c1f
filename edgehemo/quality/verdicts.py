"""From a measured value and the limits of its check to the check's record."""

from __future__ import annotations

import math
from typing import Literal

from edgehemo.guidance.catalogue import guidance
from edgehemo.guidance.codes import QualityCode
from edgehemo.quality.check import Check, Verdict
from edgehemo.quality.limits import LIMITS

_WORST_FIRST: tuple[Verdict, Verdict] = ("fail", "warn")
Side = Literal["below", "above"]


def judged(
    name: str,
    value: float | None,
    *,
    low: QualityCode | None = None,
    high: QualityCode | None = None,
) -> Check:
    """Judge ``value`` by the limits ``<name>.{fail,warn}_{below,above}`` of the table.

    low, high: the codes for a value below or above them, at least one. A value that is None or NaN
    fails, for what cannot be measured cannot be trusted.
    """
    both: list[tuple[Side, QualityCode | None]] = [("below", low), ("above", high)]
    sides = [(side, code) for side, code in both if code is not None]
    if value is None or not math.isfinite(value):
        return flagged(name, None, nearest_limit(name, 0.0), sides[0][1], "fail")
    for verdict in _WORST_FIRST:
        for side, code in sides:
            entry = LIMITS.get(f"{name}.{verdict}_{side}")
            if entry is None:
                continue
            if value < entry.value if side == "below" else value > entry.value:
                return flagged(name, value, entry.value, code, verdict)
    return Check(name, float(value), nearest_limit(name, value), "pass")


def flagged(
    name: str, value: float | None, limit: float | None, code: QualityCode, verdict: Verdict
) -> Check:
    """The record of a check that did not pass, with the action its code asks for."""
    return Check(
        name=name,
        value=None if value is None else float(value),
        limit=limit,
        verdict=verdict,
        code=code,
        action=guidance(code).action,
    )


def nearest_limit(name: str, value: float) -> float | None:
    """The failing limit of a check that lies nearest to ``value``, else the warning one."""
    for verdict in _WORST_FIRST:
        found = [
            LIMITS[key].value
            for side in ("below", "above")
            if (key := f"{name}.{verdict}_{side}") in LIMITS
        ]
        if found:
            return min(found, key=lambda each: abs(each - value))
    return None
