"""What `edgehemo laboratory` writes as JSON."""

from __future__ import annotations

from typing import Literal

from edgehemo.files.strict import Count, Record
from edgehemo.interop.laboratory import DeviceState, PicturesRule, Span
from edgehemo.records.users import Role
from edgehemo_laboratory.enrolment.kiosks import Kiosk
from edgehemo_laboratory.health.live import LiveEntry
from edgehemo_laboratory.steering.output import StagedOutput
from edgehemo_laboratory.storage.interface import Engine

Standing = Literal["waiting", "in service", "revoked"]


class RecordsEntry(Record, frozen=True, kw_only=True):
    """Records that a kiosk sends from. results: of them. missing: rows of numbers, first and last,
    that never came. refused: numbers that were refused. doubled: numbers that came with several
    contents, as when the kiosk's records were put back.
    """

    store: str
    results: Count
    missing: list[Span]
    refused: Count
    doubled: Count


class KioskEntry(Record, frozen=True, kw_only=True):
    """One kiosk. standing: waiting for its pairing code to be used, in service, or revoked.
    silent_s: seconds since it was last heard, by this machine's clock; null before the first time.
    renewal_waits: it does not trust the laboratory's next certificate yet. state: how it said it
    is, null where it never did; state_age_s: seconds since then. live: how it is by its own last
    word to a broker; null of one that no broker ever told of.
    """

    name: str
    site: str
    standing: Standing
    why: str
    identified: bool
    pictures: PicturesRule
    device: str
    software_version: str
    silent_s: Count | None
    renewal_waits: bool
    records: list[RecordsEntry]
    state: DeviceState | None = None
    state_age_s: Count | None = None
    live: LiveEntry | None = None

    @classmethod
    def of(
        cls,
        kiosk: Kiosk,
        records: list[RecordsEntry],
        *,
        now_s: int,
        coming: str | None,
        live: LiveEntry | None = None,
    ) -> KioskEntry:
        standing: Standing = "waiting"
        if kiosk.revoked_at is not None:
            standing = "revoked"
        elif kiosk.enrolled_at is not None:
            standing = "in service"
        heard = kiosk.heard_at_s
        same = ("name", "site", "identified", "pictures", "device", "software_version")
        return cls(
            **{name: getattr(kiosk, name) for name in same},
            standing=standing,
            why=kiosk.revoked_why,
            silent_s=None if heard is None else max(0, now_s - heard),
            renewal_waits=coming is not None and coming not in kiosk.pinned,
            records=records,
            state=kiosk.state,
            state_age_s=None if kiosk.state_at_s is None else max(0, now_s - kiosk.state_at_s),
            live=live,
        )


class KiosksOutput(Record, frozen=True, kw_only=True):
    """The kiosks of a laboratory, by name."""

    schema: Literal["edgehemo.laboratory-kiosks/1"] = "edgehemo.laboratory-kiosks/1"
    kiosks: list[KioskEntry]


class EnrolOutput(Record, frozen=True, kw_only=True):
    """A pairing code for a kiosk. addresses: of this laboratory, one of which the kiosk is told."""

    schema: Literal["edgehemo.laboratory-enrol/1"] = "edgehemo.laboratory-enrol/1"
    kiosk: str
    site: str
    code: str
    days: Count
    addresses: list[str]


class PersonEntry(Record, frozen=True, kw_only=True):
    """Somebody who may sign in. removed_at: null where they may."""

    name: str
    role: Role
    made_at: str
    removed_at: str | None


class PeopleOutput(Record, frozen=True, kw_only=True):
    """Who may sign in at the laboratory, and who could once."""

    schema: Literal["edgehemo.laboratory-people/1"] = "edgehemo.laboratory-people/1"
    people: list[PersonEntry]


class ExportOutput(Record, frozen=True, kw_only=True):
    """An export that was written. results: in it; left_out: results that the format cannot say,
    since they lack what it needs.
    """

    schema: Literal["edgehemo.laboratory-export/1"] = "edgehemo.laboratory-export/1"
    file: str
    format: str
    results: Count
    left_out: Count
    names: bool
    withdrawn: bool


class DemoOutput(Record, frozen=True, kw_only=True):
    """The demonstration. engine: of its storage. staged: what came of a bundle that was staged over
    more kiosks, null where none was. faults: what does not hold together, as `edgehemo laboratory
    verify` finds it.
    """

    schema: Literal["edgehemo.laboratory-demo/1"] = "edgehemo.laboratory-demo/1"
    address: str
    engine: Engine
    folder: str
    kiosks: list[KioskEntry]
    results: Count
    versions: Count
    pictures: Count
    staged: StagedOutput | None
    faults: list[str]


class VerifyOutput(Record, frozen=True, kw_only=True):
    """Whether what is stored holds together. faults: what is wrong, a phrase each."""

    schema: Literal["edgehemo.laboratory-verify/1"] = "edgehemo.laboratory-verify/1"
    chains: Count
    entries: Count
    versions: Count
    pictures: Count
    faults: list[str]
