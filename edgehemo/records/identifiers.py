"""What results and samples are called."""

from __future__ import annotations

import re
import secrets
from typing import Literal

from edgehemo.errors import RecordsError

# Crockford's base 32: no i, l, o and u, so that it can be read aloud and typed.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_GROUPS, _PER_GROUP = 4, 4
_MISREAD = str.maketrans({"i": "1", "l": "1", "o": "0"})
# The beginning of an identifier that is enough to name a result, where only one begins so.
LEAST_PREFIX = 4
MAX_SAMPLE_CHARACTERS = 64
_SAMPLE = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._/-]{{0,{MAX_SAMPLE_CHARACTERS - 1}}}")

SampleFrom = Literal["typed", "scanned", "drawn"]


def new_result_id() -> str:
    """A new identifier, such as ``4k7q-f3m2-x9ab-c0de``: 80 random bits, so that two kiosks never
    give the same.
    """
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(_GROUPS * _PER_GROUP))
    return "-".join(letters[i : i + _PER_GROUP] for i in range(0, len(letters), _PER_GROUP))


def written(identifier: str) -> str:
    """An identifier, or the beginning of one, in the one way it is written.

    RecordsError for what is none.
    """
    letters = identifier.strip().lower().replace("-", "").translate(_MISREAD)
    if (
        not LEAST_PREFIX <= len(letters) <= _GROUPS * _PER_GROUP
        or set(letters) - set(_ALPHABET)
        or not letters.isascii()
    ):
        raise RecordsError(
            f"{identifier[:40]!r} is no result's identifier; `edgehemo records list` shows them, "
            f"and their first {LEAST_PREFIX} characters or more are enough"
        )
    return "-".join(letters[i : i + _PER_GROUP] for i in range(0, len(letters), _PER_GROUP))


def sample_number(given: str) -> str:
    """A sample's number as it is stored; RecordsError for what may be a person's name.

    Letters, digits and ``. _ / -``, at least one digit, no space.
    """
    text = given.strip()
    if not _SAMPLE.fullmatch(text):
        raise RecordsError(
            f"a stored sample's number has 1 to {MAX_SAMPLE_CHARACTERS} letters, digits and "
            "any of . _ / - and no space"
        )
    if not any(character.isdecimal() for character in text):
        raise RecordsError(
            "a stored sample is called by a number, never by a person's name: give one with a "
            "digit in it, or none, and the device draws one"
        )
    return text


def drawn_number(store: str, number: int) -> str:
    """The sample number that a device draws: the beginning of its store's identifier and a count,
    so that two devices of a laboratory never draw the same.
    """
    return f"{store[:4].upper()}-{number:05d}"
