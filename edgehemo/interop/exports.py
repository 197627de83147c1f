"""The table of export formats: those of the records, and those of other systems.

The command line, the documentation and the tests go by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgehemo.files.atomic import write_bytes_atomically
from edgehemo.interop.fhir import fhir_bundle
from edgehemo.interop.hl7 import oru_message
from edgehemo.interop.lab_result import lab_result
from edgehemo.records.exports.exporting import ExportFormat, Exporting, one_file_each
from edgehemo.records.exports.formats import FORMATS


def write_fhir_export(export: Exporting, out: Path) -> None:
    """FHIR R4 transactions: one file each, of several results in a folder."""
    for result, place in one_file_each(export, out, ".fhir.json"):
        told = lab_result(export.reader, result, export.view)
        write_bytes_atomically(place, fhir_bundle(told))
        export.on_result()


def write_hl7_export(export: Exporting, out: Path) -> None:
    """HL7 v2 messages: one file each, of several results in a folder."""
    for result, place in one_file_each(export, out, ".hl7"):
        told = lab_result(export.reader, result, export.view)
        write_bytes_atomically(place, oru_message(told, export.hl7_version))
        export.on_result()


EXPORTS: Mapping[str, ExportFormat] = {
    **FORMATS,
    "fhir": ExportFormat("fhir", "a FHIR R4 transaction", write_fhir_export),
    "hl7": ExportFormat("hl7", "an HL7 v2 message, ORU^R01", write_hl7_export),
}
