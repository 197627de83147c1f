"""What a sent result says, as columns that pages and queries go by; pure.

The whole of it stays as it came. Only what is looked for is taken out, and it can be taken out anew
from what is stored: a column that comes later needs nothing from any kiosk.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edgehemo.interop.result_json import RESULT_SCHEMA
from edgehemo_laboratory.errors import LaboratoryError
from edgehemo_laboratory.storage.interface import StoredVersion, Value

# As stored; JSON shrinks tenfold.
_LEVEL = 6
# More than any result has.
MAX_RESULT_BYTES = 40_000_000
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Standing = Literal["given", "withheld", "held", "withdrawn"]


class _Amended(msgspec.Struct, frozen=True):
    override: dict[str, Any] | None = None
    comment: str | None = None


class _Version(msgspec.Struct, frozen=True):
    version: Annotated[int, Meta(ge=1, le=100_000)]
    state: Name
    change: Name
    at: Name
    by: str | None
    sample: str | None
    amendments: _Amended
    reason: str = ""


class _Interval(msgspec.Struct, frozen=True):
    value: float
    low: float | None = None
    high: float | None = None


class _Coded(msgspec.Struct, frozen=True):
    code: str = ""


class _Graded(msgspec.Struct, frozen=True):
    grade: str


class _Check(msgspec.Struct, frozen=True):
    name: str
    value: float | None = None
    verdict: str = ""
    code: str = ""


class _Image(msgspec.Struct, frozen=True):
    image: str = ""
    checks: list[_Check] = []
    cell_types: dict[str, dict[str, int]] | None = None


class _Sample(msgspec.Struct, frozen=True):
    accepted: Annotated[int, Meta(ge=0)] = 0
    refused: Annotated[int, Meta(ge=0)] = 0
    hgb_g_per_l: _Interval | None = None
    hct_l_per_l: _Interval | None = None
    rbc_1e12_per_l: _Interval | None = None
    indices: dict[str, Any] | None = None


class _Record(msgspec.Struct, frozen=True):
    sample: _Sample
    labels: dict[str, str | None]
    provenance: dict[str, Any]
    images: list[_Image] = []
    withheld: _Coded | None = None
    anaemia: _Graded | None = None


class _Sent(msgspec.Struct, frozen=True):
    """What is read of edgehemo.sent-result/1; what else stands in it is kept and not looked at."""

    schema: str
    store: Name
    identified: bool
    id: Name
    version: Annotated[int, Meta(ge=1, le=100_000)]
    state: Name
    outcome: Name
    made_at: Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT")]
    clock: Name
    simulated: bool
    software_version: Name
    versions: Annotated[list[_Version], Meta(min_length=1)]
    record: _Record
    sample: str | None = None
    site: str | None = None
    operator: str | None = None
    device: str | None = None
    person: dict[str, Any] | None = None
    bundle_sha256: str | None = None
    profile_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Contents:
    """A result that was sent. identity, sha256: as its item says. body: its bytes. said: what is
    read of it.
    """

    identity: str
    sha256: str
    body: bytes
    said: _Sent

    @property
    def store(self) -> str:
        """Whose records it is from."""
        return self.said.store

    def stored(self) -> StoredVersion:
        """As it is stored."""
        said = self.said
        last = said.versions[-1]
        return StoredVersion(
            identity=self.identity,
            sha256=self.sha256,
            result_id=said.id,
            version=said.version,
            state=said.state,
            change=last.change,
            changed_at=last.at,
            size=len(self.body),
            body=zlib.compress(self.body, _LEVEL),
            columns=columns_of(said),
        )


def contents_of(body: bytes, *, identity: str, sha256: str) -> Contents:
    """What bytes say; LaboratoryError, in words for who sent them, where that is no result."""
    try:
        said = msgspec.json.decode(body, type=_Sent)
    except (msgspec.DecodeError, RecursionError) as error:
        raise LaboratoryError(f"this is no result that the laboratory knows ({error})") from None
    if said.schema != RESULT_SCHEMA:
        raise LaboratoryError(f"the laboratory reads {RESULT_SCHEMA}, this is {said.schema[:60]}")
    if said.versions[-1].version != said.version:
        raise LaboratoryError("its last version is not the one that it says it is")
    if identity != sha256:
        raise LaboratoryError("its identity is not the digest of what it says")
    return Contents(identity, sha256, body, said)


def unpacked(body: bytes) -> bytes:
    """A stored version's bytes as they came."""
    return zlib.decompressobj().decompress(body, MAX_RESULT_BYTES)


def columns_of(said: _Sent) -> dict[str, Value]:
    """A value for each of `RESULT_COLUMNS`."""
    record, sample = said.record, said.record.sample
    hgb = sample.hgb_g_per_l
    return {
        "outcome": said.outcome,
        "standing": standing_of(said.state, said.outcome),
        "corrected": int(any(each.change == "corrected" for each in said.versions)),
        "sample": said.sample,
        "made_at": said.made_at,
        "day": said.made_at[:10],
        "clock": said.clock,
        "simulated": int(said.simulated),
        "identified": int(said.identified),
        "operator": said.operator,
        "withheld": None if record.withheld is None else record.withheld.code,
        "grade": _grade(said),
        "hgb_g_per_l": None if hgb is None else hgb.value,
        "hgb_low": None if hgb is None else hgb.low,
        "hgb_high": None if hgb is None else hgb.high,
        "hct_l_per_l": _value(sample.hct_l_per_l),
        "rbc_1e12_per_l": _value(sample.rbc_1e12_per_l),
        "hgb_index": _index(sample, "hgb_index"),
        "hct_index": _index(sample, "hct_index"),
        "rbc_index": _index(sample, "rbc_index"),
        "accepted": sample.accepted,
        "refused": sample.refused,
        "checks": _json(_medians(record.images)),
        "failed": _json(_failures(record.images)),
        "types": _json(_types(record.images)),
        "person": None if said.person is None else _json(said.person),
        "bundle_sha256": said.bundle_sha256,
        "profile_sha256": said.profile_sha256,
        "software_version": said.software_version,
    }


def standing_of(state: str, outcome: str) -> Standing:
    """What a result is to whoever uses it."""
    if state == "withdrawn":
        return "withdrawn"
    if state == "held":
        return "held"
    return "withheld" if outcome == "withheld" else "given"


def _grade(said: _Sent) -> str | None:
    override = said.versions[-1].amendments.override
    if override is not None:
        given = override.get("grade")
        return given if isinstance(given, str) and given else None
    return None if said.record.anaemia is None else said.record.anaemia.grade


def _value(interval: _Interval | None) -> float | None:
    return None if interval is None else interval.value


def _index(sample: _Sample, name: str) -> float | None:
    value = (sample.indices or {}).get(name)
    return float(value) if isinstance(value, int | float) else None


def _medians(images: Sequence[_Image]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for image in images:
        for check in image.checks:
            if check.value is not None:
                values.setdefault(check.name, []).append(check.value)
    return {name: median(found) for name, found in sorted(values.items())}


def _failures(images: Sequence[_Image]) -> dict[str, int]:
    codes = Counter(
        code
        for image in images
        for code in {check.code for check in image.checks if check.verdict == "fail" and check.code}
    )
    return dict(sorted(codes.items()))


def _types(images: Sequence[_Image]) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for image in images:
        for kind, types in (image.cell_types or {}).items():
            found.setdefault(kind, Counter()).update(types)
    return {kind: dict(sorted(types.items())) for kind, types in sorted(found.items())}


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
