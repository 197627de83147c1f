"""The lock of what ships to devices: each package's version, where it counts, its SHA-256s.

``python -m edgehemo_firmware.dependencies.lock`` remakes it from pyproject.toml with uv; what still
fits stays, ``--upgrade`` takes the newest that the bounds allow. A second lock holds pip alone,
which installs on a device and is not installed there.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from packaging.markers import InvalidMarker, Marker
from packaging.utils import canonicalize_name

from edgehemo.errors import DeviceError, MissingDependencyError, UsageError
from edgehemo.files.atomic import write_text_atomically
from edgehemo_firmware.dependencies.targets import DEVICE_EXTRAS, Target

REPOSITORY = Path(__file__).resolve().parents[3]
LOCK_NAME = "device.txt"
HEADER = """\
# What ships to devices, for 64-bit Linux on x86-64 and ARM. Made by `make lock`: do not edit.
# Install it with: pip install --no-deps --require-hashes -r device.txt
# (--no-deps: a library's telemetry, which it names and does not need, is left out.)
"""
INSTALLER_LOCK_NAME = "installer.txt"
INSTALLER_HEADER = "# What installs on a device, from media. Made by `make lock`: do not edit.\n"
_ENTRY = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;]+)\s*(?:;\s*(.+))?")
_SHA256 = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """One entry: the canonical name, the version, where it counts (empty: everywhere).

    sha256: hexadecimal digests of the files of that version: wheels of all platforms, the source.
    """

    name: str
    version: str
    marker: str
    sha256: tuple[str, ...]

    def counts_on(self, target: Target) -> bool:
        return not self.marker or Marker(self.marker).evaluate(target.markers())


def shipped_lock() -> Traversable:
    """The lock that came with this version."""
    return files("edgehemo_firmware").joinpath("locks", LOCK_NAME)


def installer_lock() -> Traversable:
    """The lock of pip that came with this version."""
    return files("edgehemo_firmware").joinpath("locks", INSTALLER_LOCK_NAME)


def read_lock(text: str) -> tuple[LockedPackage, ...]:
    """Every entry of a lock; DeviceError, with the line, for what is no pinned, hashed package.

    Options such as an index are refused too: where packages are fetched is no matter of the lock.
    """
    packages = []
    for line in text.replace("\\\n", " ").splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        requirement, *hashes = re.split(r"\s+(?=--)", line)
        entry = _ENTRY.fullmatch(requirement.strip())
        digests = [match[1] for item in hashes if (match := _SHA256.fullmatch(item.strip()))]
        if entry is None or not digests or len(digests) < len(hashes):
            raise DeviceError(
                f"{LOCK_NAME}: {requirement[:80]!r} is not `name==version` with SHA-256 hashes; "
                "run `make lock`"
            )
        name, version, marker = entry.groups()
        try:
            Marker(marker or "python_version > '3'")
        except InvalidMarker:
            raise DeviceError(f"{LOCK_NAME}: {name}: marker {marker!r} is none") from None
        packages.append(
            LockedPackage(canonicalize_name(name), version, marker or "", tuple(digests))
        )
    if not packages:
        raise DeviceError(f"{LOCK_NAME}: holds no package; run `make lock`")
    return tuple(packages)


def locked_for(packages: Iterable[LockedPackage], target: Target) -> tuple[LockedPackage, ...]:
    """The packages of one target; DeviceError where one name has two versions there."""
    found = tuple(package for package in packages if package.counts_on(target))
    names = [package.name for package in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DeviceError(f"{LOCK_NAME}: {', '.join(twice)} twice on {target}; run `make lock`")
    return found


def run_uv(arguments: Sequence[str], *, quiet: bool = True) -> None:
    """Run uv in the repository; MissingDependencyError or UsageError, with its own words."""
    if not (REPOSITORY / "pyproject.toml").is_file():
        raise UsageError("this is done in a checkout of edgehemo, where pyproject.toml is")
    command = [sys.executable, "-P", "-m", "uv", *arguments, *(["--quiet"] if quiet else [])]
    done = subprocess.run(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    if done.returncode == 0:
        return
    said = " ".join(done.stderr.split())
    if "No module named uv" in said:
        raise MissingDependencyError('uv is not installed: pip install ".[supply]"')
    raise UsageError(f"uv could not do it: {said[-1500:]}")


def make_lock(lock: Path, *, upgrade: bool) -> tuple[LockedPackage, ...]:
    """Resolve pyproject.toml for all targets, write the lock and give what it holds."""
    extras = [part for extra in DEVICE_EXTRAS for part in ("--extra", extra)]
    return _resolved(lock, HEADER, ["pyproject.toml", *extras], upgrade=upgrade)


def make_installer_lock(lock: Path, *, upgrade: bool) -> tuple[LockedPackage, ...]:
    """Likewise pip's."""
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch) / "installer.in"
        wanted.write_text("pip\n", "utf-8")
        return _resolved(lock, INSTALLER_HEADER, [str(wanted)], upgrade=upgrade)


def _resolved(
    lock: Path, header: str, wanted: Sequence[str], *, upgrade: bool
) -> tuple[LockedPackage, ...]:
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / lock.name
        if lock.is_file():
            made.write_text(lock.read_text("utf-8"), "utf-8")
        run_uv(
            ["pip", "compile", *wanted, "--universal", "--generate-hashes",
             "--no-emit-index-url", "--no-emit-find-links", "--no-header", "--no-annotate",
             *(["--upgrade"] if upgrade else []), "--output-file", str(made)]
        )  # fmt: skip
        text = header + made.read_text("utf-8")
    packages = read_lock(text)
    write_text_atomically(lock, text)
    return packages


def main(arguments: Sequence[str] | None = None) -> None:
    """Remake the lock and print what moved."""
    parser = argparse.ArgumentParser(description="Remake the lock of what ships to devices.")
    parser.add_argument("--upgrade", action="store_true", help="take the newest within the bounds")
    options = parser.parse_args(arguments)
    folder = REPOSITORY / "firmware_config" / "edgehemo_firmware" / "locks"
    for name, make in ((LOCK_NAME, make_lock), (INSTALLER_LOCK_NAME, make_installer_lock)):
        lock = folder / name
        before = read_lock(lock.read_text("utf-8")) if lock.is_file() else ()
        after = make(lock, upgrade=options.upgrade)
        for line in moved(before, after):
            print(line)
        print(f"{lock.relative_to(REPOSITORY)}: {len(after)} entries")


def moved(before: Iterable[LockedPackage], after: Iterable[LockedPackage]) -> list[str]:
    """One line for each package whose versions differ."""
    old, new = _versions(before), _versions(after)
    return [
        f"{name} {old.get(name, 'absent')} -> {new.get(name, 'absent')}"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]


def _versions(packages: Iterable[LockedPackage]) -> dict[str, str]:
    versions: dict[str, list[str]] = {}
    for package in packages:
        versions.setdefault(package.name, []).append(package.version)
    return {name: ", ".join(sorted(set(found))) for name, found in versions.items()}


if __name__ == "__main__":
    from edgehemo_firmware.dependencies.running import run_as_tool

    run_as_tool(main)
