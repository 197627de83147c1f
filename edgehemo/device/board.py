"""The board: what it is, how warm it is, whether its processor is throttled."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgehemo.device.finding import Finding, trouble
from edgehemo.device.machine import Machine

if TYPE_CHECKING:
    from edgehemo.device.configuration import DeviceConfiguration


# The Pi's firmware slows the processor from 80 degrees Celsius on (Raspberry Pi documentation,
# "Frequency management and thermal control").
TEMPERATURE_WARN_C = 80.0

# Bits of the firmware's get_throttled (Raspberry Pi documentation, vcgencmd).
THROTTLED_NOW = {
    0: "the supply voltage is too low",
    1: "the processor's clock is capped",
    2: "the processor is throttled",
    3: "the temperature limit is reached",
}

_UNDER_VOLTAGE_SINCE_BOOT = 16

# The board key of a device configuration and how the board's own name begins.
_BOARD_MODELS = {
    "raspberry_pi_4": ("Raspberry Pi 4", "Raspberry Pi Compute Module 4", "Raspberry Pi 400"),
    "raspberry_pi_5": ("Raspberry Pi 5", "Raspberry Pi Compute Module 5", "Raspberry Pi 500"),
    "raspberry_pi_zero_2_w": ("Raspberry Pi Zero 2",),
}


@dataclass(frozen=True, slots=True)
class BoardState:
    """celsius: of the hottest zone; throttled: the firmware's flags; None where not told."""

    celsius: float | None
    throttled: int | None

    @classmethod
    def read(cls, machine: Machine) -> BoardState:
        """As the board tells now. The firmware is asked where the kernel does not pass it on."""
        degrees = []
        for path in machine.glob("sys/class/thermal/thermal_zone*"):
            text = machine.text(f"sys/class/thermal/{path.name}/temp") or ""
            if re.fullmatch(r"-?\d+", text):
                degrees.append(int(text) / 1000)
        flags = machine.text("sys/devices/platform/soc/soc:firmware/get_throttled")
        if flags is None and board_model(machine):
            flags = (machine.command(["vcgencmd", "get_throttled"]) or "").partition("=")[2]
        match = re.fullmatch(r"(?:0x)?([0-9a-fA-F]+)", (flags or "").strip())
        return cls(max(degrees, default=None), int(match.group(1), 16) if match else None)


def board_model(machine: Machine) -> str | None:
    """What a single-board computer calls itself; None on others."""
    return machine.text("proc/device-tree/model") or None


def described(machine: Machine) -> dict[str, str]:
    """The board or processor, system and Python that a measured time belongs to."""
    return {
        "board": board_model(machine) or _processor(machine) or platform.processor() or "unknown",
        "architecture": platform.machine(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _processor(machine: Machine) -> str | None:
    for line in (machine.text("proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return None


def board_finding(machine: Machine, device: DeviceConfiguration | None) -> Finding:
    """Which board this is, and whether the device configuration is for it."""
    model = board_model(machine)
    if not model:
        detail = f"{platform.machine()} computer, {os.cpu_count() or 1} processors"
        if device is not None and device.board in _BOARD_MODELS:
            return trouble(
                "board",
                "warn",
                "BOARD_NOT_A_PI",
                f"{detail}; the device configuration is for a {device.board}",
            )
        return Finding("board", "ok", detail)
    fitting = [board for board, names in _BOARD_MODELS.items() if model.startswith(names)]
    if device is not None and fitting and device.board != fitting[0]:
        return trouble(
            "board",
            "warn",
            "BOARD_OTHER",
            f"{model}; the device configuration is for a {device.board}",
            board=fitting[0],
        )
    return Finding("board", "ok", model)


def temperature_finding(state: BoardState) -> Finding:
    """How hot the processor is."""
    hottest = state.celsius
    if hottest is None:
        return Finding("temperature", "ok", "not told by this system")
    if hottest >= TEMPERATURE_WARN_C:
        return trouble(
            "temperature",
            "warn",
            "TEMPERATURE_HIGH",
            f"{hottest:.0f} °C; the processor slows down from {TEMPERATURE_WARN_C:.0f} °C on",
        )
    return Finding("temperature", "ok", f"{hottest:.0f} °C")


def throttling_finding(state: BoardState) -> Finding:
    """Whether the processor was slowed down, and by what."""
    flags = state.throttled
    if flags is None:
        return Finding("throttling", "ok", "not told by this system")
    now = [meaning for bit, meaning in THROTTLED_NOW.items() if flags >> bit & 1]
    if now:
        return trouble("throttling", "warn", "THROTTLED", "; ".join(now))
    if flags >> _UNDER_VOLTAGE_SINCE_BOOT & 1:
        return trouble(
            "throttling", "warn", "UNDER_VOLTAGE", "the supply voltage was too low since the start"
        )
    return Finding("throttling", "ok", "none")
