"""PINs: hashed by Argon2id so that a copied store does not give them away."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from edgehemo.errors import MissingDependencyError, RecordsError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

# 16 MiB and three passes on one lane: some 0.1 s of a Raspberry Pi's time for each try.
MEMORY_KIB, PASSES, LANES = 16 * 1024, 3, 1
SHORTEST, LONGEST = 4, 12
# Digits alone, and enough of them; not a row of them, which is guessed first.
PinFault = Literal["length", "easy"]
_DIGITS = re.compile(rf"[0-9]{{{SHORTEST},{LONGEST}}}")
# Wrong tries before a pause, the first pause and the longest, in seconds; each is twice the last.
FREE_TRIES = 3
FIRST_PAUSE_S, LONGEST_PAUSE_S = 30, 3600


def pin_fault(pin: str) -> PinFault | None:
    """What is wrong with a new PIN; None where it will do."""
    if not _DIGITS.fullmatch(pin):
        return "length"
    steps = {int(b) - int(a) for a, b in pairwise(pin)}
    return "easy" if len(steps) == 1 and steps <= {-1, 0, 1} else None


def hashed(pin: str) -> str:
    """The hash of a new PIN. RecordsError for one that is too short or too easy."""
    fault = pin_fault(pin)
    if fault == "length":
        raise RecordsError(f"a PIN has {SHORTEST} to {LONGEST} digits and nothing else")
    if fault == "easy":
        raise RecordsError("this PIN is guessed first: use other digits than a row of them")
    return str(_hasher().hash(pin))


def fits(pin: str, known: str) -> bool:
    """Whether a PIN is the one that was hashed."""
    from argon2.exceptions import InvalidHashError, VerificationError  # noqa: PLC0415  see _hasher

    try:
        return bool(_hasher().verify(known, pin))
    except (VerificationError, InvalidHashError):
        return False


def pause_s(wrong: int) -> int:
    """How long after the last wrong try no other is taken, in seconds; wrong: tries in a row."""
    if wrong < FREE_TRIES:
        return 0
    return int(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(wrong - FREE_TRIES, 20)))


def _hasher() -> PasswordHasher:
    # A device without a kiosk has no users and does without the library.
    try:
        from argon2 import PasswordHasher  # noqa: PLC0415
    except ModuleNotFoundError:
        raise MissingDependencyError(
            'PINs need argon2-cffi, which is not installed: pip install ".[kiosk]" in the folder '
            "of the source"
        ) from None
    return PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
