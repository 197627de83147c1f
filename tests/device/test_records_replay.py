"""A stored result is computed again to the last digit; what differs is named."""

from __future__ import annotations

import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgehemo.cli import run
from edgehemo.demo.demonstration import SIMULATED_PROFILE
from edgehemo.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_WITHHELD
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.replay import differences
from edgehemo.report.pictures import png
from tests.support.screening_fakes import TruthFinder, simulated_frames
from tests.support.stored import device_file

SLIDE = "simulated:?seed=5&fields=3&bad=1"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(device_file(tmp_path / "data")))
    return tmp_path / "data"


def recorded(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    capsys.readouterr()
    run(["screen", *command, "--record", "--json", "-"])
    return str(json.loads(capsys.readouterr().out)["result_id"])


def replayed(capsys: pytest.CaptureFixture[str], name: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = run(["records", "replay", name, "--json", "-"])
    return code, json.loads(capsys.readouterr().out)


def test_a_calibrated_sample_with_a_person_gives_the_same(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = tmp_path / "profile.json"
    shutil.copy(SIMULATED_PROFILE, profile)
    given = ["--profile", str(profile), "--age", "30", "--sex", "female", "--site", "Kisumu"]
    name = recorded(capsys, SLIDE, *given)
    profile.unlink()  # what the result stands on is kept with it
    code, said = replayed(capsys, name)
    assert code == EXIT_DONE and said["same"] and said["values"] > 2000, said["differences"][:5]


def test_files_videos_and_what_could_not_be_read_give_the_same(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    for index, frame in enumerate(simulated_frames(TruthFinder(), count=2, um_per_px=0.2)):
        (folder / f"{index}.png").write_bytes(png(frame.pixels))
    (folder / "2.png").write_bytes((folder / "0.png").read_bytes())  # the same place again
    (folder / "3.png").write_bytes(b"nothing")
    name = recorded(capsys, str(folder), "--um-per-px", "0.2")
    shutil.rmtree(folder)
    code, said = replayed(capsys, name)
    assert code == EXIT_DONE and said["same"], said["differences"][:5]


def test_networks_that_were_asked_for_are_asked_again_and_no_others(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = recorded(capsys, SLIDE, "--anaemia-screen", "--field-estimator")
    code, said = replayed(capsys, asked)
    assert code == EXIT_DONE and said["same"], said["differences"][:5]
    capsys.readouterr()
    run(["records", "show", asked, "--json", "-"])
    shown = json.loads(capsys.readouterr().out)
    text = json.dumps(shown)
    assert '"networks": ["field_estimator", "anaemia_screen"]' in text


def test_what_differs_is_named_with_how_much(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgehemo.estimate import indices

    name = recorded(capsys, SLIDE)
    right = indices.field_indices

    def other(*given: Any) -> Any:
        found = right(*given)
        return replace(found, cell_cover=found.cell_cover + 1e-12)

    monkeypatch.setattr("edgehemo.estimate.indices.field_indices", other)
    code, said = replayed(capsys, name)
    assert code == EXIT_WITHHELD and not said["same"]
    assert all("cell_cover" in item["place"] for item in said["differences"][:2])
    assert said["differences"][0]["by"] == pytest.approx(1e-12, rel=1e-2)


@pytest.mark.parametrize("gone", ["picture", "reading", "bundle"])
def test_what_is_gone_is_said_in_one_line(
    data: Path, gone: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = recorded(capsys, SLIDE)
    records = RecordsFolder.below(data)
    with sqlite3.connect(records.database) as connection:
        (digest,) = connection.execute(
            "SELECT sha256 FROM content WHERE kind = ? LIMIT 1", (gone,)
        ).fetchone()
    connection.close()
    records.contents.remove(digest)
    capsys.readouterr()
    assert run(["records", "replay", name]) == EXIT_BAD_INPUT
    assert "is not there" in capsys.readouterr().err.splitlines()[-1]


def test_differences_are_found_wherever_they_are() -> None:
    stored = {"a": [1.0, {"b": None}], "c": "x", "n": float("nan"), "i": 1}
    assert list(differences(stored, json.loads(json.dumps(stored)))) == []
    again = {"a": [1.5, {"b": 2}, 3], "c": "y", "n": float("nan"), "i": True, "d": 0}
    found = {item.place: item.by for item in differences(stored, again)}
    assert found == {
        "number of a": 1, "a[0]": 0.5, "a[1].b": None, "c": None, "d": None, "i": None
    }  # fmt: skip
