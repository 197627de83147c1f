"""Small pieces of Markdown that every generated page is put together from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

_LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s]+)(\))")


def cell(text: object) -> str:
    """Text for a cell of a table: on one line, its bars escaped."""
    return " ".join(str(text).split()).replace("|", "\\|")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the cells are Markdown already (see `cell`)."""
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def code(text: object) -> str:
    """Text in code type, for a cell of a table."""
    escaped = cell(text)
    return f"`` {escaped} ``" if "`" in escaped else f"`{escaped}`"


def relinked(text: str, links: Mapping[str, str]) -> str:
    """Markdown whose links to the keys go to the values; all other links stay as they are."""

    def linked(match: re.Match[str]) -> str:
        before, target, after = match.groups()
        path, hash_, anchor = target.partition("#")
        return f"{before}{links.get(path, path)}{hash_}{anchor}{after}"

    return _LINK.sub(linked, text)
