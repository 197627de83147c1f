"""A model bundle that media carry goes into use with its version, and is taken back with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgehemo.device.installed_bundles import BundleStore
from edgehemo_firmware.update import carried_bundle
from edgehemo_firmware.update.carried_bundle import NOTE_NAME, TRIES
from edgehemo_firmware.update.installing import Changing, confirm, roll_back, update
from edgehemo_firmware.update.slots import BUNDLE_NAME
from edgehemo_firmware.update.telling import changed_line, version_lines
from tests.support import media as support
from tests.support.bundle_makers import small_bundle
from tests.support.media import TARGET, media_of, place_in, settings_of

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Changing:
    """Version 1.0 is in force, which came without a bundle."""
    place = place_in(tmp_path / "device")
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(settings_of(place, tmp_path / "device.toml")))
    changing = Changing(place, TARGET)
    update(changing, media_of(tmp_path / "media", "1.0"))
    assert confirm(changing).outcome == "in force"
    return changing


def bundle(folder: Path, serial: int) -> Path:
    return small_bundle(folder / f"bundle {serial}", serial)


def serial_in_use(device: Changing) -> int | None:
    """None: the one that comes with edgehemo."""
    store = BundleStore(device.place.data)
    current = store.current()
    return None if current is None else int(current.name.split("-")[1])


def updated(device: Changing, folder: Path, version: str, serial: int) -> None:
    update(device, media_of(folder / "media", version, bundle=bundle(folder, serial)))
    # What is on trial changes no bundle.
    changed = confirm(device)
    assert (changed.outcome, changed.reason) == ("in force", "")


def test_it_is_in_use_once_its_version_is_proved_and_no_longer_than_that(
    device: Changing, tmp_path: Path
) -> None:
    media = media_of(tmp_path / "media", "1.1", bundle=bundle(tmp_path, 5))
    update(device, media)
    assert serial_in_use(device) is None
    confirm(device)
    assert serial_in_use(device) == 5
    back = roll_back(device)
    assert (back.version, back.reason, serial_in_use(device)) == ("1.0", "", None)
    # Forward again, from the slot that is still whole; and back.
    assert roll_back(device).version == "1.1"
    assert serial_in_use(device) == 5
    roll_back(device)
    assert serial_in_use(device) is None
    # And from the media.
    update(device, media)
    confirm(device)
    assert serial_in_use(device) == 5


def test_the_bundle_before_is_in_use_again(device: Changing, tmp_path: Path) -> None:
    updated(device, tmp_path, "1.1", 5)
    updated(device, tmp_path, "1.2", 6)
    assert serial_in_use(device) == 6
    roll_back(device)
    assert serial_in_use(device) == 5
    state = BundleStore(device.place.data).state()
    assert state.rolled_back and state.highest_serial["small"] == 6
    # What is used is the one gone back to, older as it is.
    assert BundleStore(device.place.data).installed()[0].problem is None
    assert roll_back(device).version == "1.2" and serial_in_use(device) == 6


def test_forward_to_a_version_without_one_leaves_the_bundle(
    device: Changing, tmp_path: Path
) -> None:
    updated(device, tmp_path, "1.1", 5)
    update(device, media_of(tmp_path / "media", "1.2"))
    confirm(device)
    assert serial_in_use(device) == 5
    assert roll_back(device).version == "1.1" and serial_in_use(device) == 5
    assert roll_back(device).version == "1.2" and serial_in_use(device) == 5


def test_what_a_person_installed_since_stays(device: Changing, tmp_path: Path) -> None:
    updated(device, tmp_path, "1.1", 5)
    BundleStore(device.place.data).install(bundle(tmp_path, 9))
    back = roll_back(device)
    assert serial_in_use(device) == 9
    assert back.reason.startswith("the model bundle that was installed since small-5-")


def test_a_bundle_before_that_is_damaged_stays_out_of_use_and_the_version_goes_back(
    device: Changing, tmp_path: Path
) -> None:
    store = BundleStore(device.place.data)
    store.install(bundle(tmp_path, 4))
    updated(device, tmp_path, "1.1", 5)
    (before,) = [each for each in store.installed() if each.previous]
    (store.path / before.folder / "note.txt").write_text("changed\n")
    back = roll_back(device)
    assert back.version == "1.0" and serial_in_use(device) == 5
    assert back.reason.startswith("the model bundle small-5-") and "note.txt" in back.reason
    assert back.reason in changed_line(back)


def test_one_that_is_refused_is_told_and_not_tried_for_ever(
    device: Changing, tmp_path: Path
) -> None:
    BundleStore(device.place.data).install(bundle(tmp_path, 9))
    update(device, media_of(tmp_path / "media", "1.1", bundle=bundle(tmp_path, 5)))
    changed = confirm(device)
    assert changed.outcome == "in force" and "serial 9 was installed here" in changed.reason
    assert serial_in_use(device) == 9
    assert changed.reason in version_lines(device.place)
    assert confirm(device).reason == ""
    roll_back(device)
    assert serial_in_use(device) == 9


def killed(device: Changing, what: str, step: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.killed_update", str(device.place.root), what, step],
        cwd=REPOSITORY, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == -9, (done.returncode, done.stderr)


def test_a_plug_pulled_before_it_is_installed(device: Changing, tmp_path: Path) -> None:
    update(device, media_of(tmp_path / "media", "1.1", bundle=bundle(tmp_path, 5)))
    killed(device, "confirm", "proved")
    assert serial_in_use(device) is None
    assert confirm(device).outcome == "nothing to do"
    assert serial_in_use(device) == 5
    roll_back(device)
    assert serial_in_use(device) is None


@pytest.mark.parametrize(("step", "serial"), [("bundle back", 5), ("switched back", None)])
def test_a_plug_pulled_as_it_is_taken_back(
    device: Changing, tmp_path: Path, step: str, serial: int | None
) -> None:
    """Before the link was turned the version is not left, and its bundle comes back."""
    updated(device, tmp_path, "1.1", 5)
    killed(device, "roll-back", step)
    confirm(device)
    assert serial_in_use(device) == serial


def test_a_plug_pulled_in_each_installation_ends_it(
    device: Changing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update(device, media_of(tmp_path / "media", "1.1", bundle=bundle(tmp_path, 5)))

    class PluggedOutError(BaseException):
        pass

    def plug(*_: object) -> None:
        raise PluggedOutError

    with monkeypatch.context() as pulled:
        pulled.setattr(carried_bundle, "_install", plug)
        for _ in range(TRIES):
            with pytest.raises(PluggedOutError):
                confirm(device)
    changed = confirm(device)
    assert f"was begun {TRIES} times and never ended" in changed.reason
    assert changed.reason in changed_line(changed)
    assert serial_in_use(device) is None


def test_a_note_that_cannot_be_read_is_made_anew(device: Changing, tmp_path: Path) -> None:
    updated(device, tmp_path, "1.1", 5)
    (device.place.slot("b") / NOTE_NAME).write_text("{")
    assert confirm(device).outcome == "nothing to do"
    assert serial_in_use(device) == 5


def test_a_version_that_fails_never_brings_its_bundle(device: Changing, tmp_path: Path) -> None:
    faults = support.FAILS_AFTER_THE_SWITCH
    update(device, media_of(tmp_path, "1.1", faults=faults, bundle=bundle(tmp_path, 5)))
    assert confirm(device).outcome == "fell back"
    assert serial_in_use(device) is None
    assert (device.place.slot("b") / BUNDLE_NAME).is_file()
