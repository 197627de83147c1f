"""The doctor on made-up machines: what is well, what is wrong, what to do."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgehemo.bench.stages import machine as described_machine
from edgehemo.device.board import BoardState, described
from edgehemo.device.doctor import DISTRIBUTION, SUPPORTED_PYTHON, examine
from edgehemo.device.finding import DoctorReport, Finding
from edgehemo.device.machine import Machine, modules_of, this_machine
from edgehemo.device.output import DoctorOutput
from edgehemo.device.requirements import required

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
LEAST = 'schema = "edgehemo.device/1"\nname = "k1"\nboard = "raspberry_pi_5"\n'


class MadeUp:
    """A machine made of a folder; `say` writes a file of it."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.monkeypatch = monkeypatch
        self.required = {DISTRIBUTION: ["click>=8", "opencv-python-headless", "torch; extra=='x'"]}
        self.installed = {"click": "8.1", "opencv-python-headless": "4.10", "onnxruntime": "1.20"}
        self.unfound: dict[str, tuple[str, ...]] = {}
        self.answers: dict[str, str] = {}
        self.machine = Machine(
            root,
            NOW,
            command=lambda command: self.answers.get(command[0]),
            version=self.installed.get,
            requires=self.required.get,
            unfound=lambda distribution: self.unfound.get(distribution, ()),
        )
        self.configure(LEAST + f'[paths]\ndata = "{root}"\n')

    def say(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def configure(self, text: str) -> None:
        self.say("device.toml", text)
        self.monkeypatch.setenv("EDGEHEMO_DEVICE", str(self.root / "device.toml"))

    def examine(self) -> DoctorReport:
        return examine(self.machine)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeUp:
    return MadeUp(tmp_path, monkeypatch)


def test_this_machine_is_examined() -> None:
    report = examine()
    names = [finding.name for finding in report.findings]
    for name in ("python", "packages", "device", "runtime onnx", "bundle", "disk", "clock"):
        assert name in names
    assert len(set(names)) == len(names)
    assert report.of("python").status == "ok"
    for finding in report.findings:
        assert (finding.action != "") == (finding.code != "") == (finding.status != "ok"), finding


def test_the_supported_pythons_are_those_that_the_project_declares() -> None:
    declared = importlib.metadata.metadata(DISTRIBUTION)["Requires-Python"]
    (low_major, low), (high_major, high) = SUPPORTED_PYTHON
    bounds = {f">={low_major}.{low}", f"<{high_major}.{high + 1}"}
    assert set(declared.replace(" ", "").split(",")) == bounds


def test_json_is_the_contract() -> None:
    report = DoctorReport((Finding("a", "ok", "x"), Finding("b", "warn", "y", "do z", "DISK_LOW")))
    record = json.loads(json.dumps(DoctorOutput.of(report).model_dump()))
    assert record["schema"] == "edgehemo.doctor/1"
    assert record["status"] == "warn"
    assert record["findings"][1] == {
        "name": "b", "status": "warn", "detail": "y", "action": "do z", "code": "DISK_LOW",
        "values": {},
    }  # fmt: skip
    with pytest.raises(KeyError):
        report.of("c")


def test_missing_packages_are_named(machine: MadeUp) -> None:
    del machine.installed["click"]
    machine.installed["opencv-python"] = "4.0"
    report = machine.examine()
    assert report.status == "fail"
    assert report.of("packages").action == "Run: pip install click"
    assert report.of("opencv").status == "warn"


def test_a_package_whose_module_is_gone_is_told(machine: MadeUp) -> None:
    machine.unfound["opencv-python-headless"] = ("cv2",)
    finding = machine.examine().of("packages")
    assert finding.status == "fail"
    assert finding.detail == "opencv-python-headless is installed and its cv2 cannot be found"
    assert finding.action == "Run: pip install --force-reinstall opencv-python-headless"
    del machine.installed["click"]
    finding = machine.examine().of("packages")
    assert finding.detail.startswith("missing: click; opencv-python-headless is installed")
    assert finding.action.endswith("click opencv-python-headless")


def test_what_runs_from_its_source_is_said_to(machine: MadeUp) -> None:
    machine.required.clear()
    report = machine.examine()
    assert report.of("packages").status == "warn"
    assert "is not installed" in report.of("packages").detail
    assert report.status != "fail"


def test_packages_are_those_that_the_metadata_requires() -> None:
    lines = importlib.metadata.requires(DISTRIBUTION)
    assert lines is not None
    finding = examine().of("packages")
    assert finding.status == "ok"
    assert [part.split()[0] for part in finding.detail.split(", ")] == list(required(lines))


@pytest.mark.parametrize(
    ("distribution", "module"),
    [("numpy", "numpy"), ("opencv-python-headless", "cv2"), ("pynacl", "nacl"), ("click", "click")],
)
def test_a_distribution_tells_its_modules(distribution: str, module: str) -> None:
    found = importlib.metadata.distribution(distribution)
    assert module in modules_of(found)
    assert this_machine().unfound(distribution) == ()


def test_modules_are_read_off_the_files_where_nothing_declares_them(tmp_path: Path) -> None:
    info = tmp_path / "thing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
    files = (
        "things/__init__.py", "single.py", "_fast.cpython-311-x86_64-linux-gnu.so",
        "thing-1.0.dist-info/METADATA", "../../bin/thing", "__pycache__/single.cpython-311.pyc",
    )  # fmt: skip
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in files))
    found = importlib.metadata.Distribution.at(info)
    assert modules_of(found) == ("things", "single", "_fast")


def test_a_check_that_needs_a_missing_package_says_so(
    machine: MadeUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "edgehemo.bundle.bundle", None)
    monkeypatch.setitem(sys.modules, "edgehemo.device.configuration", None)
    report = machine.examine()
    for name in ("bundle", "device"):
        assert report.of(name).status == "fail"
        assert "cannot be looked at" in report.of(name).detail
    assert report.of("python").status == "ok" and report.of("clock").status == "ok"


def test_all_problems_of_the_configuration_are_told(machine: MadeUp) -> None:
    machine.configure("schema = 'edgehemo.device/1'\nnmae = 'x'\nboard = 'pi'\n")
    finding = machine.examine().of("device")
    assert finding.status == "fail"
    assert finding.detail.count("\n") == 2
    assert "did you mean name?" in finding.detail
    assert "device.toml" in finding.action


def test_the_board_is_compared_with_the_configuration(machine: MadeUp) -> None:
    machine.say("proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
    finding = machine.examine().of("board")
    assert finding.status == "warn"
    assert "raspberry_pi_4" in finding.action
    machine.say("proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    assert machine.examine().of("board") == Finding("board", "ok", "Raspberry Pi 5 Model B Rev 1.0")


def test_the_chosen_runtime_must_be_there_and_load(machine: MadeUp) -> None:
    machine.configure(LEAST + '[inference]\nruntime = "tflite"\n')
    assert machine.examine().of("runtime tflite").status == "fail"
    assert "edgehemo[tflite]" in machine.examine().of("runtime tflite").action
    assert machine.examine().of("runtime onnx").detail == "onnxruntime 1.20"
    machine.installed["tflite-runtime"] = "2.14"
    broken = machine.examine().of("runtime tflite")
    if broken.status == "fail":  # where the real one is not installed either
        assert "cannot be loaded" in broken.detail
    machine.configure(LEAST)
    assert "ai-edge-litert" in machine.examine().of("runtime tflite").action
    assert machine.examine().of("runtime openvino").status == "ok"


def test_a_bundle_that_cannot_be_loaded_fails(machine: MadeUp) -> None:
    machine.configure(LEAST + f'[paths]\nbundle = "{machine.root}/none"\n')
    finding = machine.examine().of("bundle")
    assert finding.status == "fail"
    assert "none" in finding.detail


def test_a_missing_calibration_is_a_warning_where_there_is_a_camera(machine: MadeUp) -> None:
    assert machine.examine().of("calibration").status == "ok"
    machine.configure(LEAST + '[camera]\nsource = "simulated:"\n')
    assert machine.examine().of("calibration").status == "warn"
    machine.configure(LEAST + f'[paths]\nprofile = "{machine.root}/none.json"\n')
    assert "none.json" in machine.examine().of("calibration").detail


def test_an_old_calibration_is_a_warning(machine: MadeUp) -> None:
    from edgehemo.profile.profile import new_profile, save_profile

    profile = new_profile(datetime(2026, 10, 1, tzinfo=UTC), software_version="0.1.0")
    path = machine.root / "profile.json"
    save_profile(profile, path)
    settings = LEAST + f'[paths]\nprofile = "{path}"\n[screening]\ncalibration_expires_days = '
    machine.configure(settings + "30\n")
    assert "51 days old, valid for 30" in machine.examine().of("calibration").detail
    machine.configure(settings + "90\n")
    assert machine.examine().of("calibration").status == "ok"


def video(machine: MadeUp, node: str, name: str, index: str = "0") -> None:
    machine.say(f"sys/class/video4linux/{node}/name", name + "\n")
    machine.say(f"sys/class/video4linux/{node}/index", index + "\n")
    machine.say(f"dev/{node}", "")


def test_cameras_are_told_from_codecs_and_metadata_nodes(machine: MadeUp) -> None:
    video(machine, "video0", "USB eyepiece")
    video(machine, "video1", "USB eyepiece", index="1")
    video(machine, "video10", "bcm2835-codec-decode")
    video(machine, "v4l-subdev0", "imx477 10-001a")
    video(machine, "v4l-subdev1", "pispbe-input")
    detail = machine.examine().of("cameras").detail
    assert detail == "uvc:/dev/video0 (USB eyepiece), imx477 on the board's connector"


def test_the_configured_camera_must_be_plugged_in(machine: MadeUp) -> None:
    machine.configure(LEAST + '[camera]\nsource = "uvc:/dev/video0?width=640&height=480"\n')
    assert machine.examine().of("camera").status == "fail"
    video(machine, "video0", "USB eyepiece")
    assert machine.examine().of("camera").status == "ok"
    for short in ("uvc:", "uvc:0", "uvc:video0"):
        machine.configure(LEAST + f'[camera]\nsource = "{short}"\n')
        assert machine.examine().of("camera") == Finding("camera", "ok", short)
    machine.configure(LEAST + '[camera]\nsource = "picamera2:0"\n')
    finding = machine.examine().of("camera")
    assert finding.status == "fail"
    assert "python3-picamera2" in finding.action or "ribbon" in finding.action


def test_memory_temperature_and_throttling(machine: MadeUp) -> None:
    machine.say("proc/meminfo", "MemTotal: 2000000 kB\nMemAvailable: 400000 kB\n")
    machine.say("sys/class/thermal/thermal_zone0/temp", "83500\n")
    machine.say("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n")
    report = machine.examine()
    assert report.of("memory").detail == "391 of 1953 MB available, 1024 wanted"
    assert report.of("temperature").status == "warn"
    assert report.of("throttling").detail == (
        "the supply voltage is too low; the processor is throttled"
    )
    machine.say("sys/devices/platform/soc/soc:firmware/get_throttled", "0\n")
    machine.say("sys/class/thermal/thermal_zone0/temp", "51000\n")
    assert machine.examine().of("throttling").detail == "none"
    assert machine.examine().of("temperature") == Finding("temperature", "ok", "51 °C")


def test_throttling_is_asked_of_the_firmware_on_a_board(machine: MadeUp) -> None:
    machine.answers["vcgencmd"] = "throttled=0x50000\n"
    assert machine.examine().of("throttling").detail == "not told by this system"
    machine.say("proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    finding = machine.examine().of("throttling")
    assert finding.status == "warn"
    assert "since the start" in finding.detail


def test_the_board_is_read_once_for_the_doctor_and_the_times(machine: MadeUp) -> None:
    assert BoardState.read(machine.machine) == BoardState(None, None)
    machine.say("sys/class/thermal/thermal_zone0/temp", "41000\n")
    machine.say("sys/class/thermal/thermal_zone1/temp", "62500\n")
    machine.answers["vcgencmd"] = "throttled=0x50000\n"
    assert BoardState.read(machine.machine) == BoardState(62.5, None)
    machine.say("proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    assert BoardState.read(machine.machine) == BoardState(62.5, 0x50000)
    machine.say("sys/devices/platform/soc/soc:firmware/get_throttled", "4\n")
    assert BoardState.read(machine.machine) == BoardState(62.5, 4)


def test_the_board_is_named_by_its_device_tree_first(machine: MadeUp) -> None:
    machine.say("proc/cpuinfo", "processor : 0\nmodel name : Some CPU\n")
    assert described(machine.machine)["board"] == "Some CPU"
    machine.say("proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    assert described(machine.machine)["board"] == "Raspberry Pi 5 Model B Rev 1.0"
    assert described_machine() == described(this_machine())


def test_a_clock_before_the_release_is_a_warning(machine: MadeUp) -> None:
    assert machine.examine().of("clock").status == "ok"
    machine.machine = replace(machine.machine, now=datetime(1970, 1, 1, tzinfo=UTC))
    assert machine.examine().of("clock").status == "warn"


def test_a_full_disk_is_told(machine: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, status in ((10**11, "ok"), (10**9, "warn"), (10**8, "fail")):
        usage = type("Usage", (), {"free": free})
        monkeypatch.setattr(
            "edgehemo.device.doctor.shutil.disk_usage", lambda _, usage=usage: usage
        )
        assert machine.examine().of("disk").status == status


def test_garbage_in_the_system_files_never_raises(machine: MadeUp) -> None:
    for path in (
        "proc/device-tree/model",
        "proc/meminfo",
        "sys/class/thermal/thermal_zone0/temp",
        "sys/devices/platform/soc/soc:firmware/get_throttled",
        "sys/class/video4linux/video0/name",
        "sys/class/video4linux/v4l-subdev0/name",
    ):
        machine.say(path, "")
        (machine.root / path).write_bytes(b"\xff\x00 \n\xfe" * 9)
    assert machine.examine().of("memory").detail == "not told by this system"


def update_state(machine: MadeUp, **changed: object) -> None:
    held = {"version": "1.0", "media_sha256": "0" * 64, "records_version": 7,
            "installed_at": "2026-11-20T10:00:00Z"}  # fmt: skip
    newer = {**held, "version": "1.1"}
    state = {"schema": "edgehemo.update/1", "slots": {"a": held, "b": newer}, "good": "a"}
    machine.say("update.json", json.dumps({**state, **changed}))


def test_where_no_version_was_installed_from_media_nothing_is_said(machine: MadeUp) -> None:
    with pytest.raises(KeyError):
        machine.examine().of("version")


def test_the_version_in_force_says_why_another_was_left(machine: MadeUp) -> None:
    update_state(machine)
    assert machine.examine().of("version").detail == "edgehemo 1.0, proved on this device"
    left = {"version": "1.1", "back_to": "1.0", "at": "2026-11-21T10:00:00Z",
            "when": "first check", "reason": "the first check failed: 3 rbc found"}  # fmt: skip
    update_state(machine, left=left)
    finding = machine.examine().of("version")
    assert (finding.status, finding.code) == ("warn", "VERSION_LEFT")
    assert "1.1, 2026-11-21, first check: the first check failed: 3 rbc" in finding.detail
    update_state(machine, left={**left, "when": "by hand"})
    assert machine.examine().of("version").status == "ok"


def test_a_version_on_trial_and_a_state_that_cannot_be_read_are_told(machine: MadeUp) -> None:
    trial = {"slot": "b", "since": "2026-11-21T10:00:00Z", "tries_left": 3}
    update_state(machine, trial=trial)
    finding = machine.examine().of("version")
    assert (finding.code, finding.detail) == ("VERSION_ON_TRIAL", "edgehemo 1.1 is on trial")
    machine.say("update.json", "{")
    assert machine.examine().of("version").code == "VERSION_STATE_UNREADABLE"
