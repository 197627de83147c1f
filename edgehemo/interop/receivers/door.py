"""What every kind of receiver is to the sender: a door that messages are handed through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from edgehemo.interop.states import Answer, Failed


@dataclass(frozen=True, slots=True)
class Kiosk:
    """Who sends. store: identifier of the records. device: what the device is called."""

    store: str
    device: str


@dataclass(frozen=True, slots=True)
class Parcel:
    """One message on its way. sequence: counts what is noted for its receiver. suffix: of a file
    that holds it. The rest is as its row has it.
    """

    number: int
    sequence: int
    result_id: str
    version: int
    identity: str
    sha256: str
    media_type: str
    suffix: str
    body: bytes


class Door(Protocol):
    """A receiver that is spoken to. Used by one thread. Raises nothing for what a receiver or the
    way to it does: that is an answer.
    """

    def send(self, parcels: Sequence[Parcel]) -> list[Answer]:
        """Hand over messages of different results; an answer each, in their order. Fewer where it
        stopped at one that failed: the others were not tried.
        """

    def missing(self) -> Sequence[tuple[int, int]]:
        """Numbers, from first to last, that the receiver says never came; empty of one that does
        not count.
        """

    def close(self) -> None:
        """Let go of the connection; the next message opens another."""


def one_by_one(send: Callable[[Parcel], Answer], parcels: Sequence[Parcel]) -> list[Answer]:
    """The answers of a door that takes one message at a time; the first failure ends it."""
    answers: list[Answer] = []
    for parcel in parcels:
        answers.append(send(parcel))
        if isinstance(answers[-1], Failed):
            break
    return answers
