"""What is installed, plugged in and free on this device, and what is wrong with it.

Every check reads and never writes, none needs the network, and none can fail the others: what a
check cannot find out it says. Library versions come from the installed metadata, so that nothing
slow is imported but the runtime that is configured.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edgehemo.device.board import (
    BoardState,
    board_finding,
    temperature_finding,
    throttling_finding,
)
from edgehemo.device.cameras_found import sensors_found, usb_cameras
from edgehemo.device.finding import DoctorReport, Finding, Status, trouble
from edgehemo.device.machine import Machine, this_machine
from edgehemo.device.requirements import required
from edgehemo.errors import BundleError, DeviceError, ProfileError, UpdateError
from edgehemo.version import __version__
from edgehemo.words.counted import counted

if TYPE_CHECKING:
    from edgehemo.device.configuration import DeviceConfiguration
    from edgehemo.inference.runtimes import RuntimeFacts

SUPPORTED_PYTHON = ((3, 11), (3, 13))
# The year of this release: a clock before it is wrong (a Pi has none that survives a power cut).
RELEASE_YEAR = 2026
# Assumed of a sample of twelve fields with its pictures and report: 25 MB. So the first
# leaves room for 80 samples, the second for 20.
DISK_WARN_MB = 2000
DISK_FAIL_MB = 500

DISTRIBUTION = "edgehemo"


def examine(machine: Machine | None = None) -> DoctorReport:
    """Look at everything; never raises for what is wrong with the device."""
    machine = this_machine() if machine is None else machine
    device, finding = _device(machine)
    board = BoardState.read(machine)
    findings = [
        _python(),
        _software(machine),
        *_packages(machine),
        finding,
        *_unless_missing("version", lambda: _version(device)),
        board_finding(machine, device),
        *_unless_missing("runtimes", lambda: _runtimes(machine, device)),
        *_unless_missing("bundle", lambda: [_bundle(device)]),
        *_unless_missing("calibration", lambda: [_calibration(machine, device)]),
        *_unless_missing("cameras", lambda: _cameras(machine, device)),
        _disk(device),
        *_unless_missing("records", lambda: _records(machine, device)),
        *_unless_missing("receivers", lambda: [_receivers(device)]),
        _memory(machine, device),
        temperature_finding(board),
        throttling_finding(board),
        _clock(machine),
    ]
    return DoctorReport(tuple(findings))


def _unless_missing(name: str, look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """What a check finds; that it could not look where it needs a package that is missing."""
    try:
        return list(look())
    except ImportError as error:
        return [_not_looked_at(name, error)]


def _not_looked_at(name: str, error: ImportError) -> Finding:
    detail = f"cannot be looked at ({error})"
    return Finding(name, "fail", detail, "Install the missing packages first.")


def _python() -> Finding:
    have = sys.version_info[:2]
    bits = struct.calcsize("P") * 8
    detail = f"Python {platform.python_version()}, {platform.machine()}, {bits} bit"
    low, high = SUPPORTED_PYTHON
    if bits != 64:
        return trouble("python", "fail", "SYSTEM_32_BIT", detail)
    if not low <= have <= high:
        return trouble(
            "python",
            "fail" if have < low else "warn",
            "PYTHON_VERSION",
            detail,
            lowest=f"{low[0]}.{low[1]}",
            highest=f"{high[0]}.{high[1]}",
        )
    return Finding("python", "ok", detail)


def _software(machine: Machine) -> Finding:
    installed = machine.version(DISTRIBUTION)
    if installed is not None and installed != __version__:
        return trouble(
            "edgehemo",
            "warn",
            "SOFTWARE_MIXED",
            f"edgehemo {__version__} runs, {installed} is installed",
        )
    return Finding("edgehemo", "ok", f"edgehemo {__version__}")


def _packages(machine: Machine) -> Iterator[Finding]:
    lines = machine.requires(DISTRIBUTION)
    if lines is None:
        yield trouble(
            "packages",
            "warn",
            "SOURCE_NOT_INSTALLED",
            "edgehemo runs from its source and is not installed, so what it requires is not known",
        )
        return
    versions = {name: machine.version(name) for name in required(lines)}
    missing = [name for name, version in versions.items() if version is None]
    broken = {
        name: modules
        for name, version in versions.items()
        if version is not None and (modules := machine.unfound(name))
    }
    detail = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    if missing or broken:
        problems = [f"missing: {', '.join(missing)}"] if missing else []
        problems += [
            f"{name} is installed and its {' and '.join(modules)} cannot be found"
            for name, modules in broken.items()
        ]
        again = "--force-reinstall " if broken else ""
        yield trouble(
            "packages",
            "fail",
            "PACKAGES_MISSING",
            "; ".join(problems),
            packages=f"{again}{' '.join([*missing, *broken])}",
        )
    else:
        yield Finding("packages", "ok", detail)
    if machine.version("opencv-python") and versions.get("opencv-python-headless"):
        yield trouble(
            "opencv",
            "warn",
            "OPENCV_TWICE",
            "opencv-python and opencv-python-headless overwrite each other's files",
        )


def _device(machine: Machine) -> tuple[DeviceConfiguration | None, Finding]:
    try:
        from edgehemo.device.configuration import configured_path, load_device
        from edgehemo.device.named_profiles import FALLBACK_PROFILE
    except ImportError as error:
        return None, _not_looked_at("device", error)

    origin = configured_path()
    try:
        device = load_device()
    except DeviceError as error:
        return None, trouble("device", "fail", "CONFIGURATION_WRONG", str(error), file=origin)
    said = f"the shipped profile {FALLBACK_PROFILE}" if origin is None else str(origin)
    return device, Finding("device", "ok", f"{device.name} ({device.board}), from {said}")


def _version(device: DeviceConfiguration | None) -> Iterator[Finding]:
    """Of a kiosk with two versions: whether the last update was kept, and why not."""
    from edgehemo.device.version_state import read_state

    if device is None:
        return
    try:
        state = read_state(device.data_dir)
    except UpdateError as error:
        yield trouble("version", "warn", "VERSION_STATE_UNREADABLE", str(error))
        return
    left, proved = state.left, state.proved
    if state.trial is not None:
        detail = f"edgehemo {state.slots[state.trial.slot].version} is on trial"
        yield trouble("version", "warn", "VERSION_ON_TRIAL", detail)
    elif left is not None and left.when != "by hand":
        detail = f"edgehemo {left.version}, {left.at:%Y-%m-%d}, {left.when}: {left.reason}"
        yield trouble("version", "warn", "VERSION_LEFT", detail)
    elif proved is not None:
        yield Finding("version", "ok", f"edgehemo {proved.version}, proved on this device")


def _runtimes(machine: Machine, device: DeviceConfiguration | None) -> Iterator[Finding]:
    from edgehemo.bundle.manifest import DEFAULT_FORMAT
    from edgehemo.inference.runtimes import RUNTIMES

    chosen = device.inference.runtime if device is not None else DEFAULT_FORMAT
    for runtime, facts in RUNTIMES.items():
        name = f"runtime {runtime}"
        present = [
            (distribution, module, version)
            for distribution, module in facts.distributions
            if (version := machine.version(distribution)) is not None
        ]
        if not present:
            if runtime == chosen:
                yield trouble(
                    name,
                    "fail",
                    "RUNTIME_MISSING",
                    "is chosen in the device configuration and not installed",
                    requirement=facts.requirement,
                )
            else:
                yield Finding(name, "ok", f"not installed (pip install '{facts.requirement}')")
            continue
        distribution, module, version = present[0]
        detail = f"{distribution} {version}"
        if runtime == chosen:
            problem = _import_problem(facts, module)
            if problem:
                yield trouble(
                    name,
                    "fail",
                    "RUNTIME_BROKEN",
                    f"{detail} cannot be loaded ({problem})",
                    distribution=distribution,
                )
                continue
            detail += ", chosen"
        newest, _ = facts.distributions[0]
        if distribution != newest:
            yield trouble(name, "warn", "RUNTIME_OUTDATED", detail, newest=newest)
        else:
            yield Finding(name, "ok", detail)


def _import_problem(facts: RuntimeFacts, module: str) -> str:
    try:
        facts.imported(module)
    except Exception as error:
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    return ""


def _bundle(device: DeviceConfiguration | None) -> Finding:
    from edgehemo.bundle.bundle import load_bundle
    from edgehemo.device.equipment import open_bundle

    try:
        bundle = load_bundle() if device is None else open_bundle(None, device)
        bundle.check_files()
    except BundleError as error:
        return trouble("bundle", "fail", "BUNDLE_UNUSABLE", str(error))
    manifest = bundle.manifest
    models = ", ".join(entry.task for entry in manifest.models)
    detail = f"{manifest.name} {manifest.serial} ({models}), {bundle.digest[:12]}"
    if bundle.trust == "unsigned":
        return trouble("bundle", "warn", "BUNDLE_UNSIGNED", f"{detail}, nobody vouches for it")
    by = "comes with edgehemo" if bundle.signed_by is None else f"signed by {bundle.signed_by}"
    return Finding("bundle", "ok", f"{detail}, {by}")


def _calibration(machine: Machine, device: DeviceConfiguration | None) -> Finding:
    from edgehemo.device.calibration_state import profile_lines
    from edgehemo.device.readiness import why_blocked
    from edgehemo.profile.profile import load_profile

    if device is None or device.paths.profile is None:
        detail = "none: results are indices, not concentrations"
        if device is not None and device.camera.source is not None:
            return trouble("calibration", "warn", "CALIBRATION_NONE", detail)
        return Finding("calibration", "ok", detail)
    try:
        profile = load_profile(device.paths.profile)
    except ProfileError as error:
        return trouble("calibration", "warn", "CALIBRATION_UNREADABLE", str(error))
    path = Path(device.paths.profile)
    days = (machine.now - profile.created_at).days
    shown = "; ".join(profile_lines(profile, path, device, now=machine.now))
    old = f"{path}, {counted(days, 'day')} old"
    detail = f"{old}: {shown}"
    if days > device.screening.calibration_expires_days:
        return trouble(
            "calibration",
            "warn",
            "CALIBRATION_OLD",
            f"{old}, valid for {device.screening.calibration_expires_days}: {shown}",
        )
    blocked = why_blocked(profile, path, device, now=machine.now)
    if blocked is not None:
        reason = f"{detail}: results are withheld: {blocked.reason}"
        return Finding("calibration", "warn", reason, blocked.action, blocked.code)
    if profile.analyser is not None and profile.analyser.grade == "demonstration":
        return trouble("calibration", "warn", "CALIBRATION_DEMONSTRATION", detail)
    return Finding("calibration", "ok", detail)


def _cameras(machine: Machine, device: DeviceConfiguration | None) -> Iterator[Finding]:
    from edgehemo.capture.sources import camera_spec

    usb = usb_cameras(machine)
    sensors = sensors_found(machine)
    parts = [f"uvc:/dev/{node} ({label})" for node, label in usb]
    parts += [f"{sensor} on the board's connector" for sensor in sensors]
    detail = ", ".join(parts) or "none plugged in"
    wanted = device.camera.source if device is not None else None
    yield Finding("cameras", "ok", detail)
    closed = [node for node, _ in usb if not os.access(machine.root / "dev" / node, os.R_OK)]
    if closed:
        yield trouble(
            "camera access",
            "warn",
            "CAMERA_ACCESS_DENIED",
            f"/dev/{closed[0]} may not be read by this user",
        )
    if wanted is None:
        return
    spec = camera_spec(wanted)
    if spec is not None and spec.scheme == "uvc":
        if not (machine.root / spec.target.lstrip("/")).exists():
            yield trouble("camera", "fail", "CAMERA_ABSENT", f"{wanted} is not plugged in")
        else:
            yield Finding("camera", "ok", wanted)
    elif spec is not None and spec.scheme == "picamera2":
        yield _pi_camera(wanted, spec.target, sensors)
    else:
        yield Finding("camera", "ok", wanted)


def _pi_camera(wanted: str, target: str, sensors: list[str]) -> Finding:
    if importlib.util.find_spec("picamera2") is None:
        return trouble(
            "camera",
            "fail",
            "PICAMERA2_MISSING",
            f"{wanted} needs picamera2, which is not installed",
        )
    number = int(target) if target.isdecimal() else 0
    if number >= len(sensors):
        return trouble(
            "camera",
            "fail",
            "SENSOR_ABSENT",
            f"{wanted}: {len(sensors)} sensor(s) found on the board's connectors",
        )
    return Finding("camera", "ok", f"{wanted} ({sensors[number]})")


def _disk(device: DeviceConfiguration | None) -> Finding:
    if device is None:
        return trouble("disk", "warn", "DATA_FOLDER_UNKNOWN", "not known where data lies")
    folder = device.data_dir
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    try:
        free_mb = shutil.disk_usage(existing).free / 1e6
    except OSError as error:
        return trouble("disk", "fail", "DATA_FOLDER_UNREADABLE", f"{folder}: {error.strerror}")
    detail = f"{free_mb / 1000:.1f} GB free for {folder}"
    if not os.access(existing, os.W_OK):
        return trouble(
            "disk", "fail", "DATA_FOLDER_READ_ONLY", f"{folder} may not be written by this user"
        )
    if free_mb < DISK_WARN_MB:
        status: Status = "fail" if free_mb < DISK_FAIL_MB else "warn"
        return trouble("disk", status, "DISK_LOW", detail)
    return Finding("disk", "ok", detail)


def _records(machine: Machine, device: DeviceConfiguration | None) -> Iterable[Finding]:
    if device is None:
        return []
    from edgehemo.device.records_state import records_findings

    return records_findings(device, machine.now)


def _receivers(device: DeviceConfiguration | None) -> Finding:
    """Who gets results, and whether the files that they need can be used."""
    from edgehemo.device.receiver_files import problems_of

    if device is None or not device.receivers:
        return Finding("receivers", "ok", "none: results are sent to nobody")
    names = ", ".join(f"{each.name} ({each.kind})" for each in device.receivers)
    problems = [
        f"{each.name}: {problem}" for each in device.receivers for problem in problems_of(each)
    ]
    if problems:
        detail = f"{names}; {'; '.join(problems)}"
        return trouble("receivers", "fail", "RECEIVER_FILES_WRONG", detail)
    return Finding("receivers", "ok", names)


def _memory(machine: Machine, device: DeviceConfiguration | None) -> Finding:
    sizes = dict(re.findall(r"^(\w+):\s+(\d+) kB", machine.text("proc/meminfo") or "", re.M))
    if "MemAvailable" not in sizes or "MemTotal" not in sizes:
        return Finding("memory", "ok", "not told by this system")
    free_mb, total_mb = int(sizes["MemAvailable"]) / 1024, int(sizes["MemTotal"]) / 1024
    detail = f"{free_mb:.0f} of {total_mb:.0f} MB available"
    if device is not None and free_mb < device.inference.memory_limit_mb:
        return trouble(
            "memory",
            "warn",
            "MEMORY_LOW",
            f"{detail}, {device.inference.memory_limit_mb} wanted",
        )
    return Finding("memory", "ok", detail)


def _clock(machine: Machine) -> Finding:
    detail = machine.now.strftime("%Y-%m-%d %H:%M UTC")
    if machine.now.year < RELEASE_YEAR:
        return trouble(
            "clock", "warn", "CLOCK_WRONG", f"{detail}: before this software was released"
        )
    return Finding("clock", "ok", detail)
