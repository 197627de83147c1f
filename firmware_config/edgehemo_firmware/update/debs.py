"""Debian packages for media, with all that they depend on, fetched by the workstation's apt.

apt works in a folder of its own, for another release and processor, as if nothing were installed:
what the device has already in the same version is passed over there. It asks the mirrors that the
workstation's own apt uses, or one that is named.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgehemo.errors import MissingDependencyError, UsageError
from edgehemo_firmware.dependencies.targets import Target

# Debian's release with a Python, whose Raspberry Pi OS has the same.
SUITES = {"3.11": "bookworm", "3.13": "trixie"}
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
FETCH_TIMEOUT_S = 3600
# What a mirror of Debian and that of its security updates are called, each below a host.
_MAIN, _SECURITY = "debian", "debian-security"


@dataclass(frozen=True, slots=True)
class Mirrors:
    """Addresses of Debian and of its security updates."""

    main: str
    security: str


def mirrors_beside(main: str) -> Mirrors:
    """A mirror that was named, with the security updates of the same host."""
    main = main.rstrip("/")
    return Mirrors(main, f"{main.removesuffix(_MAIN)}{_SECURITY}")


def own_mirrors(targets: str) -> Mirrors | None:
    """The mirrors of this machine's apt, None where it has none of Debian.

    targets: what `apt-get indextargets` says in `_TARGETS_FORMAT`. Without fetched lists apt does
    not know whose they are; then their names tell.
    """
    found: dict[str, str] = {}
    for line in targets.splitlines():
        address, _, origin = line.partition("|")
        address = address.rstrip("/")
        name = address.rpartition("/")[2]
        if name in (_MAIN, _SECURITY) and origin in ("Debian", "", "$(ORIGIN)"):
            found.setdefault(name, address)
    if _MAIN not in found:
        return None
    beside = mirrors_beside(found[_MAIN])
    return Mirrors(beside.main, found.get(_SECURITY, beside.security))


_TARGETS_FORMAT = "$(REPO_URI)|$(ORIGIN)"


def sources_for(target: Target, mirrors: Mirrors, more: Sequence[str] = ()) -> str:
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
        f"{signed} {mirrors.main} {suite} main",
        f"{signed} {mirrors.main} {suite}-updates main",
        f"{signed} {mirrors.security} {suite}-security main",
        *more,
    ]
    return "".join(f"{line}\n" for line in lines)


def fetch_debs(
    names: Sequence[str],
    folder: Path,
    target: Target,
    more_sources: Sequence[str] = (),
    mirror: str | None = None,
) -> list[Path]:
    """The files of packages and of all that they depend on, in a folder. mirror: address of Debian,
    None for the one that this machine's apt uses.

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
    sources = sources_for(target, _mirrors(mirror), more_sources)
    (apt / "etc" / "sources.list").write_text(sources, "utf-8")
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


def _mirrors(named: str | None) -> Mirrors:
    if named is not None:
        return mirrors_beside(named)
    asked = ["apt-get", "indextargets", "--format", _TARGETS_FORMAT, "Created-By: Packages"]
    done = subprocess.run(asked, capture_output=True, text=True, errors="replace", timeout=60)
    found = own_mirrors(done.stdout)
    if found is None:
        raise UsageError(
            "this machine's apt names no mirror of Debian: give one by --deb-mirror URL"
        )
    return found


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
