"""Why no result is given, and what to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Withheld:
    """Why a sample has no result, and what the operator can do."""

    reason: str
    action: str
