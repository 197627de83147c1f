"""The acceptance of a device with made-up instruments and answers, through every power cut."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from edgehemo.capture.protocol import Camera, CameraSettings, OpenedByContext
from edgehemo.device.board import BoardState
from edgehemo.device.machine import Machine
from edgehemo.errors import DeviceError
from edgehemo.images.frame import Frame
from edgehemo_firmware.acceptance import going
from edgehemo_firmware.acceptance.asking import NotPossibleError
from edgehemo_firmware.acceptance.checks import CHECKS, CUTS
from edgehemo_firmware.acceptance.counting import count_on, counted, line_of
from edgehemo_firmware.acceptance.going import Acceptance
from edgehemo_firmware.acceptance.here import ThisDevice, touch_panels
from edgehemo_firmware.acceptance.instruments import RawPicture, Screened, Screens
from edgehemo_firmware.acceptance.record import Figure, Report, Run, read_report, read_run
from edgehemo_firmware.commands import device

AT = datetime(2026, 11, 27, 12, tzinfo=UTC)


def made_up_machine(root: Path, **files: str) -> Machine:
    """A machine of these files, without a service manager. files: path with _ for / -> text."""
    for name, text in files.items():
        path = root / name.replace("_", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Machine(root, AT, lambda _: None, lambda _: None, lambda _: None, lambda _: ())


class PowerCutError(BaseException):
    """The plug is pulled: nothing after it runs."""


class FlatCamera(OpenedByContext):
    """A bright field whose counts follow exposure and colour gains. bends: what the exposure does
    not change.
    """

    name = "made up"

    def __init__(self, bends: float = 0.0) -> None:
        self.settings, self.bends = CameraSettings(), bends

    def open(self) -> None: ...

    def close(self) -> None: ...

    def apply(self, settings: CameraSettings) -> CameraSettings:
        self.settings = self.settings.overlaid(settings)
        return self.settings

    def frame(self, deadline_s: float) -> Frame:
        share = (self.settings.exposure_us or 10_000.0) / 10_000.0
        level = 60.0 * (self.bends + (1 - self.bends) * share)
        colours = [self.settings.red_gain or 1.0, 1.0, self.settings.blue_gain or 1.0]
        pixels = np.full((48, 64, 3), [level * gain for gain in colours])
        return Frame(pixels.astype(np.uint8), "made up")


@dataclass
class MadeUp:
    """Instruments of a good board; a test makes single ones bad."""

    folder: Path
    starts: int = 1
    taken: FlatCamera = field(default_factory=FlatCamera)
    hottest: float | None = 61.0
    throttled: int | None = 0
    faults: int = 0
    crashed: int = 0

    def boot(self) -> str:
        return f"start-{self.starts}"

    def monotonic(self) -> float:
        return 1.0

    def described(self) -> Mapping[str, str]:
        return {"board": "Raspberry Pi 5 Model B", "architecture": "aarch64"}

    def software(self) -> Mapping[str, str]:
        return {"edgehemo": "0.1.0"}

    def memory_mb(self) -> int:
        return 4096

    def board(self) -> BoardState:
        return BoardState(self.hottest, self.throttled)

    def camera(self) -> tuple[str, AbstractContextManager[Camera]]:
        return "picamera2:0", self.taken

    def raw(self) -> RawPicture:
        return RawPicture(4056, 3040, 12, "SRGGB12")

    def screened(self, folder: Path) -> Screened:
        return Screened(8, 7, 31.5, folder / "report.html")

    def timed(self) -> Sequence[Mapping[str, Figure]]:
        return [{"model": "cell_finder", "runtime": "onnx", "precision": "int8", "median_ms": 9.5}]

    def loaded(self, seconds: float) -> Iterator[float]:
        yield from (0.0, seconds / 2)

    def screens(self) -> Screens:
        return Screens(("card1-DSI-1 800x480",), ("Goodix touch",))

    def service_ready_s(self) -> float:
        return 14.2

    def stop_answering(self) -> float:
        return 66.0

    def hardware_watchdog_s(self) -> float:
        return 15.0

    def crash(self) -> None:
        self.crashed += 1
        raise PowerCutError

    def counter(self) -> Path:
        return self.folder / "numbers.txt"

    def damage(self) -> Mapping[str, int]:
        return {"file_system_faults": self.faults, "record_faults": 0}


@dataclass
class Answers:
    """Somebody who answers the same to all; the plug is pulled once number ``pull`` is said."""

    yes_to_all: bool = True
    pull: int | None = None
    said: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        self.said.append(line)
        if self.pull is not None and line.startswith("\r") and int(line) >= self.pull:
            raise PowerCutError

    def yes(self, question: str) -> bool:
        self.said.append(question)
        return self.yes_to_all

    def number(self, question: str) -> float | None:
        return 12.0

    def ready(self, what: str) -> bool:
        return self.yes_to_all


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgehemo_firmware.acceptance.counting.PAUSE_S", 0.0)


def acceptance(
    folder: Path, here: MadeUp, person: Answers, only: Collection[str] | None = None
) -> Acceptance:
    run = read_run(folder / "run.json") or Run(begun_at=AT, by="Nuno", place="laboratory")
    return Acceptance(run, here, person, folder, True, lambda: AT, only)


def numbers_of(rows: Sequence[Mapping[str, Figure]], name: str) -> list[int]:
    """A column of rows, which holds whole numbers alone."""
    found = [row[name] for row in rows]
    numbers = [value for value in found if isinstance(value, int)]
    assert numbers == found
    return numbers


def whole_hour(folder: Path, here: MadeUp) -> Report:
    """Every check, through the crash and all cuts, begun again each time."""
    for start in range(1, CUTS + 3):
        here.starts = start
        person = Answers(pull=counted(here.counter()).last + 45)
        try:
            return acceptance(folder, here, person).go()
        except PowerCutError:
            continue
    raise AssertionError("it never ended")


def test_a_good_board_passes_through_the_crash_and_twenty_cuts(tmp_path: Path) -> None:
    here = MadeUp(tmp_path)
    report = whole_hour(tmp_path, here)
    assert [each.check for each in report.outcomes] == [check.name for check in CHECKS]
    assert {each.check: each.state for each in report.outcomes} == dict.fromkeys(
        (check.name for check in CHECKS), "pass"
    )
    assert here.crashed == 1
    cuts = report.outcomes[-1]
    assert cuts.figures["cuts"] == CUTS == len(cuts.rows)
    after = numbers_of(cuts.rows, "number_after")
    assert after == sorted(set(after))
    known = numbers_of(cuts.rows, "known_number")
    assert all(before <= now for before, now in zip(known, after, strict=True))


def test_the_report_is_signed_and_a_change_by_hand_is_seen(tmp_path: Path) -> None:
    report = acceptance(tmp_path, MadeUp(tmp_path), Answers(), only=["board"]).go()
    read = read_report(tmp_path / "report.json")
    assert read == report and read.signer is not None
    changed = json.loads((tmp_path / "report.json").read_text())
    changed["outcomes"][0]["figures"]["memory_mb"] = 8192
    (tmp_path / "report.json").write_text(json.dumps(changed))
    assert read_report(tmp_path / "report.json").signer is None
    assert report.model_copy(update={"signature": None}).signer is None


def test_numbers_that_a_cut_took_are_a_failure(tmp_path: Path) -> None:
    here = MadeUp(tmp_path)
    with pytest.raises(PowerCutError):
        acceptance(tmp_path, here, Answers(pull=45), only=["cuts"]).go()
    here.counter().write_bytes(b"".join(line_of(number) for number in range(1, 31)))
    here.starts = 2
    with pytest.raises(PowerCutError):
        acceptance(tmp_path, here, Answers(pull=60), only=["cuts"]).go()
    run = read_run(tmp_path / "run.json")
    assert run is not None
    assert (run.cuts[0]["known_number"], run.cuts[0]["number_after"]) == (40, 30)
    assert run.cuts[0]["lost"] == 10
    here.faults = 1
    assert whole_hour(tmp_path, here).outcomes[-1].state == "fail"


def test_broken_off_by_hand_is_no_cut(tmp_path: Path) -> None:
    here = MadeUp(tmp_path)
    for _ in range(2):
        with pytest.raises(PowerCutError):
            acceptance(tmp_path, here, Answers(pull=45), only=["cuts"]).go()
    run = read_run(tmp_path / "run.json")
    assert run is not None and run.cuts == ()


def test_what_is_bad_fails_with_why(tmp_path: Path) -> None:
    here = MadeUp(tmp_path, taken=FlatCamera(bends=0.9), hottest=84.0, throttled=0x4)
    wanted = ["camera", "controls", "heat", "slide", "display", "touch"]
    report = acceptance(tmp_path, here, Answers(yes_to_all=False), only=wanted).go()
    found = {each.check: (each.state, each.why) for each in report.outcomes}
    assert {name: state for name, (state, _) in found.items()} == {
        "camera": "fail", "controls": "fail", "slide": "left_out", "heat": "fail",
        "display": "fail", "touch": "fail",
    }  # fmt: skip
    assert "half the exposure gives 0.95" in found["controls"][1]
    assert "better cooling" in found["heat"][1]


def test_without_root_what_needs_it_says_so(tmp_path: Path) -> None:
    made = acceptance(tmp_path, MadeUp(tmp_path), Answers())
    made.root = False
    found = {each.check: each for each in made.go().outcomes}
    for check in CHECKS:
        assert (found[check.name].state == "not_possible") == check.root
    assert "sudo" in found["cuts"].why


def test_on_a_workstation_each_check_says_what_is_not_possible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This machine as it is, but for the long ones."""
    monkeypatch.setattr(going, "CHECKS", [c for c in CHECKS if c.name not in ("speed", "heat")])
    out = tmp_path / "out"
    arguments = ["acceptance", "--by", "Nuno", "--out", str(out)]
    for check in ("board", "raw", "display", "touch", "ready", "crash"):
        arguments += ["--only", check]
    result = CliRunner().invoke(device, arguments, input="n\n" * 20, standalone_mode=False)
    assert result.exception is None, result.output
    report = read_report(out / "report.json")
    for outcome in report.outcomes:
        assert outcome.state in ("pass", "not_possible", "left_out", "fail")
        assert outcome.why or outcome.state == "pass"
    assert next(each for each in report.outcomes if each.check == "raw").state == "not_possible"
    assert report.signer is not None


def test_the_list_says_what_is_needed() -> None:
    result = CliRunner().invoke(device, ["acceptance", "--list"], standalone_mode=False)
    for check in CHECKS:
        assert check.title in result.output
    assert sum(check.minutes for check in CHECKS) <= 75


@given(st.integers(0, 40), st.binary(max_size=12))
def test_numbers_are_read_or_told_as_broken(tmp_path_factory: pytest.TempPathFactory,
                                            last: int, torn: bytes) -> None:  # fmt: skip
    """A torn tail is no harm; a whole line that is wrong is."""
    path = tmp_path_factory.mktemp("numbers") / "numbers.txt"
    path.write_bytes(b"".join(line_of(number) for number in range(1, last + 1)) + torn)
    found = counted(path)
    assert found.last >= last
    if b"\n" not in torn:
        assert (found.last, found.broken) == (last, 0)
        assert next(count_on(path)) == last + 1
        assert counted(path).last == last + 1 and counted(path).broken == 0


def test_touch_panels_are_known_by_what_they_are(tmp_path: Path) -> None:
    devices = (
        'I: Bus=0018\nN: Name="Goodix Capacitive TouchScreen"\nB: PROP=2\n\n'
        'I: Bus=0003\nN: Name="A mouse"\nB: PROP=0\n'
    )
    machine = made_up_machine(tmp_path, proc_bus_input_devices=devices)
    assert touch_panels(machine) == ("Goodix Capacitive TouchScreen",)


def test_what_is_no_report_is_refused(tmp_path: Path) -> None:
    for text in ("", "{}", "[1]"):
        (tmp_path / "report.json").write_text(text)
        with pytest.raises(DeviceError):
            read_report(tmp_path / "report.json")


def test_a_board_that_tells_no_temperature(tmp_path: Path) -> None:
    here = MadeUp(tmp_path, hottest=None, throttled=None)
    report = acceptance(tmp_path, here, Answers(), only=["heat"]).go()
    assert report.outcomes[0].why == "the system tells no temperature"
    with pytest.raises(NotPossibleError):
        ThisDevice(made_up_machine(tmp_path)).service_ready_s()
