"""What is sent: bytes, and an identity that follows from what they say."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from edgehemo.device.receivers import WithheldRule
from edgehemo.records.results import StoredResult
from edgehemo.records.store import Reader


@dataclass(frozen=True, slots=True)
class Message:
    """One version of a result for one receiver. identity: follows from the content, so that a
    receiver knows a message that comes twice. media_type: as HTTP says it.
    """

    identity: str
    media_type: str
    body: bytes

    @property
    def sha256(self) -> str:
        """Of the bytes."""
        return hashlib.sha256(self.body).hexdigest()


@dataclass(frozen=True, slots=True)
class Told:
    """What an encoder may take from. result: as it was at the version that is told, which is its
    latest. reader: the records. identified: with numbers and names as they are stored. withheld:
    how that is told which is not given.
    """

    result: StoredResult
    reader: Reader
    identified: bool
    withheld: WithheldRule = "report"


# Makes the message of a version; EdgeHemoError where it cannot.
Encoder = Callable[[Told], Message]
