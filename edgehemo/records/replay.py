"""A stored result computed again from its pictures, bundle and profile, and held to the last digit.

What is compared is everything that was read of every image in full precision, and the result as it
was written; what a result says of its making (when, by which version) is left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edgehemo.capture.protocol import FailedSource
from edgehemo.errors import EdgeHemoError, RecordsError
from edgehemo.images.frame import Frame
from edgehemo.records.results import StoredResult
from edgehemo.records.store import Reader
from edgehemo.report.result import ScreeningResult
from edgehemo.screening.field import FieldReader
from edgehemo.screening.labels import SampleLabels
from edgehemo.screening.provenance import Provenance
from edgehemo.screening.resuming import kept
from edgehemo.screening.sample import Screening
from edgehemo.version import __version__

# Parts of a result that say when and by what it was made, or how it is stored.
NOT_COMPARED = frozenset({"provenance", "result_id", "audit", "schema"})
# Called with how many fields were read again, and how many there are.
OnField = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that is not the same. place: the keys down to it, such as
    ``images[2].cells[14].score``. by: how much it grew, None where it is no number.
    """

    place: str
    stored: Any
    replayed: Any
    by: float | None


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a replay. values: how many were compared. stored_version: of the software that
    made the result; version: of this one.
    """

    result_id: str
    values: int
    differences: tuple[Difference, ...]
    stored_version: str
    version: str = __version__

    @property
    def same(self) -> bool:
        return not self.differences


def replay(
    reader: Reader, result: StoredResult, fields: FieldReader, on_field: OnField | None = None
) -> Replayed:
    """Read the stored pictures again and compare every value.

    fields: opened on the kept bundle and profile (`edgehemo.device.kept_equipment`). Raises
    RecordsError where a picture or the reading is gone.
    """
    document = result.document(reader)
    circumstances = result.circumstances
    screening = Screening(
        fields,
        person=result.person,
        bundle_sha256=result.bundle_sha256,
        rule=circumstances.rule,
        blocked=circumstances.blocked,
        notes=circumstances.notes,
    )
    for number, field in enumerate(result.fields, start=1):
        item: Frame | FailedSource
        if field.sha256 is None:
            item = FailedSource(field.source, field.error or "could not be read")
        else:
            try:
                item = field.frame(reader)
            except RecordsError:
                raise
            except EdgeHemoError as error:
                item = FailedSource(field.source, str(error))
        screening.consider(item)
        if on_field is not None:
            on_field(number, len(result.fields))
    reading = screening.finish()
    stored_record = document.record
    provenance = Provenance(
        _moment(stored_record), result.bundle_sha256, "", None, None, None, result.simulated
    )
    labels = SampleLabels(result.sample, result.operator, result.site)
    again = ScreeningResult(reading, provenance, labels=labels).record
    counted = [0]
    found = [
        *differences(
            document.progress.get("images"),
            json.loads(kept(reading.images)).get("images"),
            "progress",
            counted,
        ),
        *differences(_compared(stored_record), _compared(again), "", counted),
    ]
    return Replayed(result.id, counted[0], tuple(found), result.software_version)


def differences(
    stored: Any, again: Any, place: str = "", counted: list[int] | None = None
) -> Iterator[Difference]:
    """All values that differ, NaN being the same as NaN; counted: [how many were compared]."""
    counted = counted if counted is not None else [0]
    if isinstance(stored, Mapping) and isinstance(again, Mapping):
        for key in sorted({*stored, *again}):
            below = f"{place}.{key}" if place else str(key)
            if key in stored and key in again:
                yield from differences(stored[key], again[key], below, counted)
            else:
                counted[0] += 1
                yield Difference(below, stored.get(key), again.get(key), None)
    elif isinstance(stored, list) and isinstance(again, list):
        if len(stored) != len(again):
            counted[0] += 1
            yield Difference(
                f"number of {place}", len(stored), len(again), len(again) - len(stored)
            )
        for index, (one, other) in enumerate(zip(stored, again, strict=False)):
            yield from differences(one, other, f"{place}[{index}]", counted)
    else:
        counted[0] += 1
        if not _same(stored, again):
            both = all(
                isinstance(value, int | float) and not isinstance(value, bool)
                for value in (stored, again)
            )
            yield Difference(place, stored, again, again - stored if both else None)


def _same(stored: Any, again: Any) -> bool:
    if isinstance(stored, float) and isinstance(again, float):
        return stored == again or (math.isnan(stored) and math.isnan(again))
    return type(stored) is type(again) and bool(stored == again)


def _compared(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in NOT_COMPARED}


def _moment(record: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(record["provenance"]["created_at"])
