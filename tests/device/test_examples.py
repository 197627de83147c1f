"""The examples, run as a reader runs them, on simulated pictures."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from edgehemo.capture.simulated import SimulatedMicroscope, SimulatedOptions
from tests.support.walked_pages import REPOSITORY, reader_environment

FIELDS = 3


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fields of one simulated smear, as PNG files in a folder."""
    folder = tmp_path_factory.mktemp("examples") / "smear"
    folder.mkdir()
    with SimulatedMicroscope(SimulatedOptions(seed=4, fields=FIELDS)) as camera:
        for index in range(FIELDS):
            camera.move_to_field(index)
            pixels = camera.frame(10.0).pixels
            name = str(folder / f"field_{index + 1}.png")
            assert cv2.imwrite(name, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return folder


def run_example(folder: Path, name: str, *arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "examples" / name), *map(str, arguments)],
        cwd=folder,
        env=dict(reader_environment(folder)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_screen_a_folder_says_why_there_is_no_concentration(pictures: Path, tmp_path: Path) -> None:
    said = run_example(tmp_path, "screen_a_folder.py", pictures, "--out", tmp_path / "report")
    first, last = said.splitlines()
    assert first.startswith("no concentration: not calibrated")
    assert last == f"report: {tmp_path / 'report' / 'report.html'}"


def test_list_the_cells_counts_and_lists_every_cell(pictures: Path, tmp_path: Path) -> None:
    said = run_example(tmp_path, "list_the_cells.py", pictures / "field_1.png").splitlines()
    counts = {line.split()[1]: int(line.split()[0]) for line in said if len(line.split()) == 2}
    listed = [line.split() for line in said if len(line.split()) > 2]
    assert counts["rbc"] > 20
    assert sum(counts.values()) == len(listed)
    x0, y0, x1, y1 = (float(value) for value in listed[0][1:5])
    assert 0 <= x0 < x1 <= 640
    assert 0 <= y0 < y1 <= 480


def test_read_results_makes_a_row_of_each_report(pictures: Path, tmp_path: Path) -> None:
    run_example(tmp_path, "screen_a_folder.py", pictures, "--out", tmp_path / "report-1")
    said = run_example(tmp_path, "read_results.py", tmp_path / "report-1", tmp_path / "report-1")
    rows = list(csv.DictReader(io.StringIO(said)))
    assert [row["report"] for row in rows] == ["report-1", "report-1"]
    assert rows[0]["outcome"] == "reported"
    assert rows[0]["images"] == str(FIELDS)
    assert rows[0]["hgb_g_per_l"] == ""
    assert "not calibrated" in rows[0]["why_none"]
