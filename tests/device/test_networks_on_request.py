"""A network that reads whole fields is opened and run only where it is asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgehemo import api
from edgehemo.bundle.bundle import load_bundle
from edgehemo.bundle.manifest import ModelTask
from edgehemo.commands.screen import screen
from edgehemo.demo.demonstration import SIMULATED_PROFILE, sample_image
from edgehemo.device.configuration import load_device
from edgehemo.device.equipment import calibrated_on_network, open_equipment
from edgehemo.estimate.network import ANAEMIA_LOG_ODDS, NETWORK_TASKS, open_field_networks
from edgehemo.profile.profile import CalibrationProfile, load_profile


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "field.jpg"
    path.write_bytes(sample_image())
    return path


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[ModelTask]:
    """The tasks whose artefacts were looked at."""
    tasks: list[ModelTask] = []
    cls = type(load_bundle())
    real = cls.artefact

    def noted(self, task, *given, **named):  # type: ignore[no-untyped-def]
        tasks.append(task)
        return real(self, task, *given, **named)

    monkeypatch.setattr(cls, "artefact", noted)
    return tasks


def on_network(profile: CalibrationProfile) -> CalibrationProfile:
    """The profile with its haemoglobin on the field estimator."""
    assert profile.analyser is not None
    measurands = tuple(
        item.model_copy(update={"estimator": "network-hgb", "features": ("network_hgb",)})
        if item.measurand == "hgb_g_per_l"
        else item
        for item in profile.analyser.measurands
    )
    analyser = profile.analyser.model_copy(update={"measurands": measurands})
    return profile.model_copy(update={"analyser": analyser})


def test_a_plain_screening_opens_neither(picture: Path, opened: list[ModelTask]) -> None:
    result = api.screen(picture)
    assert opened and not set(opened) & set(NETWORK_TASKS)
    assert result.reading.accepted
    assert all(field.indices and not field.indices.model for field in result.reading.accepted)
    record = result.record
    assert record["anaemia_screen"] is None
    assert record["anaemia_screen_reason"] == "nobody asked for it"


def test_each_runs_where_it_is_asked_for(picture: Path, opened: list[ModelTask]) -> None:
    result = api.screen(picture, anaemia_screen=True)
    assert "anaemia_screen" in opened and "field_estimator" not in opened
    (field,) = result.reading.accepted
    assert field.indices is not None
    record = result.record
    # Inside its envelope it answers, outside it says so; either way nobody has to guess.
    assert (record["anaemia_screen"] is None) == (ANAEMIA_LOG_ODDS not in field.indices.model)
    assert bool(record["anaemia_screen_reason"]) == (record["anaemia_screen"] is None)
    opened.clear()
    (field,) = api.screen(picture, field_estimator=True).reading.accepted
    assert "field_estimator" in opened and "anaemia_screen" not in opened
    assert field.indices is not None and "hgb" in field.indices.model


def test_estimate_asks_the_field_estimator(picture: Path, opened: list[ModelTask]) -> None:
    reading = api.estimate(picture)
    assert "field_estimator" in opened and "anaemia_screen" not in opened
    assert reading.indices is not None and "hgb" in reading.indices.model


def test_a_profile_that_stands_on_the_estimator_asks_for_it() -> None:
    shipped = load_profile(SIMULATED_PROFILE)
    assert not calibrated_on_network(None)
    assert not calibrated_on_network(shipped)
    assert calibrated_on_network(on_network(shipped))
    equipment = open_equipment(None, SIMULATED_PROFILE)
    assert equipment.networks_wanted() == ()
    standing = replace(equipment, profile=on_network(shipped))
    assert standing.networks_wanted() == ("field_estimator",)
    assert standing.networks_wanted(anaemia_screen=True) == NETWORK_TASKS
    networks = standing.reader().networks
    assert networks is not None and networks.asked == ("field_estimator",)


def test_the_device_configuration_asks_for_the_screen_and_a_screening_can_refuse() -> None:
    equipment = open_equipment(None, None)
    device = load_device("workstation")
    section = device.screening.model_copy(update={"anaemia_screen": True})
    asking = replace(equipment, device=device.model_copy(update={"screening": section}))
    assert asking.networks_wanted() == ("anaemia_screen",)
    assert asking.networks_wanted(anaemia_screen=False) == ()


def test_what_the_bundle_lacks_is_told_apart_from_what_nobody_asked_for() -> None:
    bundle = load_bundle()
    without = replace(
        bundle,
        manifest=bundle.manifest.model_copy(
            update={"models": tuple(m for m in bundle.manifest.models if m.task == "cell_finder")}
        ),
    )
    assert open_field_networks(without, (), threads=1) is None
    networks = open_field_networks(without, ("anaemia_screen",), threads=1)
    assert networks is not None
    assert networks.missing == networks.asked == ("anaemia_screen",)


def test_the_command_line_asks(picture: Path, tmp_path: Path, opened: list[ModelTask]) -> None:
    out = tmp_path / "out"
    run = CliRunner()
    done = run.invoke(screen, [str(picture), "--out", str(out)], standalone_mode=False)
    assert done.exception is None, done.output
    assert not set(opened) & set(NETWORK_TASKS)
    record = json.loads((out / "result.json").read_text())
    assert record["anaemia_screen"] is None and record["anaemia_screen_reason"]
    asked = ["--anaemia-screen", "--field-estimator"]
    again = [str(picture), "--out", str(tmp_path / "again"), *asked]
    done = run.invoke(screen, again, standalone_mode=False)
    assert done.exception is None, done.output
    # Both stand on one graph, which is opened once.
    assert len(set(NETWORK_TASKS) & set(opened)) == 1
    record = json.loads((tmp_path / "again" / "result.json").read_text())
    assert {"hgb", ANAEMIA_LOG_ODDS} <= set(record["images"][0]["indices"]["model"])


def test_what_a_kiosk_notes_for_its_records_is_what_its_reader_runs() -> None:
    from edgehemo.kiosk import worker

    equipment = open_equipment(None, None)
    section = equipment.device.screening.model_copy(update={"anaemia_screen": True})
    asking = replace(equipment, device=equipment.device.model_copy(update={"screening": section}))
    for opened, wanted in ((equipment, ()), (asking, ("anaemia_screen",))):
        works = worker._Worker(None, "simulated:")  # type: ignore[arg-type]  # nobody listens
        works._equipment, works._opened_for = opened, "simulated:"
        assert works._circumstances("simulated:").networks == wanted
        networks = works._screening("simulated:", None, ()).reader.networks
        assert (() if networks is None else networks.asked) == wanted
