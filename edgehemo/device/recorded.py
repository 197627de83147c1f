"""Opens a device's records for a screening that is to be stored."""

from __future__ import annotations

import getpass
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgehemo.device.clock import aware, last_result
from edgehemo.errors import RecordsError

if TYPE_CHECKING:
    from datetime import datetime

    from edgehemo.device.configuration import DeviceConfiguration
    from edgehemo.device.equipment import Equipment
    from edgehemo.records.audit import Action
    from edgehemo.records.clock import Clock
    from edgehemo.records.recording import Recording
    from edgehemo.screening.labels import SampleLabels
    from edgehemo.screening.sample import Screening


log = logging.getLogger(__name__)


def command_actor() -> str:
    """Who a command line is answered for by: the account it runs under."""
    try:
        return f"command line, {getpass.getuser()}"
    except (OSError, KeyError):
        return "command line"


def note_in_chain(action: Action, details: Mapping[str, Any]) -> None:
    """Have it in the chain of this device's records that something was changed, where there are
    records. A change that is made already does not fail because it cannot be noted.
    """
    # A device without records does not wait for them.
    from edgehemo.device.configuration import load_device  # noqa: PLC0415
    from edgehemo.records.store import Store  # noqa: PLC0415

    store = Store.below(load_device(None).data_dir)
    if not store.folder.exists():
        return
    try:
        with store.reader() as reader:
            reader.note(action, details=details, by=command_actor())
    except RecordsError as error:
        log.warning("this could not be noted in the records: %s", error)


def device_clock(device: DeviceConfiguration, *known: datetime) -> Clock:
    """The clock, held against the newest date known outside the records."""
    # A screening that is not stored does not wait for the records.
    from edgehemo.records.clock import Clock  # noqa: PLC0415

    last = last_result(device.data_dir)
    dates = [aware(date) for date in known] + ([] if last is None else [last])
    return Clock(known=max(dates, default=None))


@contextmanager
def recorded_screening(
    equipment: Equipment, screening: Screening, um_per_px: float | None, labels: SampleLabels
) -> Iterator[Recording]:
    """A recording of a screening that begins; what is unfinished at its end is abandoned.

    Raises RecordsError where the records cannot be written or the sample's number may be a name.
    """
    # A screening that is not stored does not wait for the records.
    from edgehemo.records.artefacts import keep_bundle, keep_profile  # noqa: PLC0415
    from edgehemo.records.circumstances import Circumstances  # noqa: PLC0415
    from edgehemo.records.policy import refuse_too_little  # noqa: PLC0415
    from edgehemo.records.recording import Recording  # noqa: PLC0415
    from edgehemo.records.store import Store  # noqa: PLC0415
    from edgehemo.records.taking import begin  # noqa: PLC0415

    device, profile = equipment.device, equipment.profile
    networks = screening.reader.networks
    refuse_too_little(device.data_dir, device.records)
    known = [equipment.bundle.manifest.created_at]
    if profile is not None:
        known += list(profile.dates())
    clock = device_clock(device, *known)
    with Store.below(device.data_dir).writer(clock=clock) as writer:
        circumstances = Circumstances(
            um_per_px=um_per_px,
            rule=screening.rule,
            blocked=screening.blocked,
            notes=screening.notes,
            runtime=device.inference.runtime,
            precision=device.inference.precision,
            threads=device.inference.threads,
            profile_name=equipment.profile_name,
            networks=() if networks is None else networks.asked,
        )
        taking = begin(
            writer,
            owner="command",
            sample=labels.sample,
            circumstances=circumstances,
            site=labels.site,
            operator=labels.operator,
            person=screening.person,
        )
        by = command_actor() if labels.operator is None else labels.operator
        made_at = None if profile is None else profile.created_at
        recording = Recording(writer, taking, device.name, made_at, by)
        try:
            keep_bundle(writer, equipment.bundle)
            if profile is not None:
                keep_profile(writer, profile, equipment.profile_name or "profile.json")
            yield recording
        except BaseException:
            recording.discard_quietly("stopped")
            raise
