"""What is due today is kept for the kiosk's start page, until it is done or the day is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edgehemo.device.due_today import FORESEEN, due_today, forget_due, keep_due
from edgehemo.guidance.catalogue import guidance
from edgehemo.guidance.withheld import withheld

NOW = datetime(2026, 11, 27, 6, 0, tzinfo=UTC)
UNTIL = NOW + timedelta(hours=12)


@pytest.mark.parametrize("code", FORESEEN)
def test_what_is_kept_is_said_until_the_day_is_over(tmp_path: Path, code: str) -> None:
    assert due_today(tmp_path, NOW) is None
    keep_due(tmp_path, code, UNTIL)
    assert due_today(tmp_path, NOW) == code
    assert due_today(tmp_path, UNTIL + timedelta(seconds=1)) is None
    forget_due(tmp_path)
    assert due_today(tmp_path, NOW) is None


@pytest.mark.parametrize("code", [None, "CONTROL_FAILED", "CLOCK_UNSET"])
def test_what_is_a_fault_of_now_or_nothing_is_not_foreseen(
    tmp_path: Path, code: str | None
) -> None:
    keep_due(tmp_path, "CONTROL_DUE", UNTIL)
    keep_due(tmp_path, code, UNTIL)
    assert due_today(tmp_path, NOW) is None


@pytest.mark.parametrize("text", ["", "CONTROL_DUE", "CONTROL_DUE soon", "RM 2027-01-01T00:00:00"])
def test_a_damaged_note_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "due-today").write_text(text)
    assert due_today(tmp_path, NOW) is None


def test_every_foreseen_code_has_a_title() -> None:
    assert all(guidance(code).title and withheld(code) for code in FORESEEN)
