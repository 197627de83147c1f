"""Lists that are turned over page by page, since nothing scrolls: which page and how many rows an
address asks for, and what of the list stands there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")

# Rows on the smallest screen; the page's script asks for more where they fit.
ROWS, LEAST_ROWS, MOST_ROWS = 5, 3, 24


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a list. number: from 0. pages: how many there are, 1 at least."""

    items: Sequence[Item]
    number: int
    pages: int


def number_in(text: str | None, least: int, most: int) -> int | None:
    """A whole number of an address, brought into its range; None for what is none."""
    if text is None or not (text.isascii() and text.isdecimal()) or len(text) > 9:
        return None
    return min(max(int(text), least), most)


def rows_of(values: Mapping[str, str]) -> int:
    """How many rows a page has."""
    return number_in(values.get("rows"), LEAST_ROWS, MOST_ROWS) or ROWS


def pages_of(count: int, each: int) -> int:
    """How many pages so many things fill."""
    return max(1, -(-count // each))


def page_of(values: Mapping[str, str], count: int, each: int) -> tuple[int, int]:
    """Which page is asked for, from 0, and how many there are of so many things; an address counts
    pages from 1.
    """
    pages = pages_of(count, each)
    return (number_in(values.get("page"), 1, pages) or 1) - 1, pages


def turned_to(items: Sequence[Item], wanted: str, each: int) -> Page[Item]:
    """The page that is asked for, else the nearest there is. wanted: from 0, as an address says."""
    pages = pages_of(len(items), each)
    number = number_in(wanted, 0, pages - 1) or 0
    return Page(items[number * each : (number + 1) * each], number, pages)
