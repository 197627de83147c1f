"""What the installer must know of the system it installs into, read once before it plans."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgehemo.errors import DeviceError
from edgehemo_firmware import layout
from edgehemo_firmware.installed import Installed, read_installed
from edgehemo_firmware.target import Target

# Where the firmware of a Raspberry Pi reads its settings, the newer place first.
_BOOT_CONFIGS = ("/boot/firmware/config.txt", "/boot/config.txt")
_MODEL = "/proc/device-tree/model"
_PROCESSOR = "/proc/cpuinfo"
# Machine of an ELF file (its bytes 18 and 19) -> how Debian calls the architecture.
_MACHINES = {62: "amd64", 183: "arm64", 40: "armhf", 3: "i386"}


@dataclass(frozen=True, slots=True)
class Facts:
    """running: whether it is the system that runs. distribution, version: ``debian`` and ``13``, as
    /etc/os-release says. architecture: as Debian calls it. python: version of its python3, empty
    for none. packages: installed ones of the distribution. boot_config: the Pi's config.txt; None
    for none. model: what the board calls itself; empty where it does not. data_partition: whether
    there is one with our label. standing: the values of the settings that stand there; None for
    none. installed: what was installed before.
    """

    running: bool
    distribution: str = ""
    version: str = ""
    architecture: str = ""
    python: str = ""
    packages: frozenset[str] = frozenset()
    boot_config: str | None = None
    model: str = ""
    abilities: frozenset[str] = frozenset()
    data_partition: bool = False
    standing: Mapping[str, Any] | None = None
    installed: Installed | None = None
    groups: frozenset[str] = field(default_factory=frozenset)


def facts_of(target: Target) -> Facts:
    """Look. Raises DeviceError for settings or a list of what was installed that cannot be read."""
    release = _release(target.text("/etc/os-release") or target.text("/usr/lib/os-release") or "")
    boot = next((path for path in _BOOT_CONFIGS if target.exists(path)), None)
    model = (target.text(_MODEL) or "").strip("\0 \n") if target.running else ""
    return Facts(
        running=target.running,
        distribution=release.get("ID", ""),
        version=release.get("VERSION_ID", ""),
        architecture=_architecture(target),
        python=_python(target),
        packages=installed_packages(dpkg_status(target)),
        boot_config=boot,
        model=model,
        abilities=abilities_of(target.text(_PROCESSOR) or "") if target.running else frozenset(),
        data_partition=target.running and target.exists(f"/dev/disk/by-label/{layout.DATA_LABEL}"),
        standing=_standing(target),
        installed=read_installed(target),
    )


def abilities_of(processors: str) -> frozenset[str]:
    """What the first processor of /proc/cpuinfo can do, in the kernel's words."""
    found = re.search(r"^flags\s*:(.*)$", processors, re.MULTILINE)
    return frozenset(found[1].split()) if found else frozenset()


def dpkg_status(target: Target) -> str:
    """What dpkg knows of its packages, a paragraph each, later ones in the place of earlier.

    While it works, as when a package's own script asks, the newest stands beside its list.
    """
    folder = "/var/lib/dpkg/updates"
    notes = sorted(target.place(folder).glob("[0-9]*")) if target.is_folder(folder) else []
    parts = [
        target.text("/var/lib/dpkg/status"),
        *(target.text(f"{folder}/{p.name}") for p in notes),
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part)


def installed_packages(status: str) -> frozenset[str]:
    """Names of what dpkg has installed."""
    found = set()
    for paragraph in status.split("\n\n"):
        name = re.search(r"^Package: (\S+)", paragraph, re.MULTILINE)
        if name is None:
            continue
        found.discard(name.group(1))
        if re.search(r"^Status: \S+ ok installed$", paragraph, re.MULTILINE):
            found.add(name.group(1))
    return frozenset(found)


def _release(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines())
    return {key: value.strip("\"'") for key, _, value in pairs if value}


def _architecture(target: Target) -> str:
    for path in ("/usr/bin/dpkg", "/bin/sh", "/usr/bin/env"):
        try:
            with target.place(path, last=True).open("rb") as file:
                head = file.read(20)
        except OSError:
            continue
        if head[:4] == b"\x7fELF":
            return _MACHINES.get(int.from_bytes(head[18:20], "little"), "")
    return ""


def _python(target: Target) -> str:
    """By what the link is called: nothing of another architecture is run."""
    leads = target.place("/usr/bin/python3", last=True).name
    match = re.fullmatch(r"python(3\.\d+)", leads)
    return match.group(1) if match and target.exists(f"/usr/bin/{leads}") else ""


def _standing(target: Target) -> Mapping[str, Any] | None:
    text = target.text(layout.CONFIGURATION)
    if text is None:
        return None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DeviceError(
            f"{layout.CONFIGURATION}: is not valid TOML ({error}); mend it, or move it away and "
            "install again"
        ) from None
