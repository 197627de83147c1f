"""Bundles at a real FHIR server: each result is there once, and changes with its versions."""

from __future__ import annotations

import hashlib
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from edgehemo.device.receivers import Receiver
from edgehemo.interop.fhir import MEDIA_TYPE, RESULTS, fhir_bundle
from edgehemo.interop.openelis.examples import RESULT, WITHHELD
from edgehemo.interop.receivers.door import Parcel
from edgehemo.interop.receivers.fhir_server import FhirDoor
from edgehemo.interop.states import Stored
from tests.support.node_parts import node_folder, node_program

pytestmark = pytest.mark.lab
SERVER = Path(__file__).parent / "parts" / "fhir_server.mjs"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    command = [node_program(), str(SERVER), str(node_folder())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def call(address: str, path: str, body: bytes | None = None) -> dict[str, Any]:
    headers = {"content-type": "application/fhir+json"}
    request = urllib.request.Request(address + path, data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        content: dict[str, Any] = json.loads(answer.read())
    return content


def sent(address: str, bundle: bytes) -> list[str]:
    answer = call(address, "/", bundle)
    assert answer["type"] == "transaction-response"
    return [entry["response"]["status"][:3] for entry in answer["entry"]]


def found(address: str, kind: str, value: str) -> list[dict[str, Any]]:
    answer = call(address, f"/{kind}?identifier={quote(f'{RESULTS}|{value}')}")
    return [entry["resource"] for entry in answer.get("entry", [])]


def test_a_bundle_that_comes_twice_is_there_once(address: str) -> None:
    bundle = fhir_bundle(RESULT)
    assert set(sent(address, bundle)) == {"201"}
    assert set(sent(address, bundle)) == {"200"}
    (report,) = found(address, "DiagnosticReport", RESULT.id)
    assert report["status"] == "final"
    (hgb,) = found(address, "Observation", f"{RESULT.id}.hgb_g_per_l")
    assert hgb["valueQuantity"]["value"] == 98.0
    # The names within the bundle have become addresses of the server.
    assert f"Observation/{hgb['id']}" in [item["reference"] for item in report["result"]]


def test_the_outbox_door_brings_it_there_and_knows_that_it_is(address: str) -> None:
    result = replace(RESULT, id="0000-test-0000-0011", sample="TEST-11")
    body = fhir_bundle(result)
    digest = hashlib.sha256(body).hexdigest()
    parcel = Parcel(1, 1, result.id, 2, digest, digest, MEDIA_TYPE, ".fhir.json", body)
    door = FhirDoor(Receiver(name="clinic", kind="fhir", address=f"{address}/"))
    try:
        first, second = door.send([parcel])[0], door.send([parcel])[0]
    finally:
        door.close()
    assert isinstance(first, Stored) and isinstance(second, Stored)
    entries = len(json.loads(body)["entry"])
    assert first.said == f"{entries - 1} new, 1 there already"  # the device is known
    assert second.said == f"0 new, {entries} there already"


def test_a_later_version_changes_what_is_there(address: str) -> None:
    first = replace(RESULT, id="0000-test-0000-0009", sample="TEST-9")
    sent(address, fhir_bundle(first))
    held = replace(first, version=3, standing="held")
    sent(address, fhir_bundle(held))
    (report,) = found(address, "DiagnosticReport", first.id)
    (hgb,) = found(address, "Observation", f"{first.id}.hgb_g_per_l")
    assert (report["status"], hgb["status"]) == ("registered", "registered")
    assert "valueQuantity" not in hgb and "component" not in hgb
    corrected = replace(first, version=4, standing="corrected", sample="TEST-10")
    sent(address, fhir_bundle(corrected))
    (report,) = found(address, "DiagnosticReport", first.id)
    assert report["status"] == "corrected"
    assert report["subject"]["identifier"]["value"] == "TEST-10"


def test_a_withheld_result_is_stored_with_its_reason(address: str) -> None:
    sent(address, fhir_bundle(WITHHELD))
    (hgb,) = found(address, "Observation", f"{WITHHELD.id}.hgb_g_per_l")
    assert "focus" in hgb["dataAbsentReason"]["text"]
