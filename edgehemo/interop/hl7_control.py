"""A check of a control slide as an HL7 v2 message: MSH-11 says Q, so that no receiver takes it for
a person's result.
"""

from __future__ import annotations

import hashlib

from edgehemo.control.history import ControlCheck
from edgehemo.interop.hl7 import (
    LOINC_NAMES,
    OWN,
    SENDER,
    as_message,
    escaped,
    fields,
    moment,
    notes,
)
from edgehemo.measurands import BLOOD_FACTS
from edgehemo.records.exports.exporting import Hl7Version

CONTROL = "Q"


def oru_control(check: ControlCheck, device: str, version: Hl7Version) -> bytes:
    """The message of a check as UTF-8: of the same check always the same bytes.

    device: what the device is called.
    """
    at = moment(check.at.isoformat())
    kind = "ORU^R01" if version == "2.3.1" else "ORU^R01^ORU_R01"
    digest = hashlib.sha256(f"{device}/{check.slide}/{check.at.isoformat()}".encode())
    header = [
        "MSH", "^~\\&", SENDER, escaped(device), "", "", at, "", kind,
        f"Q{digest.hexdigest()[:19]}", CONTROL, version, "", "", "", "", "", "UNICODE UTF-8",
    ]  # fmt: skip
    slide = escaped(check.slide)
    said = "The check passed." if check.passed else f"The check FAILED: {check.reason}"
    segments = [
        header,
        fields("OBR", {
            1: "1", 2: slide, 3: f"{digest.hexdigest()[:16]}^{SENDER}",
            4: f"control-slide^Check of a control slide^{OWN}", 7: at, 22: at, 24: "HM", 25: "F",
        }),
        *notes([said, *check.warnings]),
    ]  # fmt: skip
    for number, (quantity, value) in enumerate(check.values.items(), start=1):
        known = next((facts for key, facts in BLOOD_FACTS.items() if key == quantity), None)
        if known is None:
            code, unit = f"{escaped(quantity)}^{escaped(quantity.replace('_', ' '))}^{OWN}", ""
        else:
            code = f"{known.loinc}^{LOINC_NAMES[known.key]}^LN"
            unit = f"{escaped(known.ucum)}^{escaped(known.ucum)}^UCUM"
        broken = [item.rule for item in check.violations if item.quantity == quantity]
        segments.append(
            fields("OBX", {
                1: str(number), 2: "NM", 3: code, 4: "1" if version == "2.3.1" else "",
                5: f"{value:.6g}", 6: unit, 8: "A" if broken else "N", 11: "F", 14: at,
            })
        )  # fmt: skip
        deviation = check.deviations.get(quantity)
        off = "" if deviation is None else f"{deviation:+.2f} SD from the target"
        segments += notes([off, *(f"Westgard rule {rule} broken" for rule in broken)])
    if version == "2.5.1":
        # SPM-11: a specimen of quality control.
        segments.append(
            fields("SPM", {1: "1", 2: f"{slide}^{slide}", 4: "BLD^Whole blood^HL70487",
                           11: "Q^Control specimen^HL70369"})
        )  # fmt: skip
    return as_message(segments)
