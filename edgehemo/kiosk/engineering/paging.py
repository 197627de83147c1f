"""Lists that are turned over page by page: nothing scrolls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a list. number: from 0. pages: how many there are, 1 at least."""

    items: Sequence[Item]
    number: int
    pages: int


def page_of(items: Sequence[Item], wanted: str, room: int) -> Page[Item]:
    """The page that is asked for, else the nearest there is. room: items of one page."""
    pages = max(1, -(-len(items) // room))
    number = min(max(0, whole_number(wanted)), pages - 1)
    return Page(items[number * room : (number + 1) * room], number, pages)


def whole_number(text: str, default: int = 0) -> int:
    """What an address says, where it is a number of a few digits."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 7 else default


def asked_for(values: Mapping[str, str], name: str) -> str:
    """What an address or a form says under a name; empty where it says nothing."""
    return values.get(name, "")
