"""What the kiosk's pages say of where results are: noted here, received there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgehemo.guidance.catalogue import catalogue
from edgehemo.interop.outbox import Delivery, Outgoing
from edgehemo.words.language import Words

# How a page marks it: `waiting` needs nobody, `refused` needs a person.
Mark = Literal["received", "waiting", "refused"]
# The worst first.
_ORDER: tuple[Mark, ...] = ("refused", "waiting", "received")
# Lines that fit beside the rest of a page.
MOST_LINES = 3


@dataclass(frozen=True, slots=True)
class DeliveryLine:
    """One receiver of a result. text: where the result is. why: what is wrong, empty where
    nothing is.
    """

    receiver: str
    mark: Mark
    text: str
    why: str = ""


def mark_of(delivery: Delivery) -> Mark:
    """How a page marks a result's standing with one receiver."""
    if delivery.received:
        return "received"
    return "refused" if delivery.state == "refused" else "waiting"


def mark_words(words: Words, mark: Mark) -> str:
    """A mark in two words."""
    if mark == "received":
        return words._("Received there")
    return words._("Refused there") if mark == "refused" else words._("Noted here")


def delivery_lines(words: Words, deliveries: Sequence[Delivery]) -> list[DeliveryLine]:
    """A line a receiver, for the page of one result: what needs a person first, and not more of
    them than fit.
    """
    lines = []
    for each in sorted(deliveries, key=lambda each: _ORDER.index(mark_of(each)))[:MOST_LINES]:
        mark = mark_of(each)
        why = "" if each.code is None else words._(catalogue()[each.code].title)
        lines.append(DeliveryLine(each.receiver, mark, mark_words(words, mark), why))
    return lines


def delivery_mark(deliveries: Sequence[Delivery]) -> Mark | None:
    """One mark for a row of a list: the worst of them; None where it was noted for nobody."""
    marks = {mark_of(each) for each in deliveries}
    return next((mark for mark in _ORDER if mark in marks), None)


def waiting_words(words: Words, outgoing: Outgoing) -> str:
    """How many results wait to be sent, for the status line; empty where none does."""
    if not outgoing.waiting:
        return ""
    return words.n_("{n} to be sent", "{n} to be sent", outgoing.waiting)


def refused_words(words: Words, outgoing: Outgoing) -> str:
    """How many results a receiver refused, for the status line; empty where none."""
    if not outgoing.refused:
        return ""
    return words.n_("{n} refused there", "{n} refused there", outgoing.refused)
