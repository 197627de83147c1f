"""Stored reasons and advice in the reader's language.

A result stores its reasons in English, their values in place. In English they are told as they are;
in another language by what their code means, for a sentence with values cannot be taken apart.
"""

from __future__ import annotations

import re
import string
from functools import lru_cache

from edgehemo.guidance.catalogue import SOURCE_LANGUAGE, catalogue
from edgehemo.words.language import Words


def sentence(text: str) -> str:
    """With a capital at the beginning and a full stop at the end."""
    text = text.strip()
    if not text:
        return text
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def told(words: Words, reason: str, code: str | None = None) -> str:
    """A stored reason as a sentence. code: of the guidance catalogue, where it is stored beside."""
    if words.language == SOURCE_LANGUAGE:
        return sentence(reason)
    known = code if code in catalogue() else code_of(reason)
    if known is None:
        return sentence(reason)
    said = words.guidance(known)
    return sentence(said.meaning if said.kind == "withheld" else said.title)


def advised(words: Words, action: str) -> str:
    """A stored advice as a sentence; one with values in it stays in English."""
    return sentence(words.known(action))


@lru_cache(maxsize=256)
def code_of(reason: str) -> str | None:
    """The code whose reason this is, its values in place; None where there is none."""
    return next((code for code, pattern in _patterns() if pattern.fullmatch(reason)), None)


@lru_cache(maxsize=1)
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Most words first: a reason that is all place would take in every other."""
    found = []
    for code, entry in catalogue().items():
        if not entry.reason:
            continue
        parts = list(string.Formatter().parse(entry.reason))
        fixed = sum(len(text) for text, *_ in parts)
        pattern = "".join(
            re.escape(text) + ("" if name is None else ".+") for text, name, *_ in parts
        )
        if fixed >= 4:
            found.append((fixed, code, re.compile(pattern, re.DOTALL)))
    found.sort(key=lambda item: -item[0])
    return tuple((code, pattern) for _, code, pattern in found)
