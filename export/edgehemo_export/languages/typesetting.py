"""Spaces that must not break a line: translators type plain ones, devices read the others."""

from __future__ import annotations

import re
from collections.abc import Callable

NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"
# French sets a space before these marks and inside its quotation marks. At the end of a line it
# would leave the mark alone on the next.
_FRENCH = (
    (re.compile(r"(?<=\S) (?=[:;?!»])"), NO_BREAK_SPACE),
    (re.compile("« "), f"«{NO_BREAK_SPACE}"),
)


def _french(text: str) -> str:
    for space, kept in _FRENCH:
        text = space.sub(kept, text)
    return text


TYPESET: dict[str, Callable[[str], str]] = {"fr": _french}


def typeset(text: str, language: str) -> str:
    """A language's text as it is shown."""
    return TYPESET.get(language, str)(text)
