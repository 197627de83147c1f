"""Debian packages for media, with all that they depend on, fetched by the workstation's apt.

apt works in a folder of its own, for another release and processor, as if nothing were installed:
what the device has already in the same version is passed over there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from edgehemo.errors import MissingDependencyError, UsageError
from edgehemo_firmware.dependencies.targets import Target

# Debian's release with a Python, whose Raspberry Pi OS has the same.
SUITES = {"3.11": "bookworm", "3.13": "trixie"}
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
MIRROR = "http://deb.debian.org/debian"
SECURITY = "http://deb.debian.org/debian-security"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
FETCH_TIMEOUT_S = 3600


def sources_for(target: Target, more: Sequence[str] = ()) -> str:
    """The sources of a target's packages. more: lines of others, such as Raspberry Pi's.

    UsageError for a Python that no release has.
    """
    suite = SUITES.get(target.python)
    if suite is None:
        raise UsageError(
            f"no release of Debian has Python {target.python}: its packages come with the image"
        )
    signed = f"deb [signed-by={KEYRING}]"
    lines = [
        f"{signed} {MIRROR} {suite} main",
        f"{signed} {MIRROR} {suite}-updates main",
        f"{signed} {SECURITY} {suite}-security main",
        *more,
    ]
    return "".join(f"{line}\n" for line in lines)


def fetch_debs(
    names: Sequence[str], folder: Path, target: Target, more_sources: Sequence[str] = ()
) -> list[Path]:
    """The files of packages and of all that they depend on, in a folder.

    MissingDependencyError where this machine has no apt; UsageError with apt's words.
    """
    if shutil.which("apt-get") is None or not KEYRING.is_file():
        raise MissingDependencyError(
            "packages of Debian are fetched with apt-get and Debian's keys, which this machine "
            f"has not: let the device's image have {' '.join(names)}"
        )
    apt = folder / "apt"
    for name in ("lists/partial", "cache/archives/partial", "etc", "dpkg"):
        (apt / name).mkdir(parents=True)
    (apt / "etc" / "sources.list").write_text(sources_for(target, more_sources), "utf-8")
    (apt / "dpkg" / "status").touch()
    architecture = ARCHITECTURES[target.machine]
    options = {
        "Dir::State": apt,
        "Dir::State::lists": apt / "lists",
        "Dir::State::status": apt / "dpkg" / "status",
        "Dir::Cache": apt / "cache",
        "Dir::Etc": apt / "etc",
        "Dir::Etc::sourcelist": apt / "etc" / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::Etc::preferencesparts": "-",
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "",
        "Debug::NoLocking": "true",
        "Acquire::Languages": "none",
    }
    command = ["apt-get", "-qq"]
    for name, value in options.items():
        command += ["-o", f"{name}={value}"]
    _apt([*command, "update"], target)
    _apt([*command, "install", "--yes", "--download-only", *names], target)
    return sorted((apt / "cache" / "archives").glob("*.deb"))


def _apt(command: Sequence[str], target: Target) -> None:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=FETCH_TIMEOUT_S,
        env={**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"},
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("E: ")]
        said = "; ".join(line.removeprefix("E: ") for line in lines) or done.stderr[-300:]
        raise UsageError(f"packages of Debian for {target} could not be had: {said}")
