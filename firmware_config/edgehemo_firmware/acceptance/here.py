"""This machine, its camera and its service: `Instruments` as they are."""

from __future__ import annotations

import importlib.metadata
import os
import re
import signal
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from edgehemo.api import screen
from edgehemo.bench.artefacts import time_artefacts
from edgehemo.bundle.bundle import SHIPPED_BUNDLE
from edgehemo.capture import open_source
from edgehemo.capture.protocol import Camera
from edgehemo.demo.demonstration import sample_image
from edgehemo.device.board import BoardState, described
from edgehemo.device.configuration import load_device
from edgehemo.device.equipment import open_equipment
from edgehemo.device.machine import Machine, this_machine
from edgehemo.errors import EdgeHemoError
from edgehemo.images.reading import decode_frame
from edgehemo.records.store import Store
from edgehemo.records.verifying import verify
from edgehemo.screening.field import FieldReading
from edgehemo.version import __version__
from edgehemo_firmware.acceptance.asking import NotPossibleError
from edgehemo_firmware.acceptance.instruments import RawPicture, Screened, Screens
from edgehemo_firmware.acceptance.record import Figure

UNIT = "edgehemo-kiosk.service"
RUNS = 10
# What a report names the version of, where it is installed.
SOFTWARE = (
    "onnxruntime", "openvino", "ai-edge-litert", "numpy", "opencv-python-headless", "picamera2",
)  # fmt: skip
POLL_S = 0.5
BACK_S = 300.0
WATCHDOG = "/dev/watchdog0"


@dataclass(frozen=True, slots=True)
class ThisDevice:
    """machine: what files and commands are read through. bundle: whose artefacts are timed; None
    for the device's own.
    """

    machine: Machine
    bundle: Path | None = None

    @classmethod
    def found(cls, bundle: Path | None = None) -> ThisDevice:
        return cls(this_machine(), bundle)

    def boot(self) -> str:
        return self.machine.text("proc/sys/kernel/random/boot_id") or "unknown"

    def monotonic(self) -> float:
        return time.monotonic()

    def described(self) -> Mapping[str, str]:
        return described(self.machine)

    def software(self) -> Mapping[str, str]:
        found = {"edgehemo": __version__}
        for name in SOFTWARE:
            with suppress(importlib.metadata.PackageNotFoundError):
                found[name] = importlib.metadata.version(name)
        return found

    def memory_mb(self) -> int:
        match = re.search(r"MemTotal:\s+(\d+) kB", self.machine.text("proc/meminfo") or "")
        return int(match[1]) // 1024 if match else 0

    def board(self) -> BoardState:
        return BoardState.read(self.machine)

    # -- camera -----------------------------------------------------------------------------------

    def camera(self) -> tuple[str, AbstractContextManager[Camera]]:
        source = load_device(None).camera.source
        if source is None:
            raise NotPossibleError("no camera is configured: set camera.source")
        return source, open_source(source)

    def raw(self) -> RawPicture:
        source = load_device(None).camera.source or ""
        if not source.startswith("picamera2:"):
            raise NotPossibleError(
                f"{source or 'no camera'}: only cameras on the board's connector give raw values"
            )
        return _raw_picture(int(source.partition(":")[2].partition("?")[0] or 0))

    def screened(self, folder: Path) -> Screened:
        source, _ = self.camera()
        begun = time.monotonic()
        result = screen(source, folder)
        fields = result.reading.images
        accepted = sum(isinstance(each, FieldReading) and each.accepted for each in fields)
        return Screened(len(fields), accepted, time.monotonic() - begun, folder / "report.html")

    # -- work -------------------------------------------------------------------------------------

    def timed(self) -> Sequence[Mapping[str, Figure]]:
        equipment = open_equipment(self.bundle, None)
        threads = sorted({1, equipment.device.inference.threads})
        rows = time_artefacts(equipment.bundle, threads=threads, runs=RUNS, tell=lambda _: None)
        return [
            {
                "model": row.model,
                "runtime": row.runtime or row.format,
                "precision": row.precision,
                "threads": row.threads,
                "median_ms": round(row.median_ms, 2),
                "p95_ms": round(row.p95_ms, 2),
                "peak_memory_mb": round(row.peak_memory_mb),
            }
            for row in rows
            if row.problem is None
        ]

    def loaded(self, seconds: float) -> Iterator[float]:
        reader = open_equipment(SHIPPED_BUNDLE, None).reader(None)
        frame = decode_frame(sample_image(), "sample")
        begun = time.monotonic()
        while (gone := time.monotonic() - begun) < seconds:
            reader.read(frame)
            yield gone

    # -- screen -----------------------------------------------------------------------------------

    def screens(self) -> Screens:
        connected = []
        for status in self.machine.glob("sys/class/drm/card*-*/status"):
            folder = f"sys/class/drm/{status.parent.name}"
            if self.machine.text(f"{folder}/status") == "connected":
                modes = (self.machine.text(f"{folder}/modes") or "").splitlines()
                connected.append(f"{status.parent.name} {modes[0] if modes else ''}".strip())
        return Screens(tuple(connected), touch_panels(self.machine))

    # -- service and watchdogs --------------------------------------------------------------------

    def service_ready_s(self) -> float:
        told = self._unit("ActiveEnterTimestampMonotonic")
        if not told.isdigit() or told == "0":
            raise NotPossibleError(f"{UNIT} does not run: edgehemo device install")
        return int(told) / 1e6

    def stop_answering(self) -> float:
        pid = self._unit("MainPID")
        if not pid.isdigit() or pid == "0":
            raise NotPossibleError(f"{UNIT} does not run: edgehemo device install")
        restarts = self._unit("NRestarts")
        begun = time.monotonic()
        os.kill(int(pid), signal.SIGSTOP)
        while time.monotonic() - begun < BACK_S:
            if self._unit("NRestarts") != restarts and _answers():
                return time.monotonic() - begun
            time.sleep(POLL_S)
        return time.monotonic() - begun

    def hardware_watchdog_s(self) -> float:
        if not (self.machine.root / WATCHDOG.lstrip("/")).exists():
            raise NotPossibleError(f"this machine has no {WATCHDOG}")
        told = self.machine.command(["systemctl", "show", "-P", "RuntimeWatchdogUSec"]) or ""
        seconds = _seconds(told)
        if not seconds:
            raise NotPossibleError("the service manager does not pet it: edgehemo device install")
        return seconds

    def crash(self) -> None:
        os.sync()
        Path("/proc/sys/kernel/panic").write_text("0")
        Path("/proc/sysrq-trigger").write_text("c")

    # -- what a cut may have done -----------------------------------------------------------------

    def counter(self) -> Path:
        return load_device(None).data_dir / "acceptance" / "numbers.txt"

    def damage(self) -> Mapping[str, int]:
        file_system = 0
        for path in self.machine.glob("sys/fs/ext4/*/errors_count"):
            text = self.machine.text(str(path.relative_to(self.machine.root))) or "0"
            file_system += int(text) if text.isdigit() else 0
        found = {"file_system_faults": file_system, "record_faults": 0}
        with suppress(EdgeHemoError), Store.below(load_device(None).data_dir).reader() as reader:
            found["record_faults"] = len(verify(reader).faults)
        return found

    def _unit(self, key: str) -> str:
        told = self.machine.command(["systemctl", "show", "-P", key, UNIT])
        if told is None:
            raise NotPossibleError("no service manager (systemd) runs here")
        return told.strip()


def touch_panels(machine: Machine) -> tuple[str, ...]:
    """Names of input devices that are touched where they show (INPUT_PROP_DIRECT)."""
    found = []
    for device in (machine.text("proc/bus/input/devices") or "").split("\n\n"):
        name = re.search(r'N: Name="([^"]*)"', device)
        properties = re.search(r"B: PROP=([0-9a-f]+)", device)
        if name and properties and int(properties[1], 16) & 2:
            found.append(name[1])
    return tuple(found)


def _seconds(text: str) -> float:
    """systemd's way of writing a time, such as ``1min 30s``; 0 for none."""
    units = {"min": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6}
    return sum(
        float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)(min|ms|us|s)\b", text)
    )


def _answers() -> bool:
    address = f"http://127.0.0.1:{load_device(None).kiosk.port}/alive"
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def _raw_picture(number: int) -> RawPicture:
    try:
        from picamera2 import Picamera2  # noqa: PLC0415  comes with the board's system
    except ImportError:
        raise NotPossibleError(
            "picamera2 is not installed: apt install python3-picamera2"
        ) from None
    with Picamera2(number) as camera:
        camera.configure(camera.create_still_configuration(raw={}))
        camera.start()
        values = camera.capture_array("raw")
        told = camera.camera_configuration()["raw"]
    bits = int(re.sub(r"\D.*", "", re.sub(r"^\D+", "", str(told["format"]))) or 0)
    width, height = told["size"]
    return RawPicture(int(width), int(height), bits or 8 * values.itemsize, str(told["format"]))
