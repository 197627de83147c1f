"""What a broker is told of this device: its health, and no result.

A broker's acknowledgement is no proof that anything is stored, so no result goes this way; losing
the broker loses nothing.
"""

from __future__ import annotations

from typing import Literal

from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.errors import RecordsError
from edgehemo.files.strict import Count, NonNegative, Record, Text
from edgehemo.interop.outbox import outgoing
from edgehemo.records.backup import last_backup
from edgehemo.records.policy import SpaceState, free_mb, space_state
from edgehemo.records.store import Reader
from edgehemo.version import __version__

# How often a broker is told; whoever hears nothing for several of them knows that it is silent.
TOLD_EVERY_S = 60.0
TOPIC = "edgehemo/{store}/health"


class Health(Record, frozen=True, kw_only=True):
    """How this device is. online: false in what the broker says once the device is silent; then the
    rest is left out. store: identifier of its records. at: what its clock says. results: stored in
    all; last_result_at: when the newest was made. waiting, refused: results that are not with a
    receiver. free_mb, space: room for more. last_backup_at: of the last good one.
    """

    schema: Literal["edgehemo.health/1"] = "edgehemo.health/1"
    online: bool
    store: Text
    device: Text
    software_version: Text | None = None
    at: Text | None = None
    results: Count | None = None
    last_result_at: Text | None = None
    waiting: Count | None = None
    refused: Count | None = None
    free_mb: NonNegative | None = None
    space: SpaceState | None = None
    last_backup_at: Text | None = None


def health_of(reader: Reader, device: DeviceConfiguration, at: str) -> Health:
    """How a device is now; nothing in it is of a patient."""
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
    )


def silence_of(store: str, device: str) -> Health:
    """What the broker is to say when it hears nothing of a device any more."""
    return Health(online=False, store=store, device=device)


def topic_of(store: str) -> str:
    """Where a device's health is told: by its records, since names are given twice."""
    if not store.isalnum():
        raise RecordsError("the records have no usable identifier")
    return TOPIC.format(store=store[:12])
