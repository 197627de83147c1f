"""The machines that the lock is made for."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass

from edgehemo.errors import UsageError

MACHINES = ("x86_64", "aarch64")
PYTHONS = ("3.11", "3.12", "3.13")
# Extras of pyproject.toml that devices are installed with.
DEVICE_EXTRAS = ("onnx", "openvino", "tflite", "kiosk")
# Of these, packages that one runtime alone needs, by its extra; ONNX Runtime is always there. A
# test holds them against what the packages themselves ask for.
RUNTIME_PACKAGES = {
    "openvino": ("openvino",),
    "tflite": ("ai-edge-litert", "backports-strenum", "ml-dtypes", "tqdm"),
}
# Debian 12, and Raspberry Pi OS of the same year, have this C library; later ones run its wheels.
MANYLINUX = "manylinux_2_36"


@dataclass(frozen=True, slots=True)
class Target:
    """One machine and one Python that a device may have, such as ``aarch64-3.13``."""

    machine: str
    python: str

    def __str__(self) -> str:
        return f"{self.machine}-{self.python}"

    @property
    def platform(self) -> str:
        """The platform as uv names it."""
        return f"{self.machine}-{MANYLINUX}"

    def markers(self) -> dict[str, str]:
        """PEP 508's marker variables there."""
        return {
            "extra": "",
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }


TARGETS = tuple(Target(machine, python) for machine in MACHINES for python in PYTHONS)


def target_of(text: str) -> Target:
    """The target called ``text``; UsageError, with all names, where there is none."""
    for target in TARGETS:
        if str(target) == text:
            return target
    raise UsageError(f"{text}: no such target; one of {', '.join(map(str, TARGETS))}")


def this_target() -> Target:
    """The target that this machine and this Python are; UsageError where they are none."""
    return target_of(f"{platform.machine()}-{sys.version_info.major}.{sys.version_info.minor}")
