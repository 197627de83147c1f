"""Text of the guidance on a page: commands in it are set as commands."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

_COMMAND = re.compile(r"`([^`]+)`")


def prose(text: str) -> Markup:
    """HTML of a text, escaped; what stands between backticks becomes ``<code>``."""
    from markupsafe import Markup, escape  # noqa: PLC0415 - with the first page

    pieces = _COMMAND.split(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if number % 2 else escape(piece)
        for number, piece in enumerate(pieces)
    )
