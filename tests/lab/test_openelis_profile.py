"""The analyzer profile against OpenELIS's published contract, where that is at hand.

Its licence is its own: the schema is no part of this project. ``EDGEHEMO_OPENELIS`` names a folder
with ``analyzer-profile.schema.json`` of contracts/analyzer/v1 of the analyzer bridge.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edgehemo.interop.openelis.profile import SCHEMA, openelis_profile

pytestmark = pytest.mark.lab
NAME = "analyzer-profile.schema.json"


@pytest.fixture
def schema() -> dict[str, Any]:
    place = Path(os.environ.get("EDGEHEMO_OPENELIS", "")) / NAME
    if not os.environ.get("EDGEHEMO_OPENELIS") or not place.is_file():
        pytest.skip(f"EDGEHEMO_OPENELIS names no folder with {NAME}")
    content: dict[str, Any] = json.loads(place.read_text("utf-8"))
    return content


def test_the_profile_keeps_to_the_contract(schema: dict[str, Any]) -> None:
    assert schema["$id"] == SCHEMA
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(openelis_profile())
    wrong = openelis_profile()
    wrong["controlResultRecognition"]["rules"]["processing-id-control"]["targetField"] = "O.12"
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(wrong)
