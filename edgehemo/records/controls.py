"""The history of the control slides, in the records: one truth, one backup, one chain.

A history belongs to a profile, told by when that was made, whatever is added to it later. What lay
in a file beside the profile (`edgehemo.control.history`) is taken in once.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from edgehemo.control.history import (
    KINDS,
    Clearance,
    ControlCheck,
    history_path,
    read_history,
)
from edgehemo.errors import ProfileError
from edgehemo.files.atomic import flush_folder, sha256_of_file
from edgehemo.files.strict import RecordError
from edgehemo.profile.profile import CalibrationProfile
from edgehemo.records.results import StoredResult, json_text
from edgehemo.records.rows import insert_vouched
from edgehemo.records.store import Reader, Store, Writer

log = logging.getLogger(__name__)

# What the file of a history is called once it was taken in.
TAKEN_IN_SUFFIX = ".taken-in"


def profile_key(profile: CalibrationProfile) -> str:
    """Which profile a history belongs to."""
    return profile.created_at.isoformat()


def control_history(
    store: Store, profile: CalibrationProfile, path: Path
) -> tuple[ControlCheck | Clearance, ...]:
    """The records of a profile's controls, oldest first, from the store and from a file that was
    not taken in yet. ProfileError where the file or a stored record cannot be believed.
    """
    stored: tuple[ControlCheck | Clearance, ...] = ()
    if store.folder.exists():
        with store.reader() as reader:
            stored = stored_controls(reader, profile)
            if _was_taken_in(reader, profile):
                return stored
    return (*read_history(history_path(path)), *stored)


def stored_controls(
    reader: Reader, profile: CalibrationProfile
) -> tuple[ControlCheck | Clearance, ...]:
    """The records of a profile in the store, oldest first."""
    return _history(reader, profile_key(profile))


def newest_history(reader: Reader) -> tuple[ControlCheck | Clearance, ...]:
    """The stored records of the profile that was checked last, oldest first."""
    found = reader.rows("SELECT profile_made_at FROM control ORDER BY number DESC LIMIT 1")
    return _history(reader, found[0][0]) if found else ()


def _history(reader: Reader, key: str) -> tuple[ControlCheck | Clearance, ...]:
    rows = reader.rows(
        "SELECT kind, content FROM control WHERE profile_made_at = ? ORDER BY number", (key,)
    )
    try:
        return tuple(KINDS[kind].model_validate(json.loads(content)) for kind, content in rows)
    except (ValueError, RecordError) as error:
        raise ProfileError(f"the stored control history is damaged: {error}") from None


def keep_control(
    writer: Writer,
    profile: CalibrationProfile,
    path: Path,
    record: ControlCheck | Clearance,
    *,
    by: str,
) -> int:
    """Store a check or a clearance; it is on the disk when this returns.

    Returns how many results a failed check marks: those since the last good one.
    """
    try:
        record = record.checked()
    except RecordError as error:
        raise ProfileError(f"the control is not stored, it would not be valid: {error}") from None
    take_in(writer, profile, path)
    with writer.transaction():
        before = _marked(writer, profile)
        _insert(writer, profile, record, by=by)
        return _marked(writer, profile) - before


def take_in(writer: Writer, profile: CalibrationProfile, path: Path) -> int:
    """Take in the history that lies beside a profile, once; returns how many records it had.

    The file is kept under another name. ProfileError where it was changed since it was sealed.
    """
    file = history_path(path)
    if _was_taken_in(writer, profile) or not file.is_file():
        return 0
    records = read_history(file)
    digest = sha256_of_file(file)
    with writer.transaction():
        for record in records:
            _insert(writer, profile, record, by="edgehemo")
        row = {
            "profile_made_at": profile_key(profile),
            "sha256": digest,
            "records": len(records),
        }
        insert_vouched(
            writer, "control_taken_in", row, "", {"records": len(records)}, by="edgehemo"
        )
    # The row says that it was taken in, whatever becomes of the file.
    file.rename(file.with_name(file.name + TAKEN_IN_SUFFIX))
    flush_folder(file.parent)
    log.info("a control history of %d records was taken into the store", len(records))
    return len(records)


def _insert(
    writer: Writer, profile: CalibrationProfile, record: ControlCheck | Clearance, *, by: str
) -> None:
    check = isinstance(record, ControlCheck)
    row = {
        "profile_made_at": profile_key(profile),
        "kind": record.kind,
        "slide": record.slide if isinstance(record, ControlCheck) else None,
        "passed": int(record.passed) if isinstance(record, ControlCheck) else None,
        "at": record.at.isoformat(),
        "content": json_text(record.model_dump(exclude_none=True)),
    }
    details = {"kind": record.kind, "passed": row["passed"]} if check else {"kind": record.kind}
    insert_vouched(writer, "control", row, "", details, by=by)


def _was_taken_in(reader: Reader, profile: CalibrationProfile) -> bool:
    found = reader.rows(
        "SELECT 1 FROM control_taken_in WHERE profile_made_at = ?", (profile_key(profile),)
    )
    return bool(found)


# A failed check after a result, with no good one of the same slide between: in the chain's order,
# which no clock can change.
_FAILED_AFTER = (
    "SELECT c.slide, c.at FROM control c WHERE c.profile_made_at = {profile} AND c.kind = 'check' "
    "AND c.passed = 0 AND c.audit > {audit} AND NOT EXISTS (SELECT 1 FROM control good "
    "WHERE good.profile_made_at = c.profile_made_at AND good.kind = 'check' AND good.passed = 1 "
    "AND good.slide = c.slide AND good.audit > {audit} AND good.audit < c.audit)"
)
_OF_LISTED = _FAILED_AFTER.format(profile="r.profile_made_at", audit="r.audit")
# The same for a list of results; and those of them of which nobody has said anything since.
MARKED = f"EXISTS ({_OF_LISTED})"
UNANSWERED = (
    f"EXISTS ({_OF_LISTED} AND NOT EXISTS (SELECT 1 FROM version answer "
    "WHERE answer.result = r.number AND answer.audit > c.audit "
    "AND answer.change IN ('signed', 'corrected', 'released', 'withdrawn')))"
)


def control_mark(reader: Reader, result: StoredResult) -> str | None:
    """What a result must say because a control failed after it; None where none did."""
    if result.profile_made_at is None:
        return None
    query = _FAILED_AFTER.format(profile=":profile", audit=":audit")
    found = reader.rows(
        f"{query} ORDER BY c.audit LIMIT 1",
        {"profile": result.profile_made_at, "audit": result.audit},
    )
    if not found:
        return None
    slide, at = found[0]
    when = datetime.fromisoformat(at)
    return (
        f"CONTROL FAILED: the next check of the control slide {slide}, on {when:%Y-%m-%d %H:%M}, "
        "failed; this result lies between it and the last good one and must be confirmed."
    )


def marked_results(reader: Reader, numbers: Sequence[int]) -> frozenset[int]:
    """Which of the results of these numbers a failed control marks."""
    places = ", ".join("?" for _ in numbers)
    rows = reader.rows(
        f"SELECT r.number FROM result r WHERE r.number IN ({places}) AND {MARKED}", list(numbers)
    )
    return frozenset(row[0] for row in rows)


def _marked(reader: Reader, profile: CalibrationProfile) -> int:
    rows = reader.rows(
        f"SELECT count(*) FROM result r WHERE r.profile_made_at = ? AND {MARKED}",
        (profile_key(profile),),
    )
    return int(rows[0][0])
