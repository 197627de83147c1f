"""A root as a disk that starts by UEFI: start, system and data partition in one file.

No loop device is needed: each file system is made in a file of its own and laid at its place.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgehemo.errors import DeviceError, MissingDependencyError
from edgehemo_firmware import layout
from edgehemo_firmware.image.recipe import ROOT_LABEL, size_mb

ESP_LABEL = "EDGEHEMO-B"
ESP_MB = 256
# The system changes only when it is made anew: little room beside what it takes.
ROOT_SPARE = 1.15
SECTOR_BYTES, MIB = 512, 1 << 20
# Type of a partition in a GPT (uefi.org, discoverable partitions): start, data of Linux.
ESP_TYPE, LINUX_TYPE = (
    "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
    "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
)
# mmdebstrap's architecture -> systemd's starter, its name where a disk starts without being asked.
STARTERS = {
    "amd64": ("systemd-bootx64.efi", "BOOTX64.EFI"),
    "arm64": ("systemd-bootaa64.efi", "BOOTAA64.EFI"),
}
STARTER_FOLDER = "usr/lib/systemd/boot/efi"
# rw: what is laid over a read-only system keeps the mode that the system was mounted with.
KERNEL_LINE = f"root=LABEL={ROOT_LABEL} rw quiet systemd.gpt_auto=no console=tty0 console=ttyS0"
NEEDED = {
    "mke2fs": "e2fsprogs",
    "mkfs.vfat": "dosfstools",
    "mcopy": "mtools",
    "sfdisk": "fdisk",
}


@dataclass(frozen=True, slots=True)
class Partition:
    """name: in the table. type: GUID. content: file of its file system."""

    name: str
    type: str
    content: Path

    @property
    def mib(self) -> int:
        return -(-self.content.stat().st_size // MIB)


def make_disk(root: Path, image: Path, *, architecture: str, data_mb: int) -> None:
    """Make the disk of a root that has a kernel. Raises MissingDependencyError, DeviceError.

    data_mb: of the data partition, which holds what lies in the root's data folder.
    """
    need(*NEEDED)
    with tempfile.TemporaryDirectory(prefix="edgehemo-image-", dir=image.parent) as folder:
        work = Path(folder)
        parts = (
            Partition("start", ESP_TYPE, _start(root, work, architecture)),
            Partition("system", LINUX_TYPE, _system(root, work)),
            Partition("data", LINUX_TYPE, data_file(root, work / "data.ext4", data_mb)),
        )
        part = work / "disk.img"
        _lay(part, parts)
        part.replace(image)


def data_file(root: Path, file: Path, data_mb: int) -> Path:
    """The data partition's file system: the program's versions and settings lie on it."""
    content = root / layout.DATA_MOUNT.lstrip("/")
    run("mke2fs", "-q", "-F", "-t", "ext4", "-L", layout.DATA_LABEL, "-d", str(content), str(file),
        f"{data_mb}M")  # fmt: skip
    return file


def need(*programs: str) -> None:
    """Raises MissingDependencyError, with what to install, where one of the programs is missing."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        packages = " ".join(sorted({NEEDED[name] for name in missing}))
        raise MissingDependencyError(f"needs {', '.join(missing)}; apt-get install {packages}")


def kernel_of(root: Path) -> tuple[Path, Path]:
    """Kernel and initial RAM disk of a root; DeviceError where it has none."""
    kernels = sorted((root / "boot").glob("vmlinuz-*"))
    disks = sorted((root / "boot").glob("initrd.img-*"))
    if not kernels or not disks:
        raise DeviceError(f"{root}: has no kernel and cannot start a machine by itself")
    return kernels[-1], disks[-1]


def _start(root: Path, work: Path, architecture: str) -> Path:
    """The FAT partition that UEFI starts from."""
    kernel, initial = kernel_of(root)
    source, name = STARTERS[architecture]
    starter = root / STARTER_FOLDER / source
    if not starter.is_file():
        raise DeviceError(f"{root}: has no {starter.name} (package systemd-boot-efi)")
    loader, entry = work / "loader.conf", work / "edgehemo.conf"
    loader.write_text("default edgehemo.conf\ntimeout 0\neditor no\n", "utf-8")
    entry.write_text(
        f"title edgehemo\nlinux /vmlinuz\ninitrd /initrd.img\noptions {KERNEL_LINE}\n", "utf-8"
    )
    file = work / "start.vfat"
    with file.open("wb") as out:
        out.truncate(ESP_MB * MIB)
    run("mkfs.vfat", "-n", ESP_LABEL, str(file))
    run("mmd", "-i", str(file), "::EFI", "::EFI/BOOT", "::loader", "::loader/entries")
    for path, place in (
        (starter, f"EFI/BOOT/{name}"), (kernel, "vmlinuz"), (initial, "initrd.img"),
        (loader, "loader/loader.conf"), (entry, "loader/entries/edgehemo.conf"),
    ):  # fmt: skip
        run("mcopy", "-i", str(file), str(path), f"::{place}")
    return file


def _system(root: Path, work: Path) -> Path:
    """The root's file system, without what lies on the data partition."""
    file, data = work / "system.ext4", root / layout.DATA_MOUNT.lstrip("/")
    aside = root.with_name(f"{root.name}.data")
    data.rename(aside)
    try:
        data.mkdir()
        room = int(size_mb(root) * ROOT_SPARE) + 64
        run("mke2fs", "-q", "-F", "-t", "ext4", "-L", ROOT_LABEL, "-d", str(root), str(file),
            f"{room}M")  # fmt: skip
    finally:
        data.rmdir()
        aside.rename(data)
    return file


def _lay(image: Path, parts: Sequence[Partition]) -> None:
    """Partition table and partitions, each on a whole MiB."""
    starts, at = [], 1
    for part in parts:
        starts.append(at)
        at += part.mib
    with image.open("wb") as out:
        out.truncate((at + 1) * MIB)
    lines = ["label: gpt"] + [
        f"start={start * MIB // SECTOR_BYTES}, size={part.mib * MIB // SECTOR_BYTES}, "
        f"type={part.type}, name={part.name}"
        for start, part in zip(starts, parts, strict=True)
    ]
    run("sfdisk", "--quiet", str(image), given="\n".join(lines) + "\n")
    for start, part in zip(starts, parts, strict=True):
        command = ["dd", f"if={part.content}", f"of={image}", "bs=1M", f"seek={start}"]
        run(*command, "conv=notrunc,sparse", "status=none")


def run(*command: str, given: str = "", allow: bool = False) -> None:
    """A program of this machine; DeviceError with its last words where it fails. allow: it may."""
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode and not allow:
        last = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise DeviceError(f"{command[0]}: {last}")
