"""The documentation's table of boards: made of signed reports, and plain where there are none."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from docs.generation.boards import NONE_YET, boards_page
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
