"""The step that puts the program itself on the device: a virtual environment with all it needs.

The environment sees the distribution's own packages, for picamera2 comes from there. What is
installed is what the lock of this version names, each file by its digest, and edgehemo itself.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from edgehemo.errors import DeviceError
from edgehemo.version import __version__
from edgehemo_firmware import layout
from edgehemo_firmware.target import Target
from edgehemo_firmware.update.own_wheel import own_wheel

SLOTS = ("a", "b")
# Written where versions come from media: then they are changed by `edgehemo device update` alone.
FROM_MEDIA = f"{layout.DATA}/update.json"
_WORK = "/tmp/edgehemo-install"


@dataclass(frozen=True, slots=True)
class FromIndex:
    """The program by pip, from the package index of the distribution's Python. wheel: of edgehemo;
    None: made of what this runs from.
    """

    wheel: Path | None = None

    @property
    def said(self) -> str:
        return f"{layout.VERSIONS}: edgehemo {__version__} and what it needs, by its lock"

    def is_done(self, target: Target) -> bool:
        if not target.place(f"{layout.CURRENT}/bin/edgehemo", last=True).exists():
            return False
        return target.exists(FROM_MEDIA) or running_version(target) == __version__

    def do(self, target: Target) -> None:
        slot = free_slot(target)
        place = f"{layout.VERSIONS}/{slot}"
        target.remove_tree(_WORK)
        target.write(f"{_WORK}/device.txt", _lock(), 0o644)
        with tempfile.TemporaryDirectory(prefix="edgehemo-wheel-") as scratch:
            wheel = self.wheel or own_wheel(Path(scratch))
            target.write(f"{_WORK}/{wheel.name}", wheel.read_bytes(), 0o644)
        try:
            target.remove_tree(place)
            target.run(["/usr/bin/python3", "-m", "venv", "--system-site-packages", place])
            pip = [
                f"{place}/bin/python",
                "-m",
                "pip",
                "--disable-pip-version-check",
                "-q",
                "install",
            ]
            pip += ["--no-deps", "--no-cache-dir"]
            target.run([*pip, "--require-hashes", "-r", f"{_WORK}/device.txt"])
            target.run([*pip, f"{_WORK}/{wheel.name}"])
            said = target.run([f"{place}/bin/edgehemo", "--version"])
        finally:
            target.remove_tree(_WORK)
        if __version__ not in said:
            raise DeviceError(f"{place}: {said.strip()!r} came out, and not {__version__}")
        target.make_link(layout.CURRENT, f"versions/{slot}")


def free_slot(target: Target) -> str:
    """Where a version is built: never where the one that runs lies."""
    runs = (target.link(layout.CURRENT) or "").rpartition("/")[2]
    return next(slot for slot in SLOTS if slot != runs)


def running_version(target: Target) -> str | None:
    """Version of the program that the link leads to, by its metadata; None where there is none."""
    packages = target.place(f"{layout.CURRENT}/lib", last=True)
    for found in sorted(packages.glob("python3*/site-packages/edgehemo-*.dist-info")):
        return found.name.removeprefix("edgehemo-").removesuffix(".dist-info")
    return None


def _lock() -> bytes:
    return files("edgehemo_firmware").joinpath("locks", "device.txt").read_bytes()
