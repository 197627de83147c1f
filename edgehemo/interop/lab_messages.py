"""Messages for laboratory systems: a version as FHIR R4, or as HL7 v2."""

from __future__ import annotations

import hashlib

from edgehemo.interop import fhir, hl7
from edgehemo.interop.fhir import fhir_bundle
from edgehemo.interop.hl7 import WithheldAs, oru_message
from edgehemo.interop.lab_result import LabResult, lab_result
from edgehemo.interop.message import Encoder, Message, Told
from edgehemo.records.deidentified import View
from edgehemo.records.exports.exporting import Hl7Version


def fhir_message(told: Told) -> Message:
    """The transaction of a version. RecordsError where its reading cannot be read."""
    body = fhir_bundle(_result(told))
    return Message(hashlib.sha256(body).hexdigest(), fhir.MEDIA_TYPE, body)


def hl7_message(version: Hl7Version) -> Encoder:
    """What makes messages of a version of HL7."""

    def made(told: Told) -> Message:
        withheld: WithheldAs = "text" if told.withheld == "text" else "not obtained"
        body = oru_message(_result(told), version, withheld=withheld)
        return Message(hashlib.sha256(body).hexdigest(), hl7.MEDIA_TYPE, body)

    return made


def _result(told: Told) -> LabResult:
    seen = View.of(told.reader, identified=told.identified)
    return lab_result(told.reader, told.result, seen)
