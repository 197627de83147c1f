"""The analyzer profile for OpenELIS, made from the project's own tables of codes and units."""

from __future__ import annotations

import hashlib
from typing import Any

from edgehemo.interop.hl7 import LOINC_NAMES, SENDER
from edgehemo.interop.hl7_control import CONTROL
from edgehemo.measurands import BLOOD_FACTS
from edgehemo.records.audit import canonical

# The contract that it was written against: names of fields and what they may hold.
SCHEMA = "https://openelis-global.org/contracts/analyzer/v1/analyzer-profile.schema.json"
PORT = 2575
REVISION = 1
PUBLISHED_AT = "2026-11-27T00:00:00Z"


def openelis_profile() -> dict[str, Any]:
    """The profile as JSON values. Its fingerprints are digests of what they stand for; a bridge
    that takes it in writes its own.
    """
    recognition: dict[str, Any] = {
        "mode": "RULES",
        "rules": {
            "processing-id-control": {
                "ruleType": "FIELD_EQUALS",
                "targetField": "MSH.11",
                "operand": CONTROL,
            }
        },
    }
    profile: dict[str, Any] = {
        "$schema": SCHEMA,
        "schemaVersion": "1.0",
        "profileMeta": {
            "id": "edgehemo-hl7",
            "version": "1.0.0",
            "displayName": "edgehemo anaemia screening (HL7)",
            "manufacturer": "edgehemo",
            # Estimates from pictures, not measurements of an analyser.
            "confidence": "ESTIMATED",
        },
        "analyzer_name": "edgehemo anaemia screening",
        "manufacturer": "edgehemo",
        "model": "edgehemo",
        "category": "HEMATOLOGY",
        "protocol": {"name": "HL7", "version": "2.5.1"},
        "identifier_pattern": SENDER,
        "msh3_pattern": SENDER,
        "transport": ["MLLP"],
        "transport_config": {"MLLP": {"default_port": PORT, "encoding": "UTF-8"}},
        "communication": {"mode": "ANALYZER_INITIATED", "supports_lis_initiated": False},
        "capabilities": {
            "inboundResults": True, "outboundOrders": False, "connectionTest": False,
        },
        "default_test_mappings": [
            {
                "test_code": facts.loinc,
                "aliases": [facts.name],
                "test_name_hint": LOINC_NAMES[key],
                "loinc": facts.loinc,
                "unit": facts.ucum,
                "result_type": "quantitative",
            }
            for key, facts in BLOOD_FACTS.items()
        ],
        "configDefaults": {
            "connectionRole": "SERVER",
            "defaultTransport": "MLLP",
            "defaultPort": PORT,
            "aggregationMode": "PER_MESSAGE",
        },
        "controlResultRecognition": recognition,
        "authoring": {
            "notes": "Estimates from pictures of a stained blood smear, for screening. A withheld "
            "value comes as OBX-11 X with the reason in NTE. Simulated samples have MSH-11 T."
        },
    }  # fmt: skip
    profile["catalog"] = {
        "revision": REVISION,
        "revisionFingerprint": _fingerprint(profile),
        "recognitionFingerprint": _fingerprint(recognition),
        "source": "SITE",
        "status": "ACTIVE",
        "publishedAt": PUBLISHED_AT,
        "publishedBy": "edgehemo",
    }
    return profile


def _fingerprint(value: object) -> str:
    return f"sha256:{hashlib.sha256(canonical(value).encode('utf-8')).hexdigest()}"
