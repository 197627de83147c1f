"""The recipe of a device's root: Debian's packages by mmdebstrap, then `edgehemo device install`.

Nothing of the machine that builds goes in but the wheel of edgehemo; the program's own packages
come by the lock, each file by its digest. A root for another processor needs its emulator
registered (qemu-user-static).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgehemo.errors import DeviceError, MissingDependencyError, UsageError
from edgehemo_firmware import layout
from edgehemo_firmware.installing import NO_LABEL, Asked, install_on, planned
from edgehemo_firmware.program_version import FromIndex
from edgehemo_firmware.steps import Step
from edgehemo_firmware.target import Target

SUITE = "trixie"
ARCHITECTURES = ("amd64", "arm64")
HOSTNAME = "edgehemo"
ROOT_LABEL = "EDGEHEMO-ROOT"
BUILD_TIMEOUT_S = 3600
# What a root is made of beside what the kiosk itself asks for: it starts, finds its devices, mounts
# its data, and pip finds the package index while it is built.
BASE_PACKAGES: tuple[tuple[str, str], ...] = (
    ("systemd-sysv", "starts the services"),
    ("udev", "finds cameras and sticks"),
    ("dbus", "sessions of the screen"),
    ("kmod", "loads drivers"),
    ("e2fsprogs", "checks the data partition"),
    ("ca-certificates", "the package index is known by its certificate"),
    ("python3-venv", "the program's two places"),
    ("python3-pip", "installs the program"),
)
# What a disk needs to start by itself; a container has the kernel of its host.
KERNEL_PACKAGES: tuple[tuple[str, str], ...] = (
    ("linux-image-{architecture}", "the kernel"),
    ("initramfs-tools", "what the kernel starts with"),
    ("zstd", "packs it"),
    ("systemd-boot-efi", "starts it by UEFI"),
)
# Below a kiosk's screen nobody reads manuals.
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*")
# A licence must stay with what it is of.
KEPT = ("/usr/share/doc/*/copyright",)
# Files of this machine that name resolution and pip need while the root is built.
_NETWORK_FILES = ("/etc/resolv.conf", "/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True, slots=True)
class Recipe:
    """parts, settings: of the device, as `edgehemo device install` takes them. kernel: whether the
    root starts a machine by itself. screen: whether a browser shows the page. data_label: of the
    data partition; None: the data lie in the root. read_only: whether changes stay in memory.
    wheel: of edgehemo; None: made from the source that this runs from. extra: further packages.
    """

    parts: tuple[str, ...]
    settings: tuple[str, ...] = ()
    architecture: str = "amd64"
    suite: str = SUITE
    kernel: bool = True
    screen: bool = True
    data_label: str | None = layout.DATA_LABEL
    read_only: bool = True
    wheel: Path | None = None
    extra: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise UsageError(f"architecture {self.architecture!r}: {' or '.join(ARCHITECTURES)}")

    @property
    def packages(self) -> tuple[str, ...]:
        rows = [*BASE_PACKAGES, *(KERNEL_PACKAGES if self.kernel else ())]
        names = [name.format(architecture=self.architecture) for name, _ in rows]
        return (*names, *self.extra)


def bootstrap_command(recipe: Recipe, root: Path) -> list[str]:
    """mmdebstrap's command line."""
    command = ["mmdebstrap", "--quiet", "--variant=minbase"]
    command += [f"--architectures={recipe.architecture}", f"--include={','.join(recipe.packages)}"]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    command += [f"--dpkgopt=path-include={pattern}" for pattern in KEPT]
    # Whoever wants to work at it puts a key or a password in; none is known to all.
    return [*command, recipe.suite, str(root)]


def make_root(
    recipe: Recipe, root: Path, say: Callable[[str], None], *, program: Step | None = None
) -> None:
    """Make the root. It must not be there yet; what is half done is removed.

    program: puts the program there; None: by pip from the package index. Raises UsageError,
    MissingDependencyError and DeviceError, which say what to do.
    """
    if root.exists():
        raise UsageError(f"{root}: is there already; name a folder that is to be made")
    if os.geteuid() != 0:
        raise UsageError("a root holds files of every user: build it as root (sudo)")
    if shutil.which("mmdebstrap") is None:
        raise MissingDependencyError("mmdebstrap is not installed; apt-get install mmdebstrap")
    part = root.with_name(f"{root.name}.part")
    remove_root(part)
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        say(f"Debian {recipe.suite} for {recipe.architecture}: {' '.join(recipe.packages)}")
        _run(bootstrap_command(recipe, part), "Debian's packages")
        with _network(part):
            _install(recipe, part, say, program)
        _finish(part)
        part.rename(root)
    finally:
        remove_root(part)


def remove_root(root: Path) -> None:
    """Remove a root, and nothing of this machine that is mounted in it: whoever made it may have
    been killed before it unmounted. DeviceError where something cannot be unmounted.
    """
    for place in reversed(mounted_below(root)):
        _run(["umount", "--lazy", str(place)], f"{place} is mounted; unmount it")
    shutil.rmtree(root, ignore_errors=True)


def mounted_below(folder: Path) -> list[Path]:
    """What is mounted in a folder, in the order it was."""
    rows = Path("/proc/self/mountinfo").read_text("utf-8").splitlines()
    # Blanks and the like are written as octal numbers.
    places = [Path(re.sub(r"\\(\d{3})", _character, row.split()[4])) for row in rows]
    return [place for place in places if place.is_relative_to(folder.resolve())]


def _character(octal: re.Match[str]) -> str:
    return chr(int(octal[1], 8))


def size_mb(folder: Path) -> float:
    """What a folder takes, MB: blocks of its files, each once however many names it has."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            status = Path(parent, name).lstat()
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                total += status.st_blocks * 512
    return total / 1e6


def _install(recipe: Recipe, root: Path, say: Callable[[str], None], program: Step | None) -> None:
    """`edgehemo device install --root`."""
    target = Target(root.resolve())
    asked = Asked(
        recipe.parts,
        recipe.settings,
        data_label=NO_LABEL if recipe.data_label is None else recipe.data_label,
        read_only=recipe.read_only,
        screen=recipe.screen,
    )
    made = planned(target, asked, program or FromIndex(recipe.wheel))
    for word in made.words:
        say(word)
    install_on(target, made, say)


def _finish(root: Path) -> None:
    """Leave out what a machine finds for itself, and what only the building needed."""
    (root / "etc/hostname").write_text(f"{HOSTNAME}\n", "utf-8")
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {HOSTNAME}\n", "utf-8")
    # Each machine makes its own; a read-only one a new one at each start.
    (root / "etc/machine-id").write_text("", "utf-8")
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    for name in ("var/cache/apt/archives", "var/lib/apt/lists", "var/log", "tmp", "root/.cache"):
        for each in (root / name).glob("*"):
            if each.is_dir() and not each.is_symlink():
                if name != "var/log":
                    shutil.rmtree(each)
            else:
                each.unlink()


@contextmanager
def _network(root: Path) -> Iterator[None]:
    """Name resolution and certificates of this machine, while the program is fetched."""
    certificates = root / "etc/ssl/certs/ca-certificates.crt"
    kept = certificates.read_bytes() if certificates.is_file() else None
    for file in _NETWORK_FILES:
        place = root / file.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if Path(file).is_file():
            place.unlink(missing_ok=True)
            shutil.copyfile(file, place)
    try:
        yield
    finally:
        if kept is not None:
            certificates.write_bytes(kept)


def _run(command: Sequence[str], what: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise DeviceError(f"{what}: {last}")
