"""A result as a FHIR R4 transaction: DiagnosticReport, Observations, Specimen, Device.

One report and one observation a quantity stand for a result for ever: they are put where their
identifiers are (conditional update), so that a correction changes them and a bundle that comes
twice changes nothing. Where a value is withheld the observation says why, and holds no number.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from edgehemo.interop.lab_result import METHOD, Finding, LabResult, Quantity, Standing
from edgehemo.measurands import BLOOD_FACTS
from edgehemo.records.audit import canonical

MEDIA_TYPE = "application/fhir+json"
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
# The project's own names: of results, samples, devices, and of what has no code elsewhere.
RESULTS, SAMPLES, DEVICES = (
    "urn:x-edgehemo:result", "urn:x-edgehemo:sample", "urn:x-edgehemo:device",
)  # fmt: skip
CODES = "urn:x-edgehemo:code"
_NAMESPACE = uuid.UUID("b3c0c2c4-5a1c-5d0f-9f0e-ed9e8e4a0001")
_STATUS: Mapping[Standing, str] = {
    "preliminary": "preliminary",
    "final": "final",
    "corrected": "corrected",
    "held": "registered",
    "cancelled": "cancelled",
    "in error": "entered-in-error",
}
# Why a number is missing, in FHIR's terms, by the code of the guidance catalogue: this device
# cannot measure it. Of all other reasons the measurement was tried and failed.
_UNSUPPORTED = frozenset({"NOT_CALIBRATED", "NOT_CALIBRATED_FOR"})
Json = dict[str, Any]


def fhir_bundle(result: LabResult) -> bytes:
    """The transaction as canonical JSON, UTF-8: of the same version always the same bytes."""
    report, specimen, device = (
        _name(result, part) for part in ("report", "specimen", f"device:{result.device}")
    )
    made = [
        *(_observation(result, each) for each in result.quantities),
        _grade(result),
        *(_finding(result, each) for each in result.findings),
    ]
    observations = [(_name(result, key), content) for key, content in made]
    for _full_url, content in observations:
        content["specimen"], content["device"] = {"reference": specimen}, {"reference": device}
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "identifier": {"system": RESULTS, "value": f"{result.id}.{result.version}"},
        "meta": _meta(result),
        "entry": [
            _created(device, _device(result)),
            _created(specimen, _specimen(result)),
            *(_put(full_url, content) for full_url, content in observations),
            _put(report, _report(result, [name for name, _ in observations], specimen)),
        ],
    }
    if _instant(result.changed_at):
        bundle["timestamp"] = result.changed_at
    return canonical(bundle).encode("utf-8", "surrogatepass")


def _name(result: LabResult, part: str) -> str:
    """What a resource is called within the bundle: by what it is of."""
    return f"urn:uuid:{uuid.uuid5(_NAMESPACE, f'{result.store}/{result.id}/{part}')}"


def _created(full_url: str, resource: Json) -> Json:
    """An entry that is made where there is none of its identifier."""
    kind, identifier = resource["resourceType"], _token(resource)
    request = {"method": "POST", "url": kind, "ifNoneExist": f"identifier={identifier}"}
    return {"fullUrl": full_url, "resource": resource, "request": request}


def _put(full_url: str, resource: Json) -> Json:
    """An entry that takes the place of the one of its identifier."""
    url = f"{resource['resourceType']}?identifier={_token(resource)}"
    return {"fullUrl": full_url, "resource": resource, "request": {"method": "PUT", "url": url}}


def _token(resource: Json) -> str:
    identifier = resource["identifier"][0]
    return f"{identifier['system']}|{identifier['value']}"


def _meta(result: LabResult) -> Json:
    """What marks test data, so that no server takes simulated blood for a person's."""
    if not result.simulated:
        return {"source": f"urn:x-edgehemo:store:{result.store}"}
    security = {
        "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason",
        "code": "HTEST",
        "display": "test health data",
    }
    return {"source": f"urn:x-edgehemo:store:{result.store}", "security": [security]}


def _subject(result: LabResult) -> Json:
    """Whose it is: nothing but the sample's number, which stands for the person."""
    return {"type": "Patient", "identifier": {"system": SAMPLES, "value": result.sample}}


def _device(result: LabResult) -> Json:
    return {
        "resourceType": "Device",
        "identifier": [{"system": DEVICES, "value": f"{result.store}.{result.software}"}],
        "status": "active",
        "manufacturer": "edgehemo",
        "deviceName": [{"name": result.device, "type": "user-friendly-name"}],
        "type": {"text": "microscope with anaemia screening"},
        "version": [{"value": result.software}],
    }


def _specimen(result: LabResult) -> Json:
    return {
        "resourceType": "Specimen",
        "identifier": [{"system": SAMPLES, "value": result.sample}],
        "status": "available",
        "type": {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/v2-0487",
                    "code": "BLD",
                    "display": "Whole blood",
                }
            ],
            "text": "stained thin blood smear",
        },
        "subject": _subject(result),
    }


def _report(result: LabResult, observations: list[str], specimen: str) -> Json:
    report: Json = {
        "resourceType": "DiagnosticReport",
        "identifier": [{"system": RESULTS, "value": result.id}],
        "meta": _meta(result),
        "status": _STATUS[result.standing],
        "category": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/v2-0074",
                        "code": "HM",
                        "display": "Hematology",
                    }
                ]
            }
        ],
        "code": _own_code("smear-screening", "Anaemia screening from a blood smear"),
        "subject": _subject(result),
        "specimen": [{"reference": specimen}],
        "result": [{"reference": name} for name in observations],
        "conclusion": "\n".join(_conclusion(result)),
        **_effective(result),
    }
    if _instant(result.changed_at):
        report["issued"] = result.changed_at
    performers = [result.site, result.operator]
    if any(performers):
        report["performer"] = [{"display": name} for name in performers if name]
    if result.signed_by is not None:
        report["resultsInterpreter"] = [{"display": result.signed_by}]
    return report


def _conclusion(result: LabResult) -> list[str]:
    """What a reader sees first: the loud first, then the grade and what to do."""
    lines = list(result.notes)
    if result.withheld:
        lines.append(f"No result: withheld. {result.withheld}")
    elif result.grade and result.tells_numbers:
        lines.append(f"{result.grade}." + (" Set by a person." if result.by_person else ""))
    if result.tells_numbers:
        lines += [f"{finding.reason} {finding.action}" for finding in result.findings]
    lines += result.todo
    if result.why_changed:
        lines.append(f"Version {result.version}: {result.why_changed}")
    if result.comment:
        lines.append(f"Comment: {result.comment}")
    return lines


def _observation(result: LabResult, quantity: Quantity) -> tuple[str, Json]:
    facts = BLOOD_FACTS[quantity.key]
    code = {
        "coding": [{"system": LOINC, "code": facts.loinc}],
        "text": f"{facts.label}, {METHOD}",
    }
    made = _about(result, quantity.key, code)
    made["method"] = {"text": METHOD}
    if quantity.value is None or not result.tells_numbers:
        made["dataAbsentReason"] = _absent(result, quantity.why, quantity.code)
        return quantity.key, made
    made["valueQuantity"] = _amount(quantity.value, facts.unit, facts.ucum)
    made["note"] = [{"text": text} for text in (quantity.interval, *result.notes) if text]
    made["component"] = [
        {
            "code": _own_code(f"interval-95-{end}", f"95 % interval, {end} end"),
            "valueQuantity": _amount(value, facts.unit, facts.ucum),
        }
        for end, value in (("low", quantity.low), ("high", quantity.high))
        if value is not None
    ]
    return quantity.key, made


def _about(result: LabResult, key: str, code: Json) -> Json:
    """What all observations of a result have."""
    return {
        "resourceType": "Observation",
        "identifier": [{"system": RESULTS, "value": f"{result.id}.{key}"}],
        "meta": _meta(result),
        "status": _STATUS[result.standing],
        "category": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                        "code": "laboratory",
                        "display": "Laboratory",
                    }
                ]
            }
        ],
        "code": code,
        "subject": _subject(result),
        **_effective(result),
    }


def _absent(result: LabResult, why: str, code: str = "") -> Json:
    """Why something is missing. code: of the guidance catalogue."""
    if result.standing == "held":
        reason, text = "temp-unknown", "held: not to be used before it is released"
    elif result.standing == "cancelled":
        reason, text = "not-performed", "withdrawn before anybody signed it"
    elif code in _UNSUPPORTED:
        reason, text = "unsupported", why
    else:
        reason, text = "error", why
    return {"coding": [{"system": ABSENT, "code": reason}], "text": text or "not given"}


def _grade(result: LabResult) -> tuple[str, Json]:
    """The grade; where there is none too, for an earlier version may have had one."""
    code = _own_code("who-anaemia-grade", "WHO grade of anaemia, screening")
    made = _about(result, "grade", code)
    if result.grade and result.tells_numbers:
        made["valueCodeableConcept"] = {"text": result.grade}
    else:
        hgb = result.quantities[0]
        made["dataAbsentReason"] = _absent(result, result.withheld or hgb.why, hgb.code)
    return "grade", made


def _finding(result: LabResult, finding: Finding) -> tuple[str, Json]:
    made = _about(result, finding.code, _own_code(finding.code, "to be seen by a person"))
    if result.tells_numbers:
        made["valueString"] = f"{finding.reason} {finding.action}"
    else:
        made["dataAbsentReason"] = _absent(result, "")
    return finding.code, made


def _own_code(code: str, text: str) -> Json:
    return {"coding": [{"system": CODES, "code": code, "display": text}], "text": text}


def _amount(value: float, unit: str, ucum: str) -> Json:
    return {"value": value, "unit": unit, "system": UCUM, "code": ucum}


def _effective(result: LabResult) -> Json:
    """When the smear was read, where that can be believed."""
    return {"effectiveDateTime": result.made_at} if result.clock_set else {}


def _instant(text: str) -> bool:
    """Whether a date has its time and zone: a month alone is no instant."""
    return len(text) > len("2026-11-20")
