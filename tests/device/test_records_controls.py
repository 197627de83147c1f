"""The history of the control slides in the records, and the results that a failure marks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from edgehemo.control.history import Clearance, ControlCheck, history_path, read_history
from edgehemo.errors import ProfileError
from edgehemo.images.frame import Frame
from edgehemo.profile.profile import CalibrationProfile
from edgehemo.records.controls import (
    control_history,
    control_mark,
    keep_control,
    marked_results,
    stored_controls,
)
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.results import result_of
from edgehemo.records.store import Store, Writer
from edgehemo.records.verifying import verify
from edgehemo.screening.field import FieldReader
from edgehemo.screening.sample import Screening, screen_frames
from tests.support.control_slides import WHEN, append_record, check_of, profile_with_slide
from tests.support.screening_fakes import TruthFinder, scripted, simulated_frames
from tests.support.stored import provenance, started

FAKES = TruthFinder()
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return simulated_frames(FAKES, count=1)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    with Writer(RecordsFolder.below(tmp_path)) as opened:
        yield opened


@pytest.fixture(scope="module")
def profile() -> CalibrationProfile:
    return profile_with_slide()


def screened(writer: Writer, frames: list[Frame], profile: CalibrationProfile) -> str:
    """A stored result made with a profile."""
    recording = replace(started(writer), profile_made_at=profile.created_at)
    screening = Screening(FieldReader(FAKES, um_per_px=0.25, check=scripted()))

    def keep(result: Any, frame: Frame | None) -> None:
        recording.add(len(screening.images) - 1, result, frame)

    done = recording.finish(screen_frames(frames, screening, keep), provenance())
    assert done is not None
    return done.result_id


def test_a_failed_control_marks_the_results_since_the_last_good_one(
    writer: Writer, frames: list[Frame], profile: CalibrationProfile, tmp_path: Path
) -> None:
    path = tmp_path / "p.json"
    early = screened(writer, frames, profile)
    assert keep_control(writer, profile, path, check_of(profile, WHEN), by="am") == 0
    two = [screened(writer, frames, profile) for _ in range(2)]
    other = screened(
        writer, frames, profile.model_copy(update={"created_at": profile.created_at - DAY})
    )
    failed = check_of(profile, WHEN + DAY, hgb_index=1.0)
    assert not failed.passed
    assert keep_control(writer, profile, path, failed, by="am") == 2
    later = screened(writer, frames, profile)
    marks = {name: control_mark(writer, result_of(writer, name)) for name in (early, *two, other)}
    assert marks[early] is None and marks[other] is None
    assert all("CONTROL FAILED" in str(marks[name]) for name in two)
    numbers = [result_of(writer, name).number for name in (early, *two, other, later)]
    assert marked_results(writer, numbers) == set(numbers[1:3])
    # A good one later takes no mark away from what lies before the failure.
    clearance = Clearance(at=WHEN + DAY, software_version="1", reason="lamp", by="AB")
    keep_control(writer, profile, path, clearance, by="AB")
    keep_control(writer, profile, path, check_of(profile, WHEN + DAY), by="am")
    assert marked_results(writer, numbers) == set(numbers[1:3])
    # Nor is what came after it marked; a clock that went back changes nothing of it.
    failed = check_of(profile, WHEN - 300 * DAY, hgb_index=1.0)
    keep_control(writer, profile, path, failed, by="am")
    assert marked_results(writer, numbers) == set(numbers[1:3])
    assert verify(writer).whole


def test_a_good_check_of_another_slide_does_not_hide_a_failed_one(
    writer: Writer, frames: list[Frame], profile: CalibrationProfile, tmp_path: Path
) -> None:
    name = screened(writer, frames, profile)
    good = check_of(profile, WHEN).model_copy(update={"slide": "other"})
    keep_control(writer, profile, tmp_path / "p.json", good, by="am")
    bad = check_of(profile, WHEN, hgb_index=1.0)
    assert keep_control(writer, profile, tmp_path / "p.json", bad, by="am") == 1
    assert control_mark(writer, result_of(writer, name)) is not None


def test_a_history_in_a_file_is_taken_in_once(tmp_path: Path, profile: CalibrationProfile) -> None:
    path = tmp_path / "p.json"
    store = Store.below(tmp_path / "data")
    before = [check_of(profile, WHEN), check_of(profile, WHEN + DAY, hgb_index=1.0)]
    for record in before:
        append_record(history_path(path), record)
    # Until somebody writes, the file is read where it lies.
    assert control_history(store, profile, path) == tuple(before)
    assert not store.folder.exists()
    clearance = Clearance(at=WHEN + DAY, software_version="1", reason="lamp", by="AB")
    with store.writer() as writer:
        keep_control(writer, profile, path, clearance, by="AB")
        assert stored_controls(writer, profile) == (*before, clearance)
    assert not history_path(path).exists()
    assert read_history(path.with_name("p.json.control.jsonl.taken-in")) == tuple(before)
    assert control_history(store, profile, path) == (*before, clearance)
    # A file of that name which comes back counts no more.
    append_record(history_path(path), check_of(profile, WHEN))
    assert control_history(store, profile, path) == (*before, clearance)
    with store.writer() as writer:
        keep_control(writer, profile, path, check_of(profile, WHEN + DAY), by="am")
        assert len(stored_controls(writer, profile)) == 4
        assert verify(writer).whole


def test_a_changed_history_is_not_taken_in_and_nothing_is_stored(
    tmp_path: Path, writer: Writer, profile: CalibrationProfile
) -> None:
    path = tmp_path / "p.json"
    append_record(history_path(path), check_of(profile, WHEN, hgb_index=1.0))
    text = history_path(path).read_text()
    history_path(path).write_text(text.replace('"passed": false', '"passed": true'))
    with pytest.raises(ProfileError, match="changed after it was sealed"):
        keep_control(writer, profile, path, check_of(profile, WHEN), by="am")
    assert stored_controls(writer, profile) == ()
    assert history_path(path).exists()


def test_what_would_not_be_read_again_is_not_stored(
    tmp_path: Path, writer: Writer, profile: CalibrationProfile
) -> None:
    naive = Clearance(at=WHEN.replace(tzinfo=None), software_version="1", reason="x", by="AB")
    with pytest.raises(ProfileError, match="not stored"):
        keep_control(writer, profile, tmp_path / "p.json", naive, by="AB")
    assert stored_controls(writer, profile) == ()


def test_a_changed_record_is_found(
    tmp_path: Path, writer: Writer, profile: CalibrationProfile
) -> None:
    failed = check_of(profile, WHEN, hgb_index=1.0)
    keep_control(writer, profile, tmp_path / "p.json", failed, by="am")
    writer.connection.execute("DROP TRIGGER control_stays")
    writer.connection.execute(
        "UPDATE control SET passed = 1, content = replace(content, 'false', 'true')"
    )
    (changed,) = stored_controls(writer, profile)
    assert isinstance(changed, ControlCheck) and changed.passed
    assert any("control: the row" in fault for fault in verify(writer).faults)
