"""What a broker is told of this device: its health, and no result.

A broker's acknowledgement is no proof that anything is stored, so no result goes this way; losing
the broker loses nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.errors import RecordsError
from edgehemo.files.strict import Count, NonNegative, Record, Sha256, Text
from edgehemo.interop.laboratory import ControlStanding, DeviceState
from edgehemo.interop.outbox import outgoing
from edgehemo.records.backup import last_backup
from edgehemo.records.policy import SpaceState, free_mb, space_state
from edgehemo.records.store import Reader
from edgehemo.version import __version__

# How often a broker is told; whoever hears nothing for several of them knows that it is silent.
TOLD_EVERY_S = 60.0
# Whose topic it is, so that a broker can let each user write only below its own name; and of which
# records, since two devices may share a user.
TOPIC = "edgehemo/{user}/{store}/health"
# So much of the records' identifier names them there.
STORE_DIGITS = 12
# Who a device is to a broker that asks for no user.
NO_USER = "edgehemo"
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Longer than any that a device makes.
MAX_HEALTH_BYTES = 4096
CameraState = Literal["there", "missing", "simulated"]
_Code = Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9_]{0,63}\Z")]
_Short = Annotated[str, Meta(min_length=1, max_length=200)]


@dataclass(frozen=True, slots=True)
class EquipmentState:
    """None for what is not known. bundle_sha256: of the manifest of the bundle in use. celsius: of
    the hottest zone of the board.
    """

    bundle_sha256: str | None = None
    camera: CameraState | None = None
    celsius: float | None = None


class Health(Record, frozen=True, kw_only=True):
    """How this device is. online: false in what the broker says once the device is silent; then the
    rest is left out. store: identifier of its records. at: what its clock says; ages follow from it
    and the other dates, which are of the same clock. results: stored in all; last_result_at: when
    the newest was made. waiting, refused: results that are not with a receiver. free_mb, space:
    room for more. last_backup_at: of the last good one. bundle_sha256: of the model bundle in use.
    control: how the control slides stand. blocked: the code for which no result is given now.
    camera: whether the configured one is there. fault: the code of what stops the kiosk's work now.
    celsius: of the board, where it tells.
    """

    schema: Literal["edgehemo.health/1"] = "edgehemo.health/1"
    online: bool
    store: _Short
    device: _Short
    software_version: _Short | None = None
    at: Text | None = None
    results: Count | None = None
    last_result_at: Text | None = None
    waiting: Count | None = None
    refused: Count | None = None
    free_mb: NonNegative | None = None
    space: SpaceState | None = None
    last_backup_at: Text | None = None
    bundle_sha256: Sha256 | None = None
    control: ControlStanding | None = None
    blocked: _Code | None = None
    camera: CameraState | None = None
    fault: _Code | None = None
    celsius: float | None = None


def health_of(
    reader: Reader,
    device: DeviceConfiguration,
    at: str,
    *,
    state: DeviceState | None = None,
    equipment: EquipmentState | None = None,
    fault: str | None = None,
) -> Health:
    """How a device is now; nothing in it is of a patient. state, equipment: None where nobody
    looked. fault: what stops the kiosk's work.
    """
    equipment = EquipmentState() if equipment is None else equipment
    ((results,),) = reader.rows("SELECT count(*) FROM result")
    newest = reader.rows("SELECT made_at FROM result ORDER BY number DESC LIMIT 1")
    out = outgoing(reader, device.receivers)
    free = free_mb(reader.folder.path)
    backup = last_backup(reader)
    return Health(
        online=True,
        store=reader.id,
        device=device.name,
        software_version=__version__,
        at=at,
        results=results,
        last_result_at=newest[0][0] if newest else None,
        waiting=out.waiting,
        refused=out.refused,
        free_mb=round(free, 1),
        space=space_state(free, device.records),
        last_backup_at=None if backup is None else backup.at,
        bundle_sha256=equipment.bundle_sha256,
        control=None if state is None else state.control,
        blocked=None if state is None else state.blocked,
        camera=equipment.camera,
        fault=fault,
        celsius=equipment.celsius,
    )


def silence_of(store: str, device: str) -> Health:
    """What the broker is to say when it hears nothing of a device any more."""
    return Health(online=False, store=store, device=device)


def topic_of(store: str, user: str | None = None) -> str:
    """Where a device's health is told. user: its name at the broker, where it has one that can be
    part of a topic.
    """
    if not store.isalnum():
        raise RecordsError("the records have no usable identifier")
    name = user if user is not None and _USER.fullmatch(user) else NO_USER
    return TOPIC.format(user=name, store=store[:STORE_DIGITS])
