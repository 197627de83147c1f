"""The first check of a version: the stored slide gives the numbers that stand beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgehemo.bundle.bundle import load_bundle
from edgehemo_firmware import first_check
from edgehemo_firmware.first_check import (
    ExpectedField,
    ExpectedNumbers,
    Tolerances,
    expected_slide,
    faults_of,
    main,
    slide_faults,
)
from tests.support.schemas import validate

DEVICE = 'schema = "edgehemo.device/1"\nname = "k1"\nboard = "raspberry_pi_5"\n'


@pytest.fixture
def numbers() -> ExpectedNumbers:
    return ExpectedNumbers(
        runtime="onnx",
        precision="int8",
        fields=(
            ExpectedField(image="1.png", accepted=True, counts={"rbc": 62, "wbc": 1}),
            ExpectedField(image="2.png", accepted=False),
        ),
        indices={"hgb_index": 0.05},
    )


TOLERANCES = Tolerances(cells=3, share=0.03)


def test_the_stored_slide_gives_its_numbers_here() -> None:
    """Of the bundle that ships now: after another is exported, `make test-slide`."""
    expected = expected_slide()
    validate(expected.model_dump())
    assert expected.bundle_sha256 == load_bundle().digest, "run `make test-slide`"
    assert list(slide_faults()) == []


def test_the_numbers_are_known_for_every_artefact_that_ships() -> None:
    ships = {(item.format, item.precision) for item in load_bundle().model("cell_finder").artefacts}
    assert {(item.runtime, item.precision) for item in expected_slide().numbers} == ships


def test_the_slide_asks_of_every_part_of_a_screening() -> None:
    """A field that quality refuses, red cells, a white one, platelets, every index."""
    (numbers, *_) = expected_slide().numbers
    assert {field.accepted for field in numbers.fields} == {True, False}
    counts = [field.counts or {} for field in numbers.fields]
    assert all(sum(each.get(kind, 0) for each in counts) for kind in ("rbc", "wbc", "platelet"))
    assert set(numbers.indices) == set(first_check.INDICES)


def field(image: str, accepted: bool, **counts: int) -> ExpectedField:
    return ExpectedField(image=image, accepted=accepted, counts=counts or None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda n: {}, []),
        (lambda n: {"indices": {"hgb_index": 0.0514}}, []),
        (lambda n: {"indices": {"hgb_index": 0.0516}}, ["hgb_index: 0.0516, 0.05 expected"]),
        (lambda n: {"indices": {}}, ["hgb_index: None, 0.05 expected"]),
        (
            lambda n: {"fields": (field("1.png", True, rbc=65, wbc=1), n.fields[1])},
            [],
        ),
        (
            lambda n: {"fields": (field("1.png", True, rbc=66, wbc=1), n.fields[1])},
            ["1.png: 66 rbc found, 62 expected"],
        ),
        (
            lambda n: {"fields": (field("1.png", True), n.fields[1])},
            ["1.png: 0 rbc found, 62 expected"],
        ),
        (
            lambda n: {"fields": (n.fields[0], field("2.png", True, rbc=9))},
            ["2.png: is accepted and must be refused"],
        ),
        (
            lambda n: {"fields": (field("1.png", False), n.fields[1])},
            ["1.png: is refused and must be accepted"],
        ),
        (lambda n: {"fields": n.fields[:1]}, ["2.png: is not read and must be refused"]),
    ],
)
def test_what_differs_is_told(
    numbers: ExpectedNumbers,
    change: Callable[[ExpectedNumbers], dict[str, object]],
    said: list[str],
) -> None:
    found = numbers.model_copy(update=change(numbers))
    assert list(faults_of(found, numbers, TOLERANCES)) == said


def test_another_bundle_than_the_numbers_are_of_is_a_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = expected_slide().model_copy(update={"bundle_sha256": "0" * 64})
    monkeypatch.setattr(first_check, "expected_slide", lambda: other)
    (fault,) = slide_faults()
    assert "the numbers are of 000000000000" in fault


def report(capsys: pytest.CaptureFixture[str], *checks: str) -> tuple[int, dict[str, object]]:
    code = main(checks)
    told: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return code, told


def test_a_configuration_that_the_version_does_not_take_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "device.toml"
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(path))
    path.write_text(f'{DEVICE}[paths]\ndata = "{tmp_path}"\n')
    assert report(capsys, "equipment", "records")[0] == 0
    path.write_text(DEVICE + "[camera]\nsharpness = 3\n")
    code, told = report(capsys, "equipment")
    assert code == 1 and "camera.sharpness" in str(told["faults"])


def test_checks_that_a_later_version_asks_for_are_passed_over(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, told = report(capsys, "phase of the moon")
    assert (code, told["checks"], told["faults"]) == (0, [], [])
