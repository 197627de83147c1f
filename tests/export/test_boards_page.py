"""The documentation's table of boards: made of signed reports, and plain where there are none."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from docs.generation.boards import NONE_YET, SCENES, boards_page, scenes_filled, scenes_table
from edgehemo.errors import DeviceError
from edgehemo_firmware.acceptance.record import Outcome, Report, keep

AT = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.fixture
def report() -> Report:
    return Report(
        begun_at=AT,
        made_at=AT,
        by="Nuno",
        machine={"board": "Raspberry Pi 5 Model B"},
        software={"edgehemo": "0.1.0"},
        outcomes=(
            Outcome(check="cuts", state="pass", at=AT, figures={"cuts": 20}),
            Outcome(check="raw", state="not_possible", at=AT, why="no | such camera"),
            Outcome(
                check="speed",
                state="pass",
                at=AT,
                rows=({"model": "cell_finder", "runtime": "onnx", "median_ms": 9.5},),
            ),
        ),
    ).signed()


def test_no_report_is_said_plainly(tmp_path: Path) -> None:
    page = boards_page(tmp_path)
    assert NONE_YET in page and "|" not in page


def test_each_report_is_a_column(tmp_path: Path, report: Report) -> None:
    keep(report, tmp_path / "docs/boards/pi.json")
    page = boards_page(tmp_path)
    assert "Raspberry Pi 5 Model B" in page and "passed (cuts: 20)" in page
    assert "not possible: no \\| such camera" in page
    assert "cell_finder" in page and "9.5" in page


def test_a_report_that_was_changed_is_refused(tmp_path: Path, report: Report) -> None:
    place = tmp_path / "docs/boards/pi.json"
    keep(report, place)
    told = json.loads(place.read_text())
    told["outcomes"][0]["figures"]["cuts"] = 200
    place.write_text(json.dumps(told))
    with pytest.raises(DeviceError, match="changed after"):
        boards_page(tmp_path)


def test_a_table_of_scenes_leaves_out_how_long_an_emulation_took(tmp_path: Path) -> None:
    file = tmp_path / "arm64.json"
    figures = {"driver": "uvcvideo", "media_mb": 224, "ready_emulated_s": 900, "seconds": 1000}
    file.write_text(json.dumps({"scenes": {"screened": figures}}))
    table = scenes_table(file)
    assert "driver uvcvideo, media 224 MB" in table
    assert "900" not in table and "1000" not in table


def test_each_mark_takes_its_own_table(tmp_path: Path) -> None:
    for number, file in enumerate(SCENES.values()):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(json.dumps({"scenes": {f"scene {number}": {"cuts": number}}}))
    for number, mark in enumerate(SCENES):
        filled = scenes_filled(f"before\n{mark}\nafter", tmp_path)
        assert f"scene {number}" in filled and mark not in filled
