"""A new PIN that is typed twice: its rule, said before, and what is wrong with one."""

from __future__ import annotations

from collections.abc import Mapping

from edgehemo.records.pins import LONGEST, SHORTEST, pin_fault
from edgehemo.words.language import Words


def pin_rule(words: Words) -> str:
    """What a new PIN must be, said before it is typed."""
    return words._(
        "{least} to {most} digits, no row such as 1234 or 0000.", least=SHORTEST, most=LONGEST
    )


def pin_problem(values: Mapping[str, str], words: Words) -> str:
    """What is wrong with a new PIN that was typed twice; empty where it will do."""
    _ = words._
    pin = values.get("pin", "")
    fault = pin_fault(pin)
    if fault == "length":
        return _("A PIN has {least} to {most} digits.", least=SHORTEST, most=LONGEST)
    if fault == "easy":
        return _("This PIN is too easy: a row such as 1234 or 0000 is guessed first.")
    if values.get("again", "") != pin:
        return _("The two PINs are not the same.")
    return ""
