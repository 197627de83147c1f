"""The table of formats: what makes each message, and what its file is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgehemo.device.receivers import MessageFormat
from edgehemo.interop import fhir, hl7
from edgehemo.interop.lab_messages import fhir_message, hl7_message
from edgehemo.interop.message import Encoder
from edgehemo.interop.result_json import result_message


@dataclass(frozen=True, slots=True)
class FormatFacts:
    """One format. encode: makes its messages. suffix: of a file that holds one. media_type: as HTTP
    says it.
    """

    encode: Encoder
    suffix: str
    media_type: str


FORMATS: Mapping[MessageFormat, FormatFacts] = {
    "json": FormatFacts(result_message, ".json", "application/json"),
    "fhir-r4": FormatFacts(fhir_message, ".fhir.json", fhir.MEDIA_TYPE),
    "hl7-2.5.1": FormatFacts(hl7_message("2.5.1"), ".hl7", hl7.MEDIA_TYPE),
    "hl7-2.3.1": FormatFacts(hl7_message("2.3.1"), ".hl7", hl7.MEDIA_TYPE),
}
