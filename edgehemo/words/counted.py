"""English counts, for what has no catalogue, such as commands: "1 result", "3 results"."""

from __future__ import annotations


def counted(count: int, one: str, many: str | None = None) -> str:
    """A count with its noun. one, many: the noun; many is one with an s where it is None."""
    return f"{count} {one if count == 1 else many or one + 's'}"
