"""Names and other text of strangers as they may be shown or stored.

A file's name on a stick may hold anything: bytes that are no UTF-8, and sequences that a terminal
takes for commands.
"""

from __future__ import annotations

import re

# Python's stand-ins for bytes that are no UTF-8 (PEP 383), and any other half of a character.
_HALF = re.compile("[\ud800-\udfff]")
# Control characters (C0, DEL, C1) and those that turn the direction of writing round; lines and
# tabs are kept.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def well_formed(text: str) -> str:
    r"""Text that UTF-8 can hold: a byte that is none is written as ``\xe9``."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return _HALF.sub(lambda half: _escaped(half.group()), text)
    return text


def for_terminal(text: str) -> str:
    """Text that a terminal shows and does not obey; lines and tabs stay."""
    return _CONTROL.sub(lambda control: _escaped(control.group()), well_formed(text))


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
