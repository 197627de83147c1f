"""The kinds of receivers, a file each; a door is opened when there is something to send."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgehemo.device.receivers import Receiver, ReceiverKind
from edgehemo.interop.receivers.door import Door, Kiosk


@dataclass(frozen=True, slots=True)
class DoorFacts:
    """How the door of a kind is opened. most, most_bytes: messages of one turn, and their bytes.
    What was received in a turn is written down at its end.
    """

    open: Callable[[Receiver, Kiosk], Door]
    most: int = 10
    most_bytes: int | None = None


def _laboratory(receiver: Receiver, kiosk: Kiosk) -> Door:
    from edgehemo.interop.receivers.laboratory_server import LaboratoryDoor  # noqa: PLC0415

    return LaboratoryDoor(receiver, kiosk)


def _fhir(receiver: Receiver, kiosk: Kiosk) -> Door:
    from edgehemo.interop.receivers.fhir_server import FhirDoor  # noqa: PLC0415

    return FhirDoor(receiver)


def _folder(receiver: Receiver, kiosk: Kiosk) -> Door:
    from edgehemo.interop.receivers.folder import FolderDoor  # noqa: PLC0415

    return FolderDoor(receiver, kiosk)


def _mllp(receiver: Receiver, kiosk: Kiosk) -> Door:
    from edgehemo.interop.receivers.mllp import MllpDoor  # noqa: PLC0415

    return MllpDoor(receiver)


# Those that get results. httpx and ssl are loaded where a door is opened, not where results are
# signed.
DOORS: Mapping[ReceiverKind, DoorFacts] = {
    "laboratory": DoorFacts(_laboratory, most=50, most_bytes=8_000_000),
    "fhir": DoorFacts(_fhir),
    "mllp": DoorFacts(_mllp),
    "folder": DoorFacts(_folder),
}
