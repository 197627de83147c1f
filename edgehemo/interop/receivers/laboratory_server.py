"""The laboratory over HTTPS: batches, and receipts that name what is stored."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edgehemo.device.receivers import Receiver
from edgehemo.errors import UsageError
from edgehemo.interop.laboratory import (
    PATH,
    Batch,
    Item,
    ReceiptItem,
    Span,
    packed_batch,
    receipt_of,
)
from edgehemo.interop.receivers.door import Kiosk, Parcel
from edgehemo.interop.receivers.https import HttpAnswer, HttpRoad, of_the_receiver
from edgehemo.interop.states import Answer, Failed, Refused, Stored
from edgehemo.records.clock import now
from edgehemo.version import __version__

_HEADERS = {"content-type": "application/json", "content-encoding": "gzip"}


class LaboratoryDoor:
    """One laboratory. Raises ReceiverFileError where the receiver's files are wrong."""

    def __init__(self, receiver: Receiver, kiosk: Kiosk) -> None:
        self._kiosk = kiosk
        self._url = receiver.address.rstrip("/") + PATH
        self._road = HttpRoad(receiver)
        self._missing: Sequence[Span] = ()

    def send(self, parcels: Sequence[Parcel]) -> list[Answer]:
        answer = self._road.post(self._url, packed_batch(self._batch(parcels)), _HEADERS)
        if isinstance(answer, Failed):
            return [answer] * len(parcels)
        if (failed := of_the_receiver(answer)) is not None:
            return [failed] * len(parcels)
        if answer.status != 200:
            return self._refused(parcels, answer)
        try:
            receipt = receipt_of(answer.content)
        except UsageError as error:
            return [Failed("ANSWER_UNREADABLE", str(error))] * len(parcels)
        self._missing = receipt.missing
        named = {item.identity: item for item in receipt.items}
        return [_answer(parcel, named.get(parcel.identity)) for parcel in parcels]

    def _refused(self, parcels: Sequence[Parcel], answer: HttpAnswer) -> list[Answer]:
        """One bad result makes a whole batch be refused: find it, and let the others go."""
        if len(parcels) > 1:
            half = len(parcels) // 2
            first = self.send(parcels[:half])
            return first + self.send(parcels[half:])
        words = f"HTTP {answer.status}: {answer.text[:1000]}"
        if answer.status == 413:
            return [Refused("MESSAGE_TOO_LARGE", words)]
        return [Refused("MESSAGE_REFUSED", words)]

    def _batch(self, parcels: Sequence[Parcel]) -> Batch:
        return Batch(
            store=self._kiosk.store,
            device=self._kiosk.device,
            software_version=__version__,
            sent_at=now().isoformat(timespec="seconds"),
            items=tuple(
                Item(
                    sequence=parcel.sequence,
                    identity=parcel.identity,
                    sha256=parcel.sha256,
                    result=msgspec.Raw(parcel.body),
                )
                for parcel in parcels
            ),
        )

    def missing(self) -> Sequence[Span]:
        told, self._missing = self._missing, ()
        return told

    def close(self) -> None:
        self._road.close()


def _answer(parcel: Parcel, item: ReceiptItem | None) -> Answer:
    if item is None:
        return Failed("ANSWER_UNREADABLE", "the receipt does not name it")
    if item.outcome == "refused":
        return Refused("MESSAGE_REFUSED", item.words)
    if item.outcome == "later":
        return Failed("RECEIVER_BUSY", item.words)
    if item.sha256 != parcel.sha256:
        return Failed("ANSWER_UNREADABLE", "the receipt names another digest than was sent")
    return Stored(item.words)
