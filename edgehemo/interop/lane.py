"""One receiver's messages on their way: made, sent in turns, settled. A thread each, so that a slow
receiver holds up no other.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from edgehemo.device.receiver_files import ReceiverFileError, not_installed
from edgehemo.device.receivers import Receiver
from edgehemo.errors import RecordsError, place_of
from edgehemo.interop.access import Access
from edgehemo.interop.formats import FORMATS
from edgehemo.interop.outbox import Row, made, message_body, missed, row_of, settle, waiting_of
from edgehemo.interop.receivers import DOORS
from edgehemo.interop.receivers.door import Door, Kiosk, Parcel
from edgehemo.interop.states import Answer, Failed, NotMade, Refused, Stored
from edgehemo.interop.turns import Patience, next_turn
from edgehemo.records.deidentified import View

log = logging.getLogger(__name__)

OpenDoor = Callable[[Receiver, Kiosk], Door]


class Lane:
    """One receiver. device: what this device is called. moved: called when something was settled.
    open_door, clock, jitter: for tests.
    """

    def __init__(
        self,
        receiver: Receiver,
        access: Access,
        device: str,
        *,
        open_door: OpenDoor | None = None,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        self.receiver = receiver
        self.delivered = self.refused = self.failed = 0
        self._access = access
        self._device = device
        self._facts = DOORS[receiver.kind]
        self._open_door = open_door or self._facts.open
        self._clock = clock
        self._jitter = jitter
        self._moved = moved
        self._door: Door | None = None
        self._patience = Patience()
        self._paused_until = 0.0

    def hurry(self) -> None:
        """Leave no receiver alone any more: a person asked for it to be tried."""
        self._paused_until = 0.0

    def turn(self) -> float | None:
        """Send what is next. How long to wait until there is more to do: 0 for at once, None where
        nothing is open.
        """
        if (pause_s := self._paused_until - time.monotonic()) > 0:
            return pause_s
        with self._access.reading() as reader:
            waiting = waiting_of(reader, self.receiver.name)
        now_s = self._clock()
        turn = next_turn(waiting, now_s, most=self._facts.most, most_bytes=self._facts.most_bytes)
        if not turn.numbers:
            self.close()
            return turn.wait_s
        parcels = self._parcels(turn.numbers, now_s)
        if not parcels:
            return 0.0
        answers = self._handed(parcels)
        with self._access.writing() as writer:
            # A door that stopped has answers for the first of them only.
            pairs = zip((parcel.number for parcel in parcels), answers, strict=False)
            settle(writer, pairs, now_s=self._clock(), jitter=self._jitter())
            if self._door is not None and (spans := self._door.missing()):
                called = self.receiver.name
                again = missed(writer, called, spans, now_s=self._clock())
                if again:
                    log.warning("%s lost %d messages; sent again", called, len(again))
        self._tell(parcels, answers)
        self._moved()
        self._patience = self._patience.after(answers)
        pause_s = self._patience.pause_s(self._jitter())
        self._paused_until = time.monotonic() + pause_s
        return pause_s

    def close(self) -> None:
        """Let go of the connection."""
        if self._door is not None:
            door, self._door = self._door, None
            door.close()

    def _parcels(self, numbers: Sequence[int], now_s: float) -> list[Parcel]:
        """The messages of rows, made where they are not; those that cannot be are settled."""
        rows = self._made(numbers, now_s)
        parcels: list[Parcel] = []
        damaged: list[tuple[int, Answer | NotMade]] = []
        size, most_bytes = 0, self._facts.most_bytes
        with self._access.reading() as reader:
            for row in rows:
                if row.standing.state not in ("pending", "retrying"):
                    continue
                size += row.bytes or 0
                if parcels and most_bytes is not None and size > most_bytes:
                    break
                try:
                    parcels.append(_parcel(row, message_body(reader, row)))
                except RecordsError as error:
                    damaged.append((row.number, NotMade("MESSAGE_DAMAGED", str(error))))
        if damaged:
            with self._access.writing() as writer:
                settle(writer, damaged, now_s=now_s, jitter=0.0)
        return parcels

    def _made(self, numbers: Sequence[int], now_s: float) -> list[Row]:
        with self._access.reading() as reader:
            rows = [row_of(reader, number) for number in numbers]
        if all(row.standing.state != "noted" for row in rows):
            return rows
        with self._access.writing() as writer:
            return [
                made(writer, row, self.receiver, now_s=now_s)
                if row.standing.state == "noted"
                else row
                for row in rows
            ]

    def _handed(self, parcels: Sequence[Parcel]) -> list[Answer]:
        """What the receiver says, of the first of them at least. A fault of ours is an answer too,
        so that the lane goes on.
        """
        failed: Answer
        try:
            if self._door is None:
                self._door = self._open_door(self.receiver, self._kiosk())
            answers = self._door.send(parcels)
            if 0 < len(answers) <= len(parcels):
                return answers
            failed = Failed("SENDING_FAULT", f"{len(answers)} answers to {len(parcels)} messages")
        except ReceiverFileError as error:
            failed = Failed("RECEIVER_FILES_WRONG", str(error))
        except ModuleNotFoundError as error:
            failed = Failed("RECEIVER_FILES_WRONG", not_installed(str(error.name)))
        except Exception as error:
            # Not the message of the exception: it may hold a patient's data.
            log.error(
                "sending by %s: %s at %s",
                self.receiver.kind,
                type(error).__name__,
                place_of(error),
            )
            failed = Failed("SENDING_FAULT", f"{type(error).__name__} at {place_of(error)}")
        self.close()
        return [failed] * len(parcels)

    def _kiosk(self) -> Kiosk:
        """Who sends, as this receiver may know it."""
        with self._access.reading() as reader:
            view = View.of(reader, identified=self.receiver.identified)
            return Kiosk(store=reader.id, device=view.name("device", self._device) or "")

    def _tell(self, parcels: Sequence[Parcel], answers: Sequence[Answer]) -> None:
        """Into the log: numbers and codes, never words, which may hold a patient's data."""
        for parcel, answer in zip(parcels, answers, strict=False):
            receiver, number = self.receiver.name, parcel.number
            if isinstance(answer, Stored):
                self.delivered += 1
                log.info("%s has received outbox number %d", receiver, number)
            elif isinstance(answer, Refused):
                self.refused += 1
                log.warning("%s refused outbox number %d: %s", receiver, number, answer.code)
            else:
                self.failed += 1
                log.info("%s did not take outbox number %d: %s", receiver, number, answer.code)


def _parcel(row: Row, body: bytes) -> Parcel:
    assert row.identity is not None and row.sha256 is not None and row.format is not None
    facts = FORMATS[row.format]
    return Parcel(
        number=row.number,
        sequence=row.sequence,
        result_id=row.result_id,
        version=row.version,
        identity=row.identity,
        sha256=row.sha256,
        media_type=facts.media_type,
        suffix=facts.suffix,
        body=body,
    )


@contextmanager
def lanes_of(receivers: Sequence[Receiver], access: Access, device: str) -> Iterator[list[Lane]]:
    """A lane for each receiver that gets results; their connections are closed at the end."""
    lanes = [Lane(each, access, device) for each in receivers if each.takes is not None]
    try:
        yield lanes
    finally:
        for lane in lanes:
            lane.close()
