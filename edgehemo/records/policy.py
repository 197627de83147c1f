"""What a device keeps, for how long, and who may open what leaves it encrypted: its policy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from edgehemo.errors import RecordsFullError
from edgehemo.files.strict import Record

SpaceState = Literal["enough", "low", "too little"]
_MB = 1_000_000


class RecordsSection(Record, frozen=True, kw_only=True):
    """keep_pictures_days: pictures of older results are purged once they are backed up or
    exported; None keeps them for ever. warn_below_mb and refuse_below_mb: free space, in MB, below
    which the device warns, and below which no sample is begun. backup_every_hours: after so long
    without a verified backup the device warns. backup_label: of the USB stick that
    `edgehemo records backup` looks for where no folder is named. recipients: public keys of age
    that may open exported archives.
    """

    keep_pictures_days: Annotated[int, Meta(ge=1, le=36_500)] | None = None
    warn_below_mb: Annotated[int, Meta(ge=0, le=10_000_000)] = 2000
    refuse_below_mb: Annotated[int, Meta(ge=0, le=10_000_000)] = 500
    backup_every_hours: Annotated[int, Meta(ge=1, le=24 * 366)] = 24
    backup_label: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,32}\Z")] = "EDGEHEMO"
    recipients: tuple[Annotated[str, Meta(min_length=1, max_length=1000)], ...] = ()


def free_mb(folder: Path) -> float:
    """Free space where a folder lies or will lie, in MB."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    found = os.statvfs(there)
    return found.f_bavail * found.f_frsize / _MB


def space_state(free: float, policy: RecordsSection) -> SpaceState:
    """Whether there is room for another sample; free: in MB."""
    if free < policy.refuse_below_mb:
        return "too little"
    return "low" if free < policy.warn_below_mb else "enough"


def refuse_too_little(folder: Path, policy: RecordsSection) -> None:
    """RecordsFullError where no sample may be begun."""
    free = free_mb(folder)
    if space_state(free, policy) == "too little":
        raise RecordsFullError(
            f"{free:.0f} MB are free for the records, {policy.refuse_below_mb} are needed to begin "
            "a sample: back up and free space (`edgehemo records backup`, `edgehemo records purge`)"
        )
