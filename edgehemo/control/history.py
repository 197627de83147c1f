"""Control checks of this microscope: what a record of them is, and whether results may be given.

The history lies in the records (`edgehemo.records.controls`). Before, it was one file of JSON lines
beside the profile (``<profile>.control.jsonl``), one record a line: a check of a control slide, or
a clearance after a failed one. The last line may be the seal of those above it
(`edgehemo.profile.seal`). Such a file is read here, and taken in once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from edgehemo.control.westgard import Rule
from edgehemo.errors import ProfileError
from edgehemo.files.strict import Count, Moment, Record, Text
from edgehemo.guidance.withheld import Withheld, withheld
from edgehemo.profile.profile import CalibrationProfile
from edgehemo.profile.seal import Seal, seal_state

CONTROL_SCHEMA: Literal["edgehemo.control/1"] = "edgehemo.control/1"
HISTORY_SUFFIX = ".control.jsonl"
# A decade of daily checks of two slides is some 5 MB.
MAX_HISTORY_BYTES = 64 * 1024 * 1024
# How far a record may lie in the future before the device's clock is taken to be wrong.
CLOCK_TOLERANCE = timedelta(minutes=10)


class _Line(Record, frozen=True, kw_only=True):
    schema: Literal["edgehemo.control/1"] = CONTROL_SCHEMA
    at: Moment
    software_version: Text


class Violation(Record, frozen=True, kw_only=True):
    """A rule that a quantity broke."""

    quantity: Text
    rule: Rule


class ControlCheck(_Line, frozen=True, kw_only=True):
    """One check of a control slide.

    established_at: of the targets it was judged by. values: what was measured, by quantity;
    deviations: in SD of the target. fields, refused: pictures used and refused by quality.
    reason: why it failed, empty when passed. pictures: digests of the files, so that no later
    check stands on them; None where they are not known.
    """

    kind: Literal["check"] = "check"
    slide: Text
    established_at: Moment
    profile_sha256: str
    fields: Count
    refused: Count
    values: dict[str, float]
    deviations: dict[str, float]
    violations: tuple[Violation, ...] = ()
    warnings: tuple[str, ...] = ()
    passed: bool
    reason: str = ""
    pictures: tuple[str, ...] | None = None


class Clearance(_Line, frozen=True, kw_only=True):
    """Somebody took responsibility after failed checks: the cause found, and what was done.

    by: initials of the member of staff, never a patient's.
    """

    kind: Literal["clear"] = "clear"
    reason: Annotated[str, Meta(min_length=1, max_length=500)]
    by: Annotated[str, Meta(min_length=1, max_length=40)]


# What a line is, by its ``kind``.
KINDS: dict[str, type[ControlCheck] | type[Clearance]] = {"check": ControlCheck, "clear": Clearance}


def history_path(profile: Path) -> Path:
    """Where the control history of a profile lay before it was taken into the records."""
    return profile.with_name(profile.name + HISTORY_SUFFIX)


def read_history(path: Path) -> tuple[ControlCheck | Clearance, ...]:
    """The records in the order written; none where there is no file.

    Raises ProfileError, one line: of a history that was changed since it was sealed, or naming the
    first bad line. What was tampered with or damaged says nothing.
    """
    try:
        if path.stat().st_size > MAX_HISTORY_BYTES:
            raise ProfileError(f"{path}: too large for a control history")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    except UnicodeDecodeError:
        raise ProfileError(f"{path}: damaged control history (no UTF-8 text)") from None
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read: {error.strerror or error}") from None
    lines = text.splitlines()
    sealed = _sealed(lines, path)
    records = []
    for number, line in enumerate(lines[:-1] if sealed else lines, start=1):
        try:
            records.append(_parsed(json.loads(line)))
        except (ValueError, RecursionError):
            raise ProfileError(f"{path}: damaged control history (line {number})") from None
    return tuple(records)


def is_sealed(path: Path) -> bool:
    """Whether a history that `read_history` reads ends in a seal; a missing one has nothing to."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return True
    return not lines or _sealed(lines, path)


def _sealed(lines: Sequence[str], path: Path) -> bool:
    """Whether the last line is the seal of the others; ProfileError where it does not fit them."""
    try:
        last = json.loads(lines[-1]) if lines else None
        if not isinstance(last, dict) or last.pop("kind", None) != "seal":
            return False
        seal = Seal.model_validate(last)
    except (ValueError, RecursionError):
        return False
    if seal_state(content_to_seal(lines[:-1]), seal) == "broken":
        raise ProfileError(
            f"{path}: was changed after it was sealed: put the file back from a backup, or move it "
            "away and check the control slide again"
        )
    return True


def content_to_seal(lines: Sequence[str]) -> bytes:
    """What the seal of a history's lines is made of."""
    return "\n".join(("edgehemo.control-seal/1", *lines)).encode("utf-8")


def _parsed(content: Any) -> ControlCheck | Clearance:
    """A line's record; RecordError for what is none."""
    kind = content.get("kind") if isinstance(content, dict) else None
    return KINDS[kind if kind in KINDS else "check"].model_validate(content)


def checks_since_clearance(
    records: Sequence[ControlCheck | Clearance],
) -> tuple[ControlCheck, ...]:
    """The checks after the last clearance, oldest first: what the rules and the block look at."""
    since: list[ControlCheck] = []
    for record in records:
        if isinstance(record, Clearance):
            since.clear()
        else:
            since.append(record)
    return tuple(since)


def control_block(
    profile: CalibrationProfile,
    records: Sequence[ControlCheck | Clearance],
    *,
    now: datetime,
    expires_hours: int,
) -> Withheld | None:
    """Why results are blocked at ``now`` (timezone-aware), None where they may be given.

    A profile without control slides asks for no check. Else: no check since the last clearance may
    have failed, whatever passed after it, and the newest check against the profile's own targets
    must be at most ``expires_hours`` old.
    """
    if not profile.controls:
        return None
    since = checks_since_clearance(records)
    for failed in reversed(since):
        if not failed.passed:
            return withheld(
                "CONTROL_FAILED",
                slide=failed.slide,
                at=f"{failed.at:%Y-%m-%d %H:%M}",
                why=failed.reason,
            )
    known = {(slide.name, slide.established_at) for slide in profile.controls}
    dates = [
        record.at
        for record in records
        if isinstance(record, ControlCheck) and (record.slide, record.established_at) in known
    ]
    if not dates:
        return withheld("CONTROL_MISSING")
    age = now - dates[-1]
    last = f"{dates[-1]:%Y-%m-%d %H:%M}"
    if age < -CLOCK_TOLERANCE:
        return withheld("CONTROL_CLOCK_WRONG", at=last)
    if age > timedelta(hours=expires_hours):
        return withheld("CONTROL_DUE", at=last, hours=expires_hours)
    return None
