"""A 64-bit ARM guest on Debian's own kernel, in QEMU: real drivers, no hardware, and no times.

Its disk holds Debian's Python, the wheels asked for and our package; it boots straight into one
Python script and powers off. Emulated times say nothing about any board.
"""

from __future__ import annotations

import gzip
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.lab import debian

PACKAGES = (
    "python3",
    "libpython3-stdlib",
    "libstdc++6",
    "ca-certificates",
    "zlib1g",
    "busybox-static",
    "linux-image-arm64",
)
# What the guest loads: for its disk at once, the rest before the script. vhci-hcd is the virtual
# USB hub, vivid a test camera, softdog a watchdog.
DISK_MODULES = ("virtio_blk", "ext4")
MODULES = ("vhci-hcd", "uvcvideo", "softdog")
DISK_MB = 900
MEMORY_MB = 1024
BOOT_INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev
for module in /m/*.ko; do insmod $module; done
while [ ! -b /dev/vda ]; do sleep 0.1; done
mount -t ext4 -o rw /dev/vda /r; mount -o move /dev /r/dev; umount /sys; umount /proc
exec switch_root /r /guest-init
"""
# A process stuck in the kernel cannot be killed: the guest powers off all the same.
GUEST_INIT = """#!/usr/bin/busybox sh
b=/usr/bin/busybox; $b mount -t proc p /proc; $b mount -t sysfs s /sys; $b mount -t tmpfs t /tmp
exec >/dev/console 2>&1 </dev/null
for module in /opt/modules/*.ko; do $b insmod $module || echo "no module $module"; done
cd /opt
( PYTHONPATH=/opt/site:/opt/source:/opt/source/parts PYTHONDONTWRITEBYTECODE=1 \\
  /usr/bin/python3.13 -u /opt/source/parts/SCRIPT; echo "GUEST ENDS $?"; : >/tmp/ended ) &
left=LIMIT_S
while [ ! -e /tmp/ended ] && [ $left -gt 0 ]; do $b sleep 1; left=$((left - 1)); done
[ -e /tmp/ended ] || echo "GUEST STUCK after LIMIT_S s"
$b sync; $b poweroff -f
"""
# What booting and powering off take beside the script, s.
BOOT_S = 60


def build(wheels: Sequence[str]) -> Path:
    """The guest's folder: root/, kernel and initial RAM disk; kept while the recipe is the same."""
    debian.need_tools(
        **{
            "mmdebstrap": "mmdebstrap",
            "qemu-system-aarch64": "qemu-system-arm",
            # mmdebstrap refuses a foreign architecture without it, though nothing of it runs.
            "qemu-aarch64-static": "qemu-user-static",
            "modprobe": "kmod",
            "cpio": "cpio",
            "mke2fs": "e2fsprogs",
        }
    )
    recipe = "\n".join((*PACKAGES, *wheels, *DISK_MODULES, *MODULES, BOOT_INIT, debian.SUITE))
    folder, whole = debian.kept("arm64-guest", recipe)
    if whole:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    root = folder / "root"
    debian.bootstrap(root, PACKAGES, variant="extract", architecture="arm64")
    for name in ("bin", "sbin", "lib"):
        if not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")
    (version,) = (item.name for item in (root / "usr/lib/modules").iterdir())
    shutil.copyfile(root / f"boot/vmlinuz-{version}", folder / "kernel")
    subprocess.run(["depmod", "-b", str(root / "usr"), version], capture_output=True, check=False)
    ram = folder / "ram"
    for name in ("bin", "m", "dev", "proc", "sys", "r"):
        (ram / name).mkdir(parents=True)
    shutil.copy(root / "usr/bin/busybox", ram / "bin/busybox")
    _modules(root, version, DISK_MODULES, ram / "m")
    _modules(root, version, MODULES, root / "opt/modules")
    init = ram / "init"
    init.write_text(BOOT_INIT, encoding="utf-8")
    init.chmod(0o755)
    packed = subprocess.run(
        "find . | cpio -o -H newc", shell=True, cwd=ram, capture_output=True, check=True
    ).stdout
    (folder / "initrd.gz").write_bytes(gzip.compress(packed, 1))
    shutil.rmtree(root / "usr/lib/modules")
    shutil.rmtree(root / "boot")
    for name in ("proc", "sys", "dev", "run", "tmp", "root", "opt"):
        (root / name).mkdir(exist_ok=True)
    debian.arm64_wheels(root / "opt/site", *wheels)
    debian.mark_whole(folder)
    return folder


def run(folder: Path, source: Path, script: str, *, limit_s: int) -> str:
    """Boot the guest into ``source/parts/SCRIPT``; what it printed on its console.

    source: a folder that becomes /opt/source. limit_s: of the script; the guest then powers off.
    Fails, with the console's end, where the script did not end by itself.
    """
    root = folder / "root"
    shutil.rmtree(root / "opt/source", ignore_errors=True)
    shutil.copytree(source, root / "opt/source")
    init = root / "guest-init"
    text = GUEST_INIT.replace("SCRIPT", script).replace("LIMIT_S", str(limit_s))
    init.write_text(text, encoding="utf-8")
    init.chmod(0o755)
    disk, console = folder / "disk.img", folder / "console.txt"
    disk.unlink(missing_ok=True)
    subprocess.run(
        ["mke2fs", "-q", "-t", "ext4", "-d", str(root), str(disk), f"{DISK_MB}M"], check=True
    )
    command = [
        "qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72", "-smp", "2",
        "-m", str(MEMORY_MB), "-accel", "tcg,thread=multi", "-nographic", "-nic", "none",
        "-no-reboot", "-kernel", str(folder / "kernel"), "-initrd", str(folder / "initrd.gz"),
        "-append", "console=ttyAMA0 root=/dev/vda rw panic=1 quiet",
        "-drive", f"if=none,id=disk,file={disk},format=raw,cache=unsafe",
        "-device", "virtio-blk-pci,drive=disk",
    ]  # fmt: skip
    try:
        with console.open("wb") as out:
            subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=limit_s + BOOT_S
            )
    except subprocess.TimeoutExpired:
        pytest.fail(f"the guest did not power off: {_tail(console)}")
    finally:
        disk.unlink(missing_ok=True)
    told = console.read_text(encoding="utf-8", errors="replace").replace("\r", "")
    assert "GUEST ENDS 0" in told, f"the guest broke off: {_tail(console)}"
    return told


def _modules(root: Path, version: str, names: Sequence[str], target: Path) -> None:
    """The kernel modules and what they need, unpacked and numbered in the order of loading."""
    target.mkdir(parents=True, exist_ok=True)
    wanted: list[str] = []
    for name in names:
        command = ["modprobe", "-d", str(root / "usr"), "-S", version, "--show-depends", name]
        told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        for line in told.splitlines():
            if line.startswith("insmod ") and line.split()[1] not in wanted:
                wanted.append(line.split()[1])
    for number, path in enumerate(wanted):
        unpacked = subprocess.run(["xz", "-dc", path], capture_output=True, check=True).stdout
        (target / f"{number:02d}-{Path(path).name.removesuffix('.xz')}").write_bytes(unpacked)


def _tail(console: Path) -> str:
    return console.read_text(encoding="utf-8", errors="replace")[-3000:]
