"""A change by hand is told; a clock that is not set withholds what needs a date."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edgehemo.control.history import history_path, is_sealed, read_history
from edgehemo.device.clock import last_result, note_result
from edgehemo.device.configuration import DeviceConfiguration, load_device
from edgehemo.device.readiness import profile_notes, why_blocked
from edgehemo.errors import ProfileError
from edgehemo.profile.profile import CalibrationProfile, load_profile, save_profile
from tests.support.control_slides import WHEN, append_record, check_of, profile_with_slide


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEHEMO_KEYS", str(tmp_path / "keys"))


@pytest.fixture
def device(tmp_path: Path) -> DeviceConfiguration:
    made = load_device("workstation")
    (tmp_path / "data").mkdir()
    paths = made.paths.model_copy(update={"data": str(tmp_path / "data")})
    return made.model_copy(update={"paths": paths})


def without_controls() -> CalibrationProfile:
    return profile_with_slide().model_copy(update={"controls": ()})


def code(profile: CalibrationProfile, path: Path, device: DeviceConfiguration, **more: Any) -> Any:
    at = more.pop("now", WHEN + timedelta(hours=1))
    blocked = why_blocked(profile, path, device, now=at, **more)
    return None if blocked is None else blocked.code


def test_a_sealed_profile_is_as_it_was_written(tmp_path: Path, device: Any) -> None:
    path = tmp_path / "p.json"
    made = without_controls()
    save_profile(made.sealed(), path)
    read = load_profile(path)
    assert read.seal_state == "sealed" and read.digest() == made.digest()
    assert code(read, path, device) is None and profile_notes(read, path) == ()
    key = tmp_path / "keys" / "seals" / "sealing.key"
    assert key.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("change", ["number", "date", "signature"])
def test_a_profile_edited_by_hand_gives_no_result(tmp_path: Path, device: Any, change: str) -> None:
    path = tmp_path / "p.json"
    save_profile(without_controls().sealed(), path)
    content = json.loads(path.read_text())
    if change == "number":
        content["objective"] = "40x"
    elif change == "date":
        content["created_at"] = "2026-10-31T08:00:00Z"
    else:
        content["seal"]["signature"] = "AAAA"
    path.write_text(json.dumps(content))
    edited = load_profile(path)
    assert edited.seal_state == "broken"
    assert code(edited, path, device) == "PROFILE_EDITED"


def test_an_edited_profile_is_not_extended(tmp_path: Path) -> None:
    """Else the next calibration would seal the change."""
    from edgehemo_calibration.commands.profile_editing import start

    path = tmp_path / "p.json"
    save_profile(without_controls().sealed(), path)
    assert start(None, path, {}).revision == 2
    path.write_text(path.read_text().replace('"HQ"', '"other"'))
    with pytest.raises(ProfileError, match="changed by hand"):
        start(None, path, {})


def test_an_old_or_foreign_profile_works_and_says_so(
    tmp_path: Path, device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.json"
    made = without_controls()
    assert code(made, path, device) is None
    assert "not sealed" in profile_notes(made, path)[0]
    sealed = made.sealed()
    monkeypatch.setenv("EDGEHEMO_KEYS", str(tmp_path / "other machine"))
    foreign: str = sealed.seal_state
    assert foreign == "foreign" and code(sealed, path, device) is None
    assert "does not know" in profile_notes(sealed, path)[0]
    public = tmp_path / "keys" / "seals" / "sealing.pub"
    there = tmp_path / "other machine" / "seals" / "laboratory.pub"
    there.parent.mkdir(parents=True)
    there.write_bytes(public.read_bytes())
    known: str = sealed.seal_state
    assert known == "sealed" and profile_notes(sealed, path) == ()


def test_a_history_edited_by_hand_withholds_results(tmp_path: Path, device: Any) -> None:
    path = tmp_path / "p.json"
    profile = profile_with_slide().sealed()
    history = history_path(path)
    append_record(history, check_of(profile, WHEN))
    append_record(history, check_of(profile, WHEN, hgb_index=1.0))
    assert is_sealed(history) and len(read_history(history)) == 2
    assert code(profile, path, device) == "CONTROL_FAILED"
    lines = history.read_text().splitlines()
    for edited in (
        [lines[0], lines[2]],
        [lines[0], lines[1].replace('"passed": false', '"passed": true'), lines[2]],
        [lines[1], lines[0], lines[2]],
    ):
        history.write_text("\n".join(edited) + "\n")
        with pytest.raises(ProfileError, match="changed after it was sealed"):
            read_history(history)
        assert code(profile, path, device) == "CONTROL_HISTORY_UNREADABLE"
        with pytest.raises(ProfileError):
            append_record(history, check_of(profile, WHEN))
    history.write_text(lines[0] + "\n")
    assert code(profile, path, device) is None, "a history of before has no seal"
    assert any("history is not sealed" in note for note in profile_notes(profile, path))


def test_a_clock_behind_the_newest_date_is_not_set(tmp_path: Path, device: Any) -> None:
    path = tmp_path / "p.json"
    profile = without_controls()
    assert code(profile, path, device, now=WHEN - timedelta(minutes=5)) is None
    assert code(profile, path, device, now=WHEN - timedelta(days=100)) == "CLOCK_UNSET"
    future = profile.model_copy(update={"created_at": WHEN + timedelta(days=3)})
    assert code(future, path, device) == "CLOCK_UNSET", "a calibration in the future is noticed"
    made_at = WHEN + timedelta(days=2)
    assert code(profile, path, device, bundle_made_at=made_at) == "CLOCK_UNSET"
    assert code(profile, path, device, bundle_made_at=WHEN) is None
    note_result(device.data_dir, WHEN + timedelta(days=1))
    assert code(profile, path, device) == "CLOCK_UNSET"
    assert code(profile, path, device, now=WHEN + timedelta(days=1)) is None
    simulated = profile.model_copy(update={"camera": "simulated"})
    assert code(simulated, path, device, now=datetime(2000, 1, 1, tzinfo=UTC)) is None


def test_so_is_one_behind_the_control_history(tmp_path: Path, device: Any) -> None:
    path = tmp_path / "p.json"
    profile = profile_with_slide()
    append_record(history_path(path), check_of(profile, WHEN + timedelta(days=1)))
    assert code(profile, path, device) == "CLOCK_UNSET"


def test_the_date_of_the_last_result_only_grows(tmp_path: Path) -> None:
    assert last_result(tmp_path) is None
    note_result(tmp_path / "none", WHEN)
    assert not (tmp_path / "none").exists()
    note_result(tmp_path, WHEN)
    note_result(tmp_path, WHEN - timedelta(days=1))
    assert last_result(tmp_path) == WHEN
    (tmp_path / "last-result").write_text("nonsense")
    assert last_result(tmp_path) is None
