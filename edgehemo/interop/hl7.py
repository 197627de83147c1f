"""A result as an HL7 v2 message, ORU^R01 of version 2.3.1 or 2.5.1.

Whose it is stands in PID-3 as the sample's number; PID-5 says that this is a pseudonym. An interval
is a note: OBX-7 is for the values of healthy people. Observations of findings come after the
numbers. Control characters of HL7 in a text are escaped, characters are UTF-8.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal

from edgehemo.interop.lab_result import METHOD, LabResult, Quantity, Standing
from edgehemo.measurands import BLOOD_FACTS, BloodQuantity
from edgehemo.records.exports.exporting import Hl7Version

# What stands for a number that is not given. not obtained: OBX-11 X and no value; text: the words
# in the place of the number, for receivers that refuse X.
WithheldAs = Literal["not obtained", "text"]
MEDIA_TYPE = "application/hl7-v2"
SENDER = "edgehemo"
# Coding system of the project's own codes; names that begin with 99 are local ones.
OWN = "99EDG"
# OBR-25 (table 0123) and OBX-11 (table 0085). W: sent before and wrong.
_STATUS: Mapping[Standing, tuple[str, str]] = {
    "preliminary": ("P", "P"),
    "final": ("F", "F"),
    "corrected": ("C", "C"),
    "held": ("I", "I"),
    "cancelled": ("X", "X"),
    "in error": ("X", "W"),
}
# Names that belong to the codes in LOINC.
LOINC_NAMES: Mapping[BloodQuantity, str] = {
    "hgb_g_per_l": "Hemoglobin",
    "hct_l_per_l": "Hematocrit",
    "rbc_1e12_per_l": "Erythrocytes",
    "mcv_fl": "MCV",
    "mch_pg": "MCH",
    "mchc_g_per_l": "MCHC",
}
_ESCAPES = {
    "\\": "\\E\\",
    "|": "\\F\\",
    "^": "\\S\\",
    "~": "\\R\\",
    "&": "\\T\\",
    "\n": "\\.br\\",
    "\r": " ",
}


def oru_message(
    result: LabResult, version: Hl7Version, *, withheld: WithheldAs = "not obtained"
) -> bytes:
    """The message as UTF-8, its segments ended by CR: of the same version of a result always the
    same bytes.
    """
    segments = [
        _header(result, version),
        ["PID", "1", "", f"{escaped(result.sample)}^^^{SENDER}", "", "^^^^^^S"],
        _request(result),
        *notes([*result.notes, *_said(result)]),
        *_observations(result, version, withheld),
    ]
    if version == "2.5.1":
        sample = f"{escaped(result.sample)}^{escaped(result.id)}"
        segments.append(["SPM", "1", sample, "", "BLD^Whole blood^HL70487"])
    return as_message(segments)


def as_message(segments: Iterable[Sequence[str]]) -> bytes:
    """Segments as they are sent."""
    return "".join("|".join(segment) + "\r" for segment in segments).encode("utf-8")


def control_id(result: LabResult) -> str:
    """MSH-10, at most 20 characters: it follows from the result and its version."""
    return f"{result.id.replace('-', '')}.{result.version}"[:20]


def _header(result: LabResult, version: Hl7Version) -> list[str]:
    kind = "ORU^R01" if version == "2.3.1" else "ORU^R01^ORU_R01"
    # MSH-11: T is training, which no receiver takes for a person's.
    processing = "T" if result.simulated else "P"
    facility = escaped(result.site or result.device)
    return [
        "MSH", "^~\\&", SENDER, facility, "", "", moment(result.changed_at), "", kind,
        control_id(result), processing, version, "", "", "", "", "", "UNICODE UTF-8",
    ]  # fmt: skip


def _request(result: LabResult) -> list[str]:
    status, _ = _STATUS[result.standing]
    values = {
        1: "1",
        2: escaped(result.sample),
        3: f"{escaped(result.id)}^{SENDER}",
        4: f"smear-screening^Anaemia screening from a blood smear^{OWN}",
        7: moment(result.made_at) if result.clock_set else "",
        10: "" if result.operator is None else escaped(result.operator),
        22: moment(result.changed_at),
        24: "HM",
        25: status,
        32: "" if result.signed_by is None else escaped(result.signed_by),
    }
    return fields("OBR", values)


def _said(result: LabResult) -> Iterator[str]:
    """What the numbers alone do not say."""
    if result.withheld:
        yield f"No result: withheld. {result.withheld}"
    if result.standing == "corrected":
        yield f"Corrected, version {result.version}. {result.why_changed}".strip()
    yield from result.todo
    if result.comment:
        yield f"Comment: {result.comment}"


def _observations(
    result: LabResult, version: Hl7Version, withheld: WithheldAs
) -> Iterator[list[str]]:
    number = 0
    for quantity in result.quantities:
        number += 1
        yield _quantity(result, number, quantity, version, withheld)
        note = quantity.interval if result.tells_numbers else ""
        yield from notes([note or quantity.why])
    number += 1
    grade = result.grade if result.tells_numbers else ""
    yield _observation(
        result, number, "CE" if version == "2.3.1" else "CWE",
        f"who-anaemia-grade^WHO grade of anaemia, screening^{OWN}",
        f"^{escaped(grade)}" if grade else "", "", version, withheld,
    )  # fmt: skip
    for finding in result.findings:
        number += 1
        said = f"{finding.reason} {finding.action}" if result.tells_numbers else ""
        code = f"{finding.code}^to be seen by a person^{OWN}"
        yield _observation(result, number, "ST", code, escaped(said), "", version, withheld)


def _quantity(
    result: LabResult, number: int, quantity: Quantity, version: Hl7Version, withheld: WithheldAs
) -> list[str]:
    facts = BLOOD_FACTS[quantity.key]
    code = f"{facts.loinc}^{LOINC_NAMES[quantity.key]}^LN"
    value, unit = "", ""
    if quantity.value is not None and result.tells_numbers:
        value = facts.stored(quantity.value)
        unit = f"{escaped(facts.ucum)}^{escaped(facts.ucum)}^UCUM"
    return _observation(result, number, "NM", code, value, unit, version, withheld)


def _observation(
    result: LabResult,
    number: int,
    kind: str,
    code: str,
    value: str,
    unit: str,
    version: Hl7Version,
    withheld: WithheldAs,
) -> list[str]:
    _, status = _STATUS[result.standing]
    if not value and result.tells_numbers and result.standing != "in error":
        if withheld == "text":
            kind, value = "ST", "not given"
        else:
            status = "X"
    values = {
        1: str(number),
        2: kind,
        3: code,
        # Only 2.3.1 wants it where no code comes twice.
        4: "1" if version == "2.3.1" else "",
        5: value,
        6: unit,
        11: status,
        14: moment(result.made_at) if result.clock_set else "",
        16: "" if result.signed_by is None else escaped(result.signed_by),
        17: f"smear-picture^{METHOD}^{OWN}",
    }
    if version == "2.5.1":
        values[18] = f"{escaped(result.device)}^{SENDER}"
    return fields("OBX", values)


def notes(texts: Iterable[str]) -> Iterator[list[str]]:
    """Texts as NTE segments; empty ones are left out."""
    for number, text in enumerate(filter(None, texts), start=1):
        yield ["NTE", str(number), "L", escaped(text)]


def fields(name: str, values: Mapping[int, str]) -> list[str]:
    """A segment of its fields by number; what is between is empty."""
    last = max((number for number, value in values.items() if value), default=0)
    return [name, *(values.get(number, "") for number in range(1, last + 1))]


def escaped(text: str) -> str:
    """A text whose control characters are escaped."""
    return "".join(_ESCAPES.get(character, character) for character in text)


def moment(text: str) -> str:
    """An ISO date as HL7 writes it, with its zone; of a month alone its month."""
    if len(text) <= len("2026-11"):
        return text.replace("-", "")
    at = datetime.fromisoformat(text)
    return f"{at:%Y%m%d%H%M%S%z}"
