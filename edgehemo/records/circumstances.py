"""What the numbers of a result hang on beside its pictures, bundle and profile."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgehemo.anaemia.who_grade import Person
from edgehemo.bundle.manifest import ArtefactFormat, Precision
from edgehemo.errors import RecordsError
from edgehemo.estimate.network import NETWORK_TASKS, NetworkTask
from edgehemo.files.strict import Record, RecordError
from edgehemo.guidance.withheld import Withheld
from edgehemo.screening.stopping import StopRule


class Circumstances(Record, frozen=True, kw_only=True):
    """um_per_px: the operator's scale, None where it was not given. rule: when the sample had
    enough. blocked, notes: what the device said of its readiness then. runtime, precision, threads:
    what ran the models. profile_name: of the profile's file. networks: those that read whole fields
    and were asked for; in results that do not say it, both ran.
    """

    schema: Literal["edgehemo.circumstances/1"] = "edgehemo.circumstances/1"
    um_per_px: float | None = None
    rule: StopRule
    blocked: Withheld | None = None
    notes: tuple[str, ...] = ()
    runtime: ArtefactFormat
    precision: Precision
    threads: int
    profile_name: str | None = None
    networks: tuple[NetworkTask, ...] = NETWORK_TASKS


def person_text(person: Person | None) -> str | None:
    """Person data as JSON, as given for the grade."""
    return None if person is None else msgspec.json.encode(person).decode("utf-8")


def person_of(text: str | None) -> Person | None:
    """Person data that `person_text` wrote."""
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=Person)
    except msgspec.DecodeError as error:
        raise RecordsError(f"stored person data cannot be read: {error}") from None


def circumstances_of(text: str) -> Circumstances:
    """The circumstances of a row."""
    try:
        return Circumstances.model_validate(msgspec.json.decode(text))
    except (msgspec.DecodeError, RecordError) as error:
        raise RecordsError(f"stored circumstances cannot be read: {error}") from None
