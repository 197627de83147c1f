"""Whoever makes the acceptance, as the checks speak with them."""

from __future__ import annotations

from typing import Protocol


class Person(Protocol):
    """Says and asks in the terminal; in tests, answers are given."""

    def say(self, line: str) -> None: ...

    def yes(self, question: str) -> bool:
        """A question that is answered with yes or no."""
        ...

    def number(self, question: str) -> float | None:
        """A number; None where they have none."""
        ...

    def ready(self, what: str) -> bool:
        """Asks to do something and waits; False where they leave this check out."""
        ...


class NotPossibleError(Exception):
    """This check cannot be done here; the message says why."""
