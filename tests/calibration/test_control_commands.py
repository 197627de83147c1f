"""`edgehemo calibrate repeatability|control|check|clear`, from targets to a clearance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgehemo.device.equipment import open_finder
from edgehemo.errors import BundleError, CalibrationError, UsageError
from edgehemo.images.reading import read_frame
from edgehemo.profile.profile import load_profile
from edgehemo.screening.field import FieldReader, FieldReading
from edgehemo_calibration.commands.calibrate import calibrate
from tests.support.control_slides import reading
from tests.support.screening_fakes import TruthFinder, simulated_frames

DIGEST = "ab" * 32


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders run00 .. run11, good and bad, whose pictures are read by their folder's name."""
    rng = np.random.default_rng(3)

    def read(image: Path) -> FieldReading:
        if "blurred" in str(image):
            return reading(str(image), 0.2, failed="FOCUS_BLURRED")
        density = 0.30 if "bad" in str(image) else 0.2 * (1 + 0.01 * rng.normal())
        return reading(str(image), density)

    for command in ("slide_runs", "check"):
        monkeypatch.setattr(
            f"edgehemo_calibration.commands.{command}.open_reader", lambda *_: (read, DIGEST)
        )
    for name in [*(f"run{i:02d}" for i in range(12)), "good", "bad", "blurred"]:
        (tmp_path / name).mkdir()
        for number in range(2):
            (tmp_path / name / f"{number}.png").write_bytes(f"{name} {number}".encode())
    return tmp_path


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(calibrate, [str(a) for a in arguments], standalone_mode=False)


def fresh(folder: Path) -> Path:
    """New pictures of the good slide."""
    made = folder / f"good {len(list(folder.glob('good*')))}"
    made.mkdir()
    for number in range(2):
        (made / f"{number}.png").write_bytes(f"{made.name} {number}".encode())
    return made


def test_too_few_fields_and_repeated_pictures_are_no_check(scripted: Path) -> None:
    out = scripted / "p.json"
    runs = [scripted / f"run{i:02d}" for i in range(12)]
    done = run("control", *runs, "--slide", "normal", "--out", out)
    assert "a check needs 2 fields" in done.stdout
    one = run("check", scripted / "good" / "0.png", "--profile", out)
    assert one.return_value == 1 and "1 of 1 field accepted, 2 wanted" in one.stdout
    (scripted / "good" / "copy.png").write_bytes((scripted / "good" / "1.png").read_bytes())
    twice = run("check", scripted / "good" / "1.png", scripted / "good" / "copy.png",
                "--profile", out)  # fmt: skip
    assert isinstance(twice.exception, CalibrationError)
    assert "is the same picture as" in str(twice.exception)
    (scripted / "run03" / "0.png").write_bytes((scripted / "run02" / "0.png").read_bytes())
    repeated = run("control", *runs, "--slide", "other", "--out", out)
    assert "is the same picture as" in str(repeated.exception)


def test_what_has_no_target_is_said(scripted: Path, monkeypatch: Any) -> None:
    """A run without single cells has no red-cell area: that is no longer judged in silence."""
    from edgehemo.control import repeatability

    kept = tuple(q for q in repeatability.QUANTITIES if q.name != "cell_area_um2")
    monkeypatch.setattr(repeatability, "QUANTITIES", kept)
    runs = [scripted / f"run{i:02d}" for i in range(12)]
    done = run("control", *runs, "--slide", "normal", "--out", scripted / "p.json")
    assert "area of a red cell: no target" in done.stdout


def test_the_commands_from_targets_to_clearance(scripted: Path) -> None:
    out, page = scripted / "p.json", scripted / "chart.html"
    runs = [scripted / f"run{i:02d}" for i in range(12)]
    done = run("repeatability", *runs[:3], "--out", out, "--camera", "HQ")
    assert done.exit_code == 0 and "density of red cells" in done.stdout, done.exception
    assert run("check", scripted / "good", "--profile", out).exception is not None, "no targets yet"
    done = run("control", *runs, "--slide", "normal", "--out", out)
    assert done.exit_code == 0, done.exception
    profile = load_profile(out)
    assert profile.revision == 2
    assert profile.repeatability is not None
    assert profile.controls[0].grade == "provisional"
    assert isinstance(run("clear", "--reason", "x", "--by", "y", "--profile", out).exception,
                      UsageError)  # fmt: skip

    result = run("check", scripted / "good", "--profile", out, "--page", page, "--json", "-")
    assert result.return_value == 0
    assert json.loads(result.stdout)["check"]["passed"] is True
    result = run("check", scripted / "bad", "--profile", out, "--page", page)
    assert result.return_value == 1
    assert "failed: " in result.stdout and "results are withheld" in result.stdout
    html = page.read_text()
    assert "Results are withheld" in html and html.count("<svg") == len(profile.controls[0].targets)
    result = run("check", fresh(scripted), "--profile", out)
    assert result.return_value == 1, "a failure is not cleared by a check that passes"
    assert run("clear", "--reason", "stain renewed", "--by", "AB", "--profile", out).exit_code == 0
    again = run("check", scripted / "good", "--profile", out)
    assert isinstance(again.exception, CalibrationError), "the same pictures are no new check"
    assert "was in the check of" in str(again.exception)
    assert run("check", fresh(scripted), "--profile", out).return_value == 0
    assert run("check", scripted / "blurred", "--profile", out).return_value == 1
    for wrong in (
        ["check", scripted / "good", "--profile", out, "--slide", "other"],
        ["clear", "--reason", " ", "--by", "AB", "--profile", out],
        ["control", scripted / "good" / "0.png", "--slide", "n", "--out", out],
    ):
        assert isinstance(run(*wrong).exception, UsageError)


def test_a_bundle_that_does_not_open_is_no_check(scripted: Path, monkeypatch: Any) -> None:
    """Without a finder nothing is measured as a screening measures it."""
    out = scripted / "p.json"
    runs = [scripted / f"run{i:02d}" for i in range(12)]
    assert run("control", *runs, "--slide", "normal", "--out", out).exit_code == 0
    monkeypatch.undo()
    missing = ["--bundle", scripted / "none"]
    result = run("check", scripted / "good", "--profile", out, *missing)
    assert isinstance(result.exception, BundleError)
    assert not (scripted / "p.json.control.jsonl").exists()


def test_real_pictures_are_read_as_a_screening_reads_them(tmp_path: Path) -> None:
    """With the shipped bundle, from files to the repeatability of three runs."""
    out, record = tmp_path / "p.json", tmp_path / "r.json"
    assert run("scale", "--um-per-px", 0.25, "--out", out).exit_code == 0
    finder = TruthFinder()
    runs = []
    for number, frame in enumerate(simulated_frames(finder, 3, width_px=640, height_px=480)):
        folder = tmp_path / f"run{number}"
        folder.mkdir()
        assert cv2.imwrite(str(folder / "a.png"), np.ascontiguousarray(frame.pixels[..., ::-1]))
        runs.append(folder)
    done = run("repeatability", *runs, "--out", out, "--json", record)
    assert done.exit_code == 0, done.exception
    measured = json.loads(record.read_text())["runs"]
    assert [item["fields"] for item in measured] == [1, 1, 1]
    reader = FieldReader(open_finder(None)[2], profile=load_profile(out))
    expected = reader.read(read_frame(runs[0] / "a.png"))
    assert expected.indices is not None
    assert measured[0]["values"]["hgb_index"] == pytest.approx(expected.indices.hgb_index)
    (runs[1] / "b.png").write_bytes(b"no picture")
    broken = run("repeatability", *runs, "--out", out)
    assert isinstance(broken.exception, CalibrationError)
    assert "b.png" in str(broken.exception)
