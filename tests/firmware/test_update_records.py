"""The records through an update: a copy is kept, and the way back works or is refused untouched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from edgehemo.bundle.bundle import load_bundle
from edgehemo.device.installed_bundles import BundleStore
from edgehemo.device.version_state import Slot
from edgehemo.errors import RecordsError
from edgehemo.images.frame import Frame
from edgehemo.records import schema
from edgehemo.records.going_back import version_now
from edgehemo.records.store import Writer
from edgehemo_firmware.update.installing import (
    Changing,
    VersionRefusedError,
    confirm,
    roll_back,
    update,
)
from edgehemo_firmware.update.layout import Place, pointed_slot
from edgehemo_firmware.update.proving import AFTER_THE_SWITCH, Verdict
from tests.support.bundle_makers import small_bundle
from tests.support.media import TARGET, media_of, place_in, settings_of
from tests.support.older_records import older_store
from tests.support.screening_fakes import TruthFinder, simulated_frames
from tests.support.stored import stored

FAKES = TruthFinder()
NEWEST = schema.newest()
OLDER = NEWEST - 1


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return simulated_frames(FAKES, count=1)


class Judge:
    """Opens the records as the version on trial does; passes, or not."""

    def __init__(self) -> None:
        self.verdict = Verdict("passed")

    def __call__(self, place: Place, slot: Slot, checks: Sequence[str]) -> Verdict:
        if checks == AFTER_THE_SWITCH:
            if place.records.exists() and slot == "b":
                Writer(place.records).close()
            return self.verdict
        return Verdict("passed")


@pytest.fixture
def judge() -> Judge:
    return Judge()


@pytest.fixture
def device(
    tmp_path: Path, judge: Judge, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> Changing:
    """Version 1.0 with records of the version before this, and media of 1.1 that write this one."""
    changing = Changing(place_in(tmp_path / "device"), TARGET, judge=judge)
    update(changing, media_of(tmp_path, "1.0", records_version=OLDER))
    confirm(changing)
    older_store(changing.place.records, OLDER, frames, FAKES, monkeypatch)
    media_of(tmp_path, "1.1", records_version=NEWEST)
    return changing


def test_a_version_that_fails_leaves_the_records_as_they_were(
    device: Changing, judge: Judge, tmp_path: Path
) -> None:
    update(device, tmp_path)
    judge.verdict = Verdict("failed", "slide: 3 rbc found")
    assert confirm(device).outcome == "fell back"
    assert version_now(device.place.records) == OLDER
    assert pointed_slot(device.place.current) == "a"


def test_going_back_takes_the_records_along(device: Changing, tmp_path: Path) -> None:
    update(device, tmp_path)
    confirm(device)
    assert version_now(device.place.records) == NEWEST
    assert roll_back(device).version == "1.0"
    assert version_now(device.place.records) == OLDER
    update(device, tmp_path)
    assert confirm(device).version == "1.1"
    assert version_now(device.place.records) == NEWEST


def test_a_bundle_that_the_update_carried_is_not_in_the_way(
    device: Changing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands in the chain as a change; it goes back with the version, and that is told there."""
    place = device.place
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(settings_of(place, tmp_path / "device.toml")))
    bundle = small_bundle(tmp_path / "bundle", 5)
    media = media_of(tmp_path / "carrying", "1.2", records_version=NEWEST, bundle=bundle)
    update(device, media)
    confirm(device)
    assert BundleStore(place.data).current() is not None
    changed = roll_back(device)
    assert (changed.version, changed.reason) == ("1.0", "")
    assert BundleStore(place.data).current() is None
    assert version_now(place.records) == OLDER
    with Writer(place.records) as writer:
        told = writer.rows("SELECT action, details FROM audit ORDER BY number")
        done = [action for action, _ in told if action in ("store restored", "bundle changed")]
        (bundle_told,) = [details for action, details in told if action == "bundle changed"]
    assert done == ["store restored", "bundle changed"]
    assert load_bundle().digest in bundle_told


def test_results_made_since_are_in_the_way_and_nothing_is_touched(
    device: Changing, frames: list[Frame], tmp_path: Path
) -> None:
    update(device, tmp_path)
    confirm(device)
    with Writer(device.place.records) as writer:
        assert stored(writer, frames, FAKES) is not None
    state = device.state()
    with pytest.raises(RecordsError, match=r"edgehemo 1\.0 cannot read it: result recorded \(1\)"):
        roll_back(device)
    assert (device.state(), pointed_slot(device.place.current)) == (state, "b")
    assert version_now(device.place.records) == NEWEST
    assert roll_back(device, leave_newer=True).version == "1.0"
    assert version_now(device.place.records) == OLDER


def test_a_failed_trial_with_results_made_on_it_is_not_left_by_itself(
    device: Changing, judge: Judge, frames: list[Frame], tmp_path: Path
) -> None:
    """Nobody should have been able to make them; they are a patient's all the same."""
    update(device, tmp_path)
    with Writer(device.place.records) as writer:
        assert stored(writer, frames, FAKES) is not None
    judge.verdict = Verdict("failed", "slide: 3 rbc found")
    with pytest.raises(
        VersionRefusedError, match=r"cannot be gone back to 1\.0: .*result recorded"
    ):
        confirm(device)
    assert version_now(device.place.records) == NEWEST
    # A person decides.
    assert roll_back(device, leave_newer=True).version == "1.0"
    assert device.state().trial is None


def test_media_that_could_not_read_the_records_are_refused(
    device: Changing, tmp_path: Path
) -> None:
    state = device.state()
    media = media_of(tmp_path / "other", "1.2", records_version=OLDER - 1)
    with pytest.raises(RecordsError, match=f"are of version {OLDER} and edgehemo 1.2 writes"):
        update(device, media)
    assert device.state() == state


def test_while_the_kiosk_writes_the_records_stay(
    device: Changing, judge: Judge, tmp_path: Path
) -> None:
    update(device, tmp_path)
    confirm(device)
    with Writer(device.place.records), pytest.raises(RecordsError, match="another edgehemo"):
        roll_back(device)
    assert pointed_slot(device.place.current) == "b"
