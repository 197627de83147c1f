"""Which part of a list is shown: the page and the rows that an address asks for."""

from __future__ import annotations

from collections.abc import Mapping

# Rows on the smallest screen; the page's script asks for more where they fit.
ROWS, LEAST_ROWS, MOST_ROWS = 5, 3, 24


def number_in(text: str | None, least: int, most: int) -> int | None:
    """A whole number of an address, brought into its range; None for what is none."""
    if text is None or not (text.isascii() and text.isdecimal()) or len(text) > 9:
        return None
    return min(max(int(text), least), most)


def rows_of(values: Mapping[str, str]) -> int:
    """How many rows a page has."""
    return number_in(values.get("rows"), LEAST_ROWS, MOST_ROWS) or ROWS


def page_of(values: Mapping[str, str], count: int, each: int) -> tuple[int, int]:
    """Which page is asked for, from 0, and how many there are of so many things."""
    pages = max(1, -(-count // each))
    return (number_in(values.get("page"), 1, pages) or 1) - 1, pages
