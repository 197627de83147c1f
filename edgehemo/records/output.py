"""What `edgehemo records` writes as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from edgehemo.files.strict import Count, Record, Sha256
from edgehemo.records.clock import ClockState
from edgehemo.records.identifiers import SampleFrom
from edgehemo.records.replay import Replayed
from edgehemo.records.results import (
    Change,
    Listed,
    Outcome,
    State,
    StoredField,
    StoredResult,
    Version,
)
from edgehemo.records.users import Role
from edgehemo.records.verifying import SHOWN, Verified
from edgehemo.screening.recorded import AuditHead


class ListedEntry(Record, frozen=True, kw_only=True):
    """One stored result. sample: its number as it is now. made_at: what the clock said; clock:
    unset where that cannot be believed. state, version: the ones that count. control_failed: the
    next check of a control slide failed, so that it must be confirmed.
    """

    id: str
    sample: str
    site: str | None
    operator: str | None
    made_at: str
    clock: ClockState
    simulated: bool
    outcome: Outcome
    hgb_g_per_l: float | None
    grade: str | None
    state: State
    version: Count
    control_failed: bool

    @classmethod
    def of(cls, row: Listed, control_failed: bool) -> ListedEntry:
        values = {name: getattr(row, name) for name in Listed.__slots__ if name != "number"}
        return cls(**values, control_failed=control_failed)


class RecordsListOutput(Record, frozen=True, kw_only=True):
    """Stored results, newest first. found: how many there are of what was asked for, shown here or
    not.
    """

    schema: Literal["edgehemo.records-list/1"] = "edgehemo.records-list/1"
    found: Count
    results: list[ListedEntry]


class VersionEntry(Record, frozen=True, kw_only=True):
    """One version. amendments: all that a person set in the place of what was measured. audit:
    the number of its entry in the chain.
    """

    version: Count
    state: State
    change: Change
    sample: str
    amendments: Mapping[str, Any]
    by: str
    at: str
    clock: ClockState
    reason: str
    audit: Count

    @classmethod
    def of(cls, version: Version) -> VersionEntry:
        return cls(**{name: getattr(version, name) for name in Version.__slots__})


class StoredFieldEntry(Record, frozen=True, kw_only=True):
    """One image. sha256: of its picture, null where there was nothing to be read. kept: whether
    the picture is here.
    """

    image: str
    sha256: Sha256 | None
    kept: bool
    taken_at: str | None
    error: str | None

    @classmethod
    def of(cls, field: StoredField, kept: bool) -> StoredFieldEntry:
        return cls(
            image=field.source,
            sha256=field.sha256,
            kept=kept,
            taken_at=field.taken_at,
            error=field.error,
        )


class ShownResult(Record, frozen=True, kw_only=True):
    """One stored result whole. person: as given for the grade. reading_sha256: of the document
    that holds every number. control_mark: what it must say because a control failed after it, null
    where none did. record: what `edgehemo screen` wrote.
    """

    id: str
    sample: str
    sample_from: SampleFrom
    site: str | None
    operator: str | None
    device: str
    made_at: str
    clock: ClockState
    simulated: bool
    outcome: Outcome
    state: State
    version: Count
    control_mark: str | None
    person: Mapping[str, Any] | None
    circumstances: Mapping[str, Any]
    bundle_sha256: Sha256
    profile_sha256: Sha256 | None
    software_version: str
    reading_sha256: Sha256
    audit: Count
    images: list[StoredFieldEntry]
    versions: list[VersionEntry]
    record: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        result: StoredResult,
        record: Mapping[str, Any],
        person: Mapping[str, Any] | None,
        kept: Mapping[str, bool],
        control_mark: str | None,
    ) -> ShownResult:
        same = (
            "id", "sample_from", "site", "operator", "device", "made_at", "clock", "simulated",
            "outcome", "bundle_sha256", "profile_sha256", "software_version", "reading_sha256",
            "audit",
        )  # fmt: skip
        return cls(
            **{name: getattr(result, name) for name in same},
            sample=result.sample_now,
            state=result.latest.state,
            version=result.latest.version,
            control_mark=control_mark,
            person=person,
            circumstances=result.circumstances.model_dump(),
            images=[
                StoredFieldEntry.of(field, field.sha256 is not None and kept[field.sha256])
                for field in result.fields
            ],
            versions=[VersionEntry.of(version) for version in result.versions],
            record=record,
        )


class RecordsShowOutput(Record, frozen=True, kw_only=True):
    """One stored result, and the head of the chain when it was shown."""

    schema: Literal["edgehemo.records-show/1"] = "edgehemo.records-show/1"
    result: ShownResult
    audit: AuditHead


class RecordsVerifyOutput(Record, frozen=True, kw_only=True):
    """Whether everything holds together. faults: a phrase each, at most 200 of them. contents:
    pictures, readings, bundles and profiles that are what their names say; purged: deleted by the
    retention policy.
    """

    schema: Literal["edgehemo.records-verify/1"] = "edgehemo.records-verify/1"
    whole: bool
    entries: Count
    results: Count
    versions: Count
    contents: Count
    purged: Count
    faults_found: Count
    faults: list[str]
    audit: AuditHead

    @classmethod
    def of(cls, found: Verified, head: AuditHead) -> RecordsVerifyOutput:
        return cls(
            whole=found.whole,
            entries=found.entries,
            results=found.results,
            versions=found.versions,
            contents=found.contents,
            purged=found.purged,
            faults_found=len(found.faults),
            faults=list(found.faults[:SHOWN]),
            audit=head,
        )


class DifferenceEntry(Record, frozen=True, kw_only=True):
    """One value that is not the same. place: the keys down to it. by: how much it grew, null where
    it is no number.
    """

    place: str
    stored: Any
    replayed: Any
    by: float | None


class RecordsReplayOutput(Record, frozen=True, kw_only=True):
    """One stored result computed again. values: how many were compared. differences: at most 200 of
    them.
    """

    schema: Literal["edgehemo.records-replay/1"] = "edgehemo.records-replay/1"
    result_id: str
    same: bool
    values: Count
    stored_version: str
    version: str
    differences_found: Count
    differences: list[DifferenceEntry]

    @classmethod
    def of(cls, found: Replayed) -> RecordsReplayOutput:
        return cls(
            result_id=found.result_id,
            same=found.same,
            values=found.values,
            stored_version=found.stored_version,
            version=found.version,
            differences_found=len(found.differences),
            differences=[
                DifferenceEntry(
                    place=item.place, stored=item.stored, replayed=item.replayed, by=item.by
                )
                for item in found.differences[:SHOWN]
            ],
        )


class RecordsChangeOutput(Record, frozen=True, kw_only=True):
    """A result's new version, and the head of the chain once it was made."""

    schema: Literal["edgehemo.records-change/1"] = "edgehemo.records-change/1"
    result_id: str
    version: VersionEntry
    audit: AuditHead


class RecordsExportedOutput(Record, frozen=True, kw_only=True):
    """What was exported and where it lies. identified: with numbers and names."""

    schema: Literal["edgehemo.records-exported/1"] = "edgehemo.records-exported/1"
    format: str
    identified: bool
    out: str
    results: list[str]
    audit: AuditHead


class RecordsBackupOutput(Record, frozen=True, kw_only=True):
    """A backup that was read back and found right. manifest: its file. copied: contents that were
    new there.
    """

    schema: Literal["edgehemo.records-backup/1"] = "edgehemo.records-backup/1"
    manifest: str
    results: Count
    contents: Count
    copied: Count
    copied_bytes: Count
    sha256: Sha256
    audit: AuditHead


class RecordsRestoreOutput(Record, frozen=True, kw_only=True):
    """A backup in the place of the records. whole: whether they hold together."""

    schema: Literal["edgehemo.records-restore/1"] = "edgehemo.records-restore/1"
    backup: Count
    made_at: str
    results: Count
    contents: Count
    whole: bool
    audit: AuditHead


class RecordsPurgeOutput(Record, frozen=True, kw_only=True):
    """What was purged, or would be. waiting: results that are old enough and lie nowhere else yet,
    or are held.
    """

    schema: Literal["edgehemo.records-purge/1"] = "edgehemo.records-purge/1"
    purged: bool
    pictures: Count
    bytes: Count
    results: Count
    waiting: Count


class UserEntry(Record, frozen=True, kw_only=True):
    """A user of the kiosk. wrong_pins: since the last right one."""

    name: str
    role: Role
    added_at: str
    wrong_pins: Count


class UsersListOutput(Record, frozen=True, kw_only=True):
    """The users of this device, by name."""

    schema: Literal["edgehemo.users-list/1"] = "edgehemo.users-list/1"
    users: list[UserEntry]
