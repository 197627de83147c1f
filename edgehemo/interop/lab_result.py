"""A version of a result as laboratories know results: what FHIR and HL7 v2 are made from.

Everything here belongs to the version itself, so that a message made again is the same: no date of
sending, no head of the chain as it is now, no mark of a later control.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edgehemo.measurands import BLOOD_FACTS, BloodQuantity
from edgehemo.records.audit import canonical
from edgehemo.records.deidentified import View
from edgehemo.records.results import State, StoredResult
from edgehemo.records.store import Reader
from edgehemo.records.versions import amendments_of
from edgehemo.report.told import sentence
from edgehemo.report.verdict import verdict_of
from edgehemo.words.language import Words

# What becomes of a result in a laboratory's terms. cancelled: withdrawn before anybody signed it;
# in error: afterwards.
Standing = Literal["preliminary", "final", "corrected", "held", "cancelled", "in error"]
_STANDING: Mapping[State, Standing] = {
    "unsigned": "preliminary",
    "signed": "final",
    "corrected": "corrected",
    "held": "held",
    "withdrawn": "in error",
}
# Of these no number is told: it must not be used yet, or was never given.
WITHOUT_NUMBERS: frozenset[Standing] = frozenset({"held", "cancelled"})
METHOD = "estimated from pictures of a stained blood smear"
SCREENING_ONLY = "Screening only, not a diagnosis. Confirm with a laboratory measurement."
SIMULATED = "SIMULATED: drawn by the simulated microscope; no blood stands behind any number."
DEMONSTRATION = "DEMONSTRATION: calibrated on too few samples; the accuracy is not known."
_ENGLISH = Words()


@dataclass(frozen=True, slots=True)
class Quantity:
    """One quantity. value, low, high: in its own unit, None where it is not given, and ``why`` and
    its ``code`` say why.
    """

    key: BloodQuantity
    value: float | None
    low: float | None
    high: float | None
    why: str
    code: str

    @property
    def interval(self) -> str:
        """Its 95 % interval in words, empty without one."""
        if self.value is None or self.low is None or self.high is None:
            return ""
        facts = BLOOD_FACTS[self.key]
        return f"95 % interval: {facts.shown(self.low)} to {facts.with_unit(self.high)}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a person must look at: code of the guidance catalogue, reason and action in words."""

    code: str
    reason: str
    action: str


@dataclass(frozen=True, slots=True)
class LabResult:
    """One version. sample, device, site, operator: as they may be told, None where not known.
    made_at: when the smear was read, changed_at: when this version was made, ISO; where the day may
    not be told only year and month. clock_set: whether made_at can be believed. withheld: why there
    is no result, empty where there is one. grade: in words, empty without one; by_person: who set
    it was a person. signed_by: None where nobody did. notes: what must be read with it.
    """

    id: str
    version: int
    standing: Standing
    sample: str
    site: str | None
    operator: str | None
    device: str
    store: str
    made_at: str
    changed_at: str
    clock_set: bool
    simulated: bool
    software: str
    withheld: str
    quantities: tuple[Quantity, ...]
    grade: str
    by_person: bool
    findings: tuple[Finding, ...]
    signed_by: str | None
    comment: str | None
    why_changed: str
    notes: tuple[str, ...]
    todo: tuple[str, ...]

    @property
    def identity(self) -> str:
        """Hexadecimal SHA-256 of all it says."""
        values = {name: _plain(getattr(self, name)) for name in self.__slots__}
        return hashlib.sha256(canonical(values).encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def tells_numbers(self) -> bool:
        """Whether values may be used."""
        return self.standing not in WITHOUT_NUMBERS


def lab_result(reader: Reader, result: StoredResult, seen: View) -> LabResult:
    """Of a stored result at its latest version. RecordsError where its reading cannot be read.

    seen: how results leave the device.
    """
    record = seen.record(result, result.document(reader).record)
    latest, amendments = result.latest, amendments_of(result.latest)
    override = None if amendments.override is None else amendments.override.grade or ""
    verdict = verdict_of(record, _ENGLISH, override)
    held_back = record["withheld"]
    graded = override not in (None, "") or (override is None and record["anaemia"] is not None)
    signed = [version for version in result.versions if version.change == "signed"]
    standing = _STANDING[latest.state]
    if standing == "in error" and not signed:
        standing = "cancelled"
    findings = record["sample"]["findings"]
    return LabResult(
        id=result.id,
        version=latest.version,
        standing=standing,
        sample=seen.name("sample", latest.sample) or "",
        site=seen.name("site", result.site),
        operator=seen.name("operator", result.operator),
        device=seen.name("device", result.device) or "",
        store=reader.id,
        made_at=_moment(result.made_at, seen),
        changed_at=_moment(latest.at, seen),
        clock_set=result.clock == "set",
        simulated=result.simulated,
        software=result.software_version,
        withheld="" if held_back is None else sentence(held_back["reason"]),
        quantities=tuple(_quantity(key, record["sample"]) for key in BLOOD_FACTS),
        grade=verdict.title if graded else "",
        by_person=override is not None,
        findings=tuple(
            Finding(item["code"], sentence(item["reason"]), sentence(item["action"]))
            for item in findings
        ),
        signed_by=seen.name("operator", signed[-1].by) if signed else None,
        comment=amendments.comment if seen.identified else None,
        why_changed=latest.reason if seen.identified else "",
        notes=_notes(
            record, standing, override, simulated=result.simulated, clock_set=result.clock == "set"
        ),
        todo=(sentence(held_back["action"]), *verdict.todo) if held_back else verdict.todo,
    )


def sent_lab_result(sent: Mapping[str, Any]) -> LabResult:
    """Of a version as it was sent to a laboratory (``edgehemo.sent-result/1``): the same that
    `lab_result` says of it where it is stored. KeyError for what is no such version.
    """
    record, latest = sent["record"], sent["versions"][-1]
    said = latest["amendments"].get("override")
    override = None if said is None else said.get("grade") or ""
    verdict = verdict_of(record, _ENGLISH, override)
    held_back = record["withheld"]
    graded = override not in (None, "") or (override is None and record["anaemia"] is not None)
    signed = [version for version in sent["versions"] if version["change"] == "signed"]
    standing = _STANDING[latest["state"]]
    if standing == "in error" and not signed:
        standing = "cancelled"

    def moment(text: str) -> str:
        return text if sent["identified"] else text[:7]

    return LabResult(
        id=sent["id"],
        version=latest["version"],
        standing=standing,
        sample=latest["sample"] or "",
        site=sent["site"],
        operator=sent["operator"],
        device=sent["device"] or "",
        store=sent["store"],
        made_at=moment(sent["made_at"]),
        changed_at=moment(latest["at"]),
        clock_set=sent["clock"] == "set",
        simulated=sent["simulated"],
        software=sent["software_version"],
        withheld="" if held_back is None else sentence(held_back["reason"]),
        quantities=tuple(_quantity(key, record["sample"]) for key in BLOOD_FACTS),
        grade=verdict.title if graded else "",
        by_person=override is not None,
        findings=tuple(
            Finding(item["code"], sentence(item["reason"]), sentence(item["action"]))
            for item in record["sample"]["findings"]
        ),
        signed_by=signed[-1]["by"] if signed else None,
        comment=latest["amendments"].get("comment") if sent["identified"] else None,
        why_changed=latest["reason"] if sent["identified"] else "",
        notes=_notes(
            record,
            standing,
            override,
            simulated=sent["simulated"],
            clock_set=sent["clock"] == "set",
        ),
        todo=(sentence(held_back["action"]), *verdict.todo) if held_back else verdict.todo,
    )


def _quantity(key: BloodQuantity, sample: Mapping[str, Any]) -> Quantity:
    given = sample[key]
    if given is None:
        why = sentence(sample["reasons"].get(key, ""))
        return Quantity(key, None, None, None, why, sample["reason_codes"].get(key, ""))
    return Quantity(key, given["value"], given["low"], given["high"], "", "")


def _notes(
    record: Mapping[str, Any],
    standing: Standing,
    override: str | None,
    *,
    simulated: bool,
    clock_set: bool,
) -> tuple[str, ...]:
    said = [SCREENING_ONLY]
    if simulated:
        said.insert(0, SIMULATED)
    if record["sample"]["calibration"] == "demonstration":
        said.append(DEMONSTRATION)
    if not clock_set:
        said.append("The clock was not set: the date cannot be believed.")
    if standing == "held":
        said.append("HELD: do not use this result before it is released.")
    if standing in ("cancelled", "in error"):
        said.append("WITHDRAWN: do not use this result.")
    if override is not None:
        computed = record["anaemia"]
        was = "none" if computed is None else verdict_of(record, _ENGLISH).title
        said.append(f"A person set the grade; the program had said: {was}.")
    return tuple(said)


def _moment(text: str, seen: View) -> str:
    return text if seen.identified else text[:7]


def _plain(value: Any) -> Any:
    """JSON values of a field."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, (Quantity, Finding)):
        return [getattr(value, name) for name in value.__slots__]
    return value
