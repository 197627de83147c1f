"""What `edgehemo outbox` writes as JSON."""

from __future__ import annotations

from typing import Literal

from edgehemo.device.receivers import MessageFormat, Receiver, ReceiverKind
from edgehemo.files.strict import Count, Record, Sha256
from edgehemo.guidance.codes import SendingCode
from edgehemo.interop.laboratory import PicturesRule
from edgehemo.interop.outbox import Row
from edgehemo.interop.states import State

Whereabouts = Literal["noted here", "received there", "refused there"]


def whereabouts(state: State) -> Whereabouts:
    """The two things that people want to know, in words."""
    if state == "delivered":
        return "received there"
    return "refused there" if state == "refused" else "noted here"


class OutboxEntry(Record, frozen=True, kw_only=True):
    """One version of a result and one receiver. number: what `show` and `retry` take. sequence:
    counts what was noted for this receiver. whereabouts: of the message. attempts: that failed.
    next_at_s: an open message is not sent before, seconds since 1970. code: what is wrong. said:
    the receiver's words. identity, sha256, bytes, format: of the message, null until it is made.
    """

    number: Count
    receiver: str
    sequence: Count
    result_id: str
    version: Count
    state: State
    whereabouts: Whereabouts
    noted_at: str
    tried_at: str | None
    settled_at: str | None
    attempts: Count
    next_at_s: float | None
    code: SendingCode | None
    said: str
    format: MessageFormat | None
    identity: str | None
    sha256: Sha256 | None
    bytes: Count | None

    @classmethod
    def of(cls, row: Row) -> OutboxEntry:
        standing = row.standing
        same = (
            "number", "receiver", "sequence", "result_id", "version", "noted_at", "tried_at",
            "settled_at", "format", "identity", "sha256", "bytes",
        )  # fmt: skip
        return cls(
            **{name: getattr(row, name) for name in same},
            state=standing.state,
            whereabouts=whereabouts(standing.state),
            attempts=standing.attempts,
            next_at_s=standing.next_at_s if standing.state in ("pending", "retrying") else None,
            code=standing.code,
            said=standing.said,
        )


class StateCounts(Record, frozen=True, kw_only=True):
    """How many messages are in each state."""

    noted: Count = 0
    pending: Count = 0
    retrying: Count = 0
    delivered: Count = 0
    refused: Count = 0


class ReceiverEntry(Record, frozen=True, kw_only=True):
    """One receiver. configured: whether it stands in the device configuration; nothing is sent to
    one that does not. kind, address, format: null where it does not. problems: with the files it
    names.
    """

    name: str
    configured: bool
    kind: ReceiverKind | None
    address: str | None
    format: MessageFormat | None
    problems: list[str]
    messages: StateCounts

    @classmethod
    def of(
        cls, name: str, receiver: Receiver | None, problems: list[str], counted: dict[State, int]
    ) -> ReceiverEntry:
        return cls(
            name=name,
            configured=receiver is not None,
            kind=None if receiver is None else receiver.kind,
            address=None if receiver is None else receiver.address,
            format=None if receiver is None else receiver.takes,
            problems=problems,
            messages=StateCounts(**counted),
        )


class OutboxOutput(Record, frozen=True, kw_only=True):
    """Receivers, and messages of what was asked for, newest first. found: how many there are of
    them, shown here or not.
    """

    schema: Literal["edgehemo.outbox/1"] = "edgehemo.outbox/1"
    receivers: list[ReceiverEntry]
    found: Count
    messages: list[OutboxEntry]


class OutboxShowOutput(Record, frozen=True, kw_only=True):
    """The messages of one result, or one of them. actions: number -> what to do, of each that has
    a code.
    """

    schema: Literal["edgehemo.outbox-show/1"] = "edgehemo.outbox-show/1"
    messages: list[OutboxEntry]
    actions: dict[str, str]


class OutboxRetryOutput(Record, frozen=True, kw_only=True):
    """What will be sent again. by_sender: the sender that runs was told and does it; then nobody
    knows yet which of them had been delivered meanwhile.
    """

    schema: Literal["edgehemo.outbox-retry/1"] = "edgehemo.outbox-retry/1"
    numbers: list[Count]
    by_sender: bool


class OutboxEnrolOutput(Record, frozen=True, kw_only=True):
    """This device was enrolled at a laboratory. receiver: what it is called here. kiosk, site: what
    the laboratory calls this device. identified: whether results are sent with names. pictures:
    which of them the laboratory wants.
    """

    schema: Literal["edgehemo.outbox-enrol/1"] = "edgehemo.outbox-enrol/1"
    receiver: str
    address: str
    kiosk: str
    site: str
    identified: bool
    pictures: PicturesRule


class LaneEntry(Record, frozen=True, kw_only=True):
    """What came of one receiver's messages in a run. failed: tries that did. waiting: what is
    still open.
    """

    receiver: str
    delivered: Count
    refused: Count
    failed: Count
    waiting: Count


class OutboxSendOutput(Record, frozen=True, kw_only=True):
    """What came of one run of sending."""

    schema: Literal["edgehemo.outbox-send/1"] = "edgehemo.outbox-send/1"
    receivers: list[LaneEntry]
