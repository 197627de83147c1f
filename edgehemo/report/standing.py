"""Where a stored result stands: what a report says of it beside what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from edgehemo.anaemia.who_grade import Person
from edgehemo.screening.recorded import AuditHead

State = Literal["unsigned", "signed", "corrected", "held", "withdrawn"]
Change = Literal["recorded", "signed", "corrected", "held", "released", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Amended:
    """What one version set in the place of what was measured. sample: (before, after). grade:
    ``""`` where a person withdrew it, None where none was set. cells: how many a person named.
    """

    sample: tuple[str, str] | None = None
    grade: str | None = None
    cells: int = 0
    comment: str | None = None

    @property
    def is_empty(self) -> bool:
        return self == Amended()


@dataclass(frozen=True, slots=True)
class VersionSaid:
    """One version. at: aware, as the device's clock said; None where only its month may leave the
    device, ``month``. clock_set: whether the clock could be believed.
    """

    version: int
    change: Change
    by: str
    at: datetime | None
    month: str
    clock_set: bool
    reason: str
    amended: Amended = field(default_factory=Amended)


@dataclass(frozen=True, slots=True)
class Standing:
    """A stored result. device: what it is called. taken_at: aware; None where only the month may be
    told. clock_set: whether that can be believed. person: whose blood it is, as far as was asked.
    grade: set by a person, ``""`` where withdrawn, None where none was set. cells: (field, cell),
    from 0 -> what a person called it. control_mark: what a failed control after it demands, None
    where none did. audit: the head of the chain.
    """

    device: str
    taken_at: datetime | None
    month: str
    clock_set: bool
    state: State
    versions: tuple[VersionSaid, ...]
    person: Person | None
    grade: str | None
    cells: Mapping[tuple[int, int], str]
    comment: str | None
    control_mark: str | None
    audit: AuditHead
