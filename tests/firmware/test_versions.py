"""From one version to the next and back: in real environments, and with the plug pulled."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgehemo.device.version_state import Slot, read_state, write_state
from edgehemo.errors import EdgeHemoError, MediaError, UpdateError
from edgehemo_firmware.update import slots
from edgehemo_firmware.update.installing import (
    TRIES,
    Changing,
    VersionRefusedError,
    confirm,
    roll_back,
    update,
)
from edgehemo_firmware.update.layout import Place, clean_environment, pointed_slot
from edgehemo_firmware.update.manifest import MediaManifest
from edgehemo_firmware.update.proving import Verdict, verdict_of
from edgehemo_firmware.update.telling import version_lines
from tests.support import media as support
from tests.support.media import TARGET, media_of, place_in

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def device(tmp_path: Path) -> Changing:
    changing = Changing(place_in(tmp_path / "device"), TARGET)
    assert update(changing, media_of(tmp_path / "media", "1.0")).outcome == "on trial"
    assert confirm(changing).outcome == "in force"
    return changing


def runs(place: Place) -> str:
    """What the version in force says of itself, run as the device runs it."""
    done = subprocess.run(
        [place.current / "bin" / "edgehemo"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_version_is_run_on_the_processor_that_an_emulator_was_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where a system of another architecture is installed into."""
    monkeypatch.setenv("QEMU_CPU", "cortex-a72")
    monkeypatch.setenv("PYTHONPATH", "/anywhere")
    assert clean_environment()["QEMU_CPU"] == "cortex-a72"
    assert "PYTHONPATH" not in clean_environment()


def test_the_first_version_is_proved_by_itself(device: Changing) -> None:
    place, state = device.place, device.state()
    assert runs(place) == "1.0"
    assert pointed_slot(place.current) == pointed_slot(place.good) == state.good == "a"
    assert (state.newest, state.trial, state.left) == ("1.0", None, None)
    assert place.current.readlink() == Path("versions/a")
    # What the system's interpreter sees is seen from there.
    settings = (place.slot("a") / "pyvenv.cfg").read_text()
    assert "include-system-site-packages = true" in settings
    assert version_lines(place)[0].startswith("edgehemo 1.0: in force")


def test_pip_installs_what_the_media_hold(tmp_path: Path) -> None:
    changing = Changing(place_in(tmp_path / "device"), TARGET)
    update(changing, media_of(tmp_path / "media", "1.0", real_pip=True))
    assert confirm(changing).outcome == "in force"
    assert runs(changing.place) == "1.0"
    (packages,) = changing.place.slot("a").glob("lib/python3*/site-packages")
    assert {path.name for path in packages.glob("*.dist-info")} == {
        "edgehemo-1.0.dist-info", "other_library-1.5.dist-info",
    }  # fmt: skip


def test_the_next_version_is_on_trial_until_it_is_proved(device: Changing, tmp_path: Path) -> None:
    place = device.place
    assert update(device, media_of(tmp_path / "media", "1.1")).outcome == "on trial"
    assert (runs(place), pointed_slot(place.current), pointed_slot(place.good)) == ("1.1", "b", "a")
    assert "on trial" in "\n".join(version_lines(place))
    with pytest.raises(UpdateError, match="not proved yet"):
        update(device, media_of(tmp_path / "media", "1.2"))
    assert confirm(device).outcome == "in force"
    assert pointed_slot(place.good) == "b"
    assert confirm(device).outcome == "nothing to do"
    # And on, into the slot of the first.
    update(device, media_of(tmp_path / "more", "1.2"))
    confirm(device)
    assert runs(place) == "1.2" and {item.version for item in device.state().slots.values()} == {
        "1.1", "1.2",
    }  # fmt: skip


def test_going_back_and_forth(device: Changing, tmp_path: Path) -> None:
    newer = media_of(tmp_path / "media", "1.1")
    with pytest.raises(UpdateError, match="no version to go back to"):
        roll_back(device)
    update(device, newer)
    confirm(device)
    assert roll_back(device).version == "1.0"
    assert runs(device.place) == "1.0"
    left = device.state().left
    assert left is not None and (left.version, left.when) == ("1.1", "by hand")
    # What was in force once is no older medium, and what lies between is.
    with pytest.raises(MediaError, match=r"1\.0\.5 is older than 1\.1"):
        update(device, media_of(tmp_path / "media", "1.0.5"))
    update(device, newer)
    assert confirm(device).version == runs(device.place) == "1.1"
    assert device.state().left is None


@pytest.mark.parametrize(
    ("version", "options", "said"),
    [
        ("0.9", {}, "0.9 is older than 1.0"),
        ("1.0", {"oldest_from": "0.2.0"}, "two builds of one version"),
        ("3.0", {"oldest_from": "2.0"}, "takes over from 2.0 on, and 1.0 runs here"),
    ],
)
def test_media_that_do_not_follow_are_refused(
    device: Changing, tmp_path: Path, version: str, options: dict[str, str], said: str
) -> None:
    before = read_state(device.place.data)
    with pytest.raises(MediaError, match=said):
        update(device, media_of(tmp_path / "other", version, **options))  # type: ignore[arg-type]
    assert read_state(device.place.data) == before
    assert not device.place.slot("b").exists()


def test_the_same_media_again_are_in_force_already(device: Changing, tmp_path: Path) -> None:
    (media,) = (tmp_path / "media").iterdir()
    assert update(device, media).outcome == "already in force"


@pytest.mark.parametrize("faults", [support.FAILS, support.DOES_NOT_START])
def test_a_version_that_fails_beside_the_one_that_runs_is_never_switched_to(
    device: Changing, tmp_path: Path, faults: str
) -> None:
    media = media_of(tmp_path / "media", "1.1", faults=faults)
    with pytest.raises(VersionRefusedError, match=r"edgehemo 1\.1: .*; edgehemo 1\.0 runs on"):
        update(device, media)
    place, state = device.place, device.state()
    assert (runs(place), pointed_slot(place.current), state.trial) == ("1.0", "a", None)
    assert state.left is not None and state.left.when == "before the switch"
    assert not place.slot("b").exists()
    # One that is well takes its place.
    update(device, media_of(tmp_path / "media", "1.1.1"))
    assert confirm(device).version == "1.1.1"


@pytest.mark.parametrize(
    ("faults", "when", "reason"),
    [
        (support.FAILS_AFTER_THE_SWITCH, "first check", "the first check failed: slide: 3 rbc"),
        (support.DOES_NOT_START_AFTER_THE_SWITCH, "first check", "does not run: NameError"),
        (support.IS_KILLED_AFTER_THE_SWITCH, "not checked in time", "was killed"),
    ],
)
def test_a_version_that_fails_after_the_switch_is_left_and_the_other_says_why(
    device: Changing, tmp_path: Path, faults: str, when: str, reason: str
) -> None:
    update(device, media_of(tmp_path / "media", "1.1", faults=faults))
    assert runs(device.place) == "1.1"
    changed = confirm(device)
    assert (changed.outcome, changed.version) == ("fell back", "1.0")
    place, state = device.place, device.state()
    assert (runs(place), pointed_slot(place.current), state.trial) == ("1.0", "a", None)
    assert state.left is not None and state.left.when == when and reason in state.left.reason
    (said,) = [line for line in version_lines(place) if "was left" in line]
    assert "edgehemo 1.1 was left" in said and reason in said and "1.0 runs instead" in said
    assert state.newest == "1.0"


def test_a_check_that_never_ends_is_begun_so_many_times(device: Changing, tmp_path: Path) -> None:
    update(device, media_of(tmp_path / "media", "1.1"))
    asked: list[Sequence[str]] = []

    def never(place: Place, slot: Slot, checks: Sequence[str]) -> Verdict:
        asked.append(checks)
        return Verdict("unfinished", "took longer than 300 s")

    changing = Changing(device.place, TARGET, judge=never)
    assert confirm(changing).outcome == "fell back"
    assert len(asked) == TRIES
    left = device.state().left
    assert left is not None and "took longer" in left.reason


def test_a_plug_pulled_in_each_check_counts(device: Changing, tmp_path: Path) -> None:
    update(device, media_of(tmp_path / "media", "1.1"))
    for _ in range(TRIES):
        killed(device.place, "confirm", "try counted")
    changed = confirm(device)
    assert (changed.outcome, changed.version) == ("fell back", "1.0")
    assert f"was begun {TRIES} times and never ended" in changed.reason


def test_the_first_version_has_none_to_go_back_to(tmp_path: Path) -> None:
    changing = Changing(place_in(tmp_path / "device"), TARGET)
    media = media_of(tmp_path, "1.0", faults=support.FAILS_AFTER_THE_SWITCH)
    update(changing, media)
    with pytest.raises(VersionRefusedError, match="no version to go back to"):
        confirm(changing)
    assert "nothing runs in its place" in version_lines(changing.place)[-1]


def killed(place: Place, what: str, step: str, *media: Path) -> None:
    """Do something in another process, which is killed once a step is done."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.killed_update", str(place.root), what, step,
         *map(str, media)],
        cwd=REPOSITORY, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == -9, (done.returncode, done.stderr)


@pytest.mark.parametrize(
    ("step", "then"),
    [
        ("media checked", "1.0"), ("slot emptied", "1.0"), ("slot built", "1.0"),
        ("slot noted", "1.0"), ("version checked", "1.0"), ("trial noted", "1.0"),
        ("switched", "1.1"),
    ],
)  # fmt: skip
def test_a_plug_pulled_at_any_step_of_an_update_leaves_a_version_that_runs(
    device: Changing, tmp_path: Path, step: str, then: str
) -> None:
    media = media_of(tmp_path / "media", "1.1")
    killed(device.place, "update", step, media)
    assert runs(device.place) == then
    # At the next start: what was switched to is proved, what was not is forgotten.
    assert confirm(device).outcome == ("in force" if then == "1.1" else "nothing to do")
    assert runs(device.place) == then
    if then == "1.0":
        update(device, media)
        assert confirm(device).outcome == "in force"
    assert runs(device.place) == "1.1"


@pytest.mark.parametrize("step", ["try counted", "trial judged", "records back", "switched back"])
def test_a_plug_pulled_at_any_step_of_a_fall_back_ends_in_the_proved_version(
    device: Changing, tmp_path: Path, step: str
) -> None:
    update(device, media_of(tmp_path, "1.1", faults=support.FAILS_AFTER_THE_SWITCH))
    killed(device.place, "confirm", step)
    assert runs(device.place) in ("1.0", "1.1")
    confirm(device)
    assert runs(device.place) == "1.0"
    assert device.state().trial is None
    assert "1.1 was left" in version_lines(device.place)[-1]


@pytest.mark.parametrize("step", ["records back", "switched back", "proved"])
def test_a_plug_pulled_at_any_step_of_going_back(
    device: Changing, tmp_path: Path, step: str
) -> None:
    update(device, media_of(tmp_path / "media", "1.1"))
    confirm(device)
    killed(device.place, "roll-back", step)
    version = runs(device.place)
    assert version == ("1.1" if step == "records back" else "1.0")
    assert confirm(device).outcome == "nothing to do"
    assert runs(device.place) == version
    assert pointed_slot(device.place.good) == pointed_slot(device.place.current)


def test_a_worn_card_is_seen_before_the_switch(
    device: Changing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget = slots.forget_cached

    def worn(folder: Path) -> None:
        forget(folder)
        (path,) = folder.glob("lib/python3*/site-packages/other_library.py")
        path.write_text("VALUE = 2\n")

    monkeypatch.setattr(slots, "forget_cached", worn)
    with pytest.raises(
        UpdateError, match=r"other_library\.py: was not read back as it was written"
    ):
        update(device, media_of(tmp_path / "media", "1.1"))
    assert runs(device.place) == "1.0" and device.state().slots.keys() == {"a"}


def test_what_is_missing_or_too_much_is_seen_in_reading_back(device: Changing) -> None:
    place = device.place
    assert slots.read_back(place, "a") > 5
    (packages,) = place.slot("a").glob("lib/python3*/site-packages")
    (packages / "other_library.py").unlink()
    with pytest.raises(UpdateError, match="other_library"):
        slots.read_back(place, "a")
    shutil.rmtree(packages / "other_library-1.5.dist-info")
    assert slots.read_back(place, "a") > 3
    mark = MediaManifest.model_validate(
        json.loads((place.slot("a") / slots.MARK_NAME).read_bytes())
    )
    with pytest.raises(UpdateError, match="other-library: what was installed is not what"):
        slots.read_back(place, "a", mark.of("wheel"))


def test_the_version_before_is_read_back_before_it_is_gone_back_to(
    device: Changing, tmp_path: Path
) -> None:
    update(device, media_of(tmp_path / "media", "1.1"))
    confirm(device)
    (path,) = device.place.slot("a").glob("lib/python3*/site-packages/other_library.py")
    path.write_text("VALUE = 2\n")
    with pytest.raises(UpdateError, match="was not read back"):
        roll_back(device)
    assert runs(device.place) == "1.1"


def test_a_full_card_refuses_before_anything_is_touched(
    device: Changing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100_000_000))
    with pytest.raises(UpdateError, match="100 MB are free and 200 MB are needed"):
        update(device, media_of(tmp_path / "media", "1.1"))
    assert runs(device.place) == "1.0"


def test_a_wheel_that_pip_refuses_is_told_and_nothing_is_switched(
    device: Changing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stick is changed between the check and the installation: pip holds the digests too."""
    media = media_of(tmp_path / "media", "1.1", real_pip=True)
    build = slots.build

    def changed_meanwhile(*given: object) -> None:
        support.wheel(media / "wheels", "other_library", "1.5", {"other_library.py": "VALUE = 9\n"})
        build(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(slots, "build", changed_meanwhile)
    with pytest.raises(UpdateError, match=r"could not be built.*what ran before runs on"):
        update(device, media)
    assert runs(device.place) == "1.0"


def test_a_state_that_cannot_be_read_is_told(device: Changing) -> None:
    path = device.place.data / "update.json"
    path.write_text("{")
    with pytest.raises(UpdateError, match="is damaged"):
        confirm(device)
    path.write_bytes(b" " * 200_000)
    with pytest.raises(UpdateError, match="too large"):
        version_lines(device.place)


def test_a_state_written_is_the_state_read(device: Changing) -> None:
    state = device.state()
    write_state(device.place.data, state)
    assert device.state() == state


@pytest.mark.parametrize(
    ("ended", "stdout", "stderr", "kind"),
    [
        (0, '{"schema": "edgehemo.first-check/1", "faults": []}', "", "passed"),
        (0, 'noise\n{"schema": "edgehemo.first-check/1", "faults": []}\n', "", "passed"),
        (1, '{"schema": "edgehemo.first-check/1", "faults": ["x"]}', "", "failed"),
        (0, '{"schema": "edgehemo.first-check/1", "faults": ["x"]}', "", "failed"),
        (1, '{"schema": "edgehemo.first-check/1", "faults": []}', "", "failed"),
        (0, '{"schema": "edgehemo.first-check/1"}', "", "failed"),
        (0, '{"schema": "edgehemo.screen/1", "faults": []}', "", "failed"),
        (0, "", "", "failed"),
        (1, "", "ImportError: numpy", "failed"),
        (-9, "", "", "unfinished"),
    ],
)
def test_only_a_report_with_its_exit_code_is_believed(
    ended: int, stdout: str, stderr: str, kind: str
) -> None:
    verdict = verdict_of(ended, stdout, stderr)
    assert verdict.kind == kind
    assert verdict.passed is (kind == "passed") and bool(verdict.reason) is not verdict.passed


def test_what_is_refused_is_an_error_of_ours() -> None:
    assert issubclass(VersionRefusedError, EdgeHemoError)
    assert issubclass(MediaError, EdgeHemoError)


def test_a_version_that_came_by_another_way_is_gone_back_to(
    device: Changing, tmp_path: Path
) -> None:
    """Installed from an index: it runs, and nobody wrote down that it does."""
    place = device.place
    (place.data / "update.json").unlink()
    place.good.unlink()
    (place.slot("a") / slots.MARK_NAME).unlink()
    update(device, media_of(tmp_path, "1.1", faults=support.FAILS_AFTER_THE_SWITCH))
    assert (pointed_slot(place.good), runs(place)) == ("a", "1.1")
    held = device.state().slots["a"]
    assert (held.version, held.records_version) == ("1.0", 2)
    assert confirm(device).outcome == "fell back"
    assert runs(place) == "1.0"
    update(device, media_of(tmp_path / "more", "1.2"))
    confirm(device)
    assert roll_back(device).version == "1.0"
