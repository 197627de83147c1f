"""The demonstration and the benchmark: whole runs, with the shipped bundle."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgehemo.bench.stages import STAGES, StageTime, stage_times, summarised
from edgehemo.cli import run
from edgehemo.demo import demonstration as demo
from edgehemo.errors import EXIT_BAD_INPUT, EXIT_DONE
from edgehemo.images.reading import read_frame
from edgehemo.report.result import SIMULATED_NOTICE
from edgehemo.screening.field import FieldReader
from tests.support.screening_fakes import TruthFinder, simulated_frames


def test_the_demonstration_refuses_the_bad_fields_and_reports_the_rest(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgehemo", "demo", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == EXIT_DONE, done.stderr
    assert done.stdout.splitlines()[-1] == f"report: {tmp_path / 'report.html'}"
    record = json.loads((tmp_path / "result.json").read_text())
    sample = record["sample"]
    assert record["simulated"] is True
    assert sample["images"] == demo.DEMO_SLIDE.fields
    assert sample["refused"] == demo.DEMO_SLIDE.bad
    assert sample["hgb_g_per_l"]["low"] < 98.0 < sample["hgb_g_per_l"]["high"]
    assert record["anaemia"]["grade"] in ("mild", "moderate", "severe")
    assert (tmp_path / "report.html").read_text().count(SIMULATED_NOTICE) == 2


def test_calibration_samples_are_fields_with_their_blood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "CALIBRATION_SLIDES", 2)
    monkeypatch.setattr(demo, "CALIBRATION_FIELDS", 1)
    pairs = demo.write_calibration_samples(tmp_path)
    rows = list(csv.DictReader(pairs.open(encoding="utf-8")))
    assert [row["sample"] for row in rows] == ["simulated-001", "simulated-002"]
    for row in rows:
        assert 30 <= float(row["hgb_g_per_l"]) <= 220
        assert read_frame(tmp_path / row["sample"] / "1.png").pixels.shape == (480, 640, 3)


def test_bench_says_which_share_is_the_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bench.json"
    assert run(["bench", "--runs", "2", "--json", str(file)]) == EXIT_DONE
    content = json.loads(file.read_text())
    assert content["schema"] == "edgehemo.bench/1"
    assert [stage["stage"] for stage in content["stages"]] == list(STAGES)
    assert sum(stage["share"] for stage in content["stages"]) == pytest.approx(1, abs=0.01)
    assert 0 < content["network_share"] < 1
    assert 0 < content["cells_ms"] < content["field_ms"]
    assert content["runtime"]["version"]
    assert content["machine"]["board"]
    assert "of which the network" in capsys.readouterr().out


def test_bench_on_what_is_no_image_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"no image")
    assert run(["bench", "--image", str(path)]) == EXIT_BAD_INPUT
    assert capsys.readouterr().err.count("\n") == 1


def test_doctor_writes_its_findings(capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["doctor", "--json", "-"])
    content = json.loads(capsys.readouterr().out)
    assert content["schema"] == "edgehemo.doctor/1"
    assert content["findings"]
    assert (code == EXIT_DONE) == (content["status"] != "fail")


def test_stage_times_give_the_network_its_own_time_and_put_the_runner_back() -> None:
    """On a clock that counts its own readings: a stage's time is the readings within it."""
    finder = TruthFinder()
    (frame,) = simulated_frames(finder)
    finder.truths["image 1"] = finder.truths[frame.source]
    find, runner = finder.find, finder.runner

    def find_with_a_network(field: Any) -> Any:
        finder.runner.run(np.zeros((1, 8, 8, 3), np.uint8))
        finder.runner.run(np.zeros((1, 8, 8, 3), np.uint8))
        return find(field)

    finder.find = find_with_a_network  # type: ignore[method-assign]
    reading = iter(range(10_000))
    encoded = cv2.imencode(".png", frame.pixels[..., ::-1])[1].tobytes()
    stages = stage_times(
        [encoded],
        FieldReader(finder, um_per_px=0.25),
        runs=3,
        clock=lambda: float(next(reading)),
    )
    by_name = {stage.stage: stage for stage in stages}
    assert by_name["finder network"].median_ms == 2000.0
    assert by_name["finder rest"].median_ms == 3000.0
    assert by_name["decode"].median_ms == 1000.0
    assert finder.runner is runner


def test_median_p95_and_share() -> None:
    slow, fast = summarised({"slow": [0.003] * 19 + [0.1], "fast": [0.001] * 20})
    assert slow.median_ms == pytest.approx(3.0)
    assert slow.p95_ms == pytest.approx(7.85)
    assert slow.share == pytest.approx(0.75)
    assert fast.rounded() == StageTime("fast", 1.0, 1.0, 0.25)
