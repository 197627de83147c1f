"""A 64-bit ARM Debian with the device's wheels, run program by program under user emulation.

    python -m tests.lab.arm64_root BUNDLE      # what a bundle's artefacts answer there

Function and parity only: emulated times say nothing about any board. OpenVINO hangs under this kind
of emulation; the full guest (see `tests.lab.guest`) runs it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgehemo_firmware.dependencies.lock import shipped_lock
from edgehemo_firmware.dependencies.targets import MANYLINUX, Target
from tests.lab import debian

PACKAGES = ("python3", "libpython3-stdlib", "libstdc++6", "ca-certificates", "zlib1g")
# What a device of this kind installs, by the lock.
TARGET = Target("aarch64", "3.13")
# Made of the lock for machines that are no ARM: uv reads its conditions for the target.
INSTALL = (
    "-P", "-m", "uv", "--no-config", "pip", "install", "--quiet", "--no-deps", "--require-hashes",
    "--only-binary", ":all:",
    "--python-platform", f"{TARGET.machine}-{MANYLINUX}", "--python-version", TARGET.python,
)  # fmt: skip
EMULATOR = "qemu-aarch64-static"
# Cores of each processor that is emulated.
CORES = 2


@dataclass(frozen=True)
class Processor:
    """One of a board. qemu: the emulator's name of it. part, features: as its /proc/cpuinfo says:
    the runtimes choose their kernels by that, and would read it of the processor underneath.
    """

    qemu: str
    part: str
    features: str

    @property
    def cpu_info(self) -> str:
        return "".join(
            f"processor : {core}\nFeatures : {self.features}\nCPU implementer : 0x41\n"
            f"CPU architecture: 8\nCPU variant : 0x0\nCPU part : {self.part}\n"
            "CPU revision : 3\n\n"
            for core in range(CORES)
        )


PROCESSORS = {
    "Raspberry Pi 4": Processor("cortex-a72", "0xd08", "fp asimd evtstrm crc32 cpuid"),
    "Raspberry Pi 5": Processor(
        "cortex-a76",
        "0xd0b",
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc "
        "dcpop asimddp",
    ),
}
PART = Path(__file__).with_name("parts") / "artefacts_in_root.py"


def build() -> Path:
    """The root folder; kept while its recipe is the same. Skips where it cannot be made."""
    debian.need_tools(**{"mmdebstrap": "mmdebstrap", EMULATOR: "qemu-user-static"})
    lock = shipped_lock().read_text("utf-8")
    folder, whole = debian.kept("arm64-root", "\n".join((*PACKAGES, lock, debian.SUITE)))
    root = folder / "root"
    if whole:
        return root
    for older in debian.cache_folder().glob("arm64-root-*"):
        shutil.rmtree(older)
    debian.bootstrap(root, PACKAGES, variant="extract", architecture="arm64")
    for name in ("bin", "sbin", "lib"):
        if not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")
    cores = f"0-{CORES - 1}\n"
    for name in ("possible", "present", "online"):
        place = root / "sys/devices/system/cpu" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(cores, encoding="utf-8")
    for name in ("dev", "proc", "tmp", "root", "opt/source", "opt/given"):
        (root / name).mkdir(parents=True, exist_ok=True)
    named = folder / "device.txt"
    named.write_text(lock, encoding="utf-8")
    made = subprocess.run(
        [sys.executable, *INSTALL, "--target",
         str(root / "opt/site"), "-r", str(named)],
        capture_output=True, text=True, timeout=debian.BUILD_TIMEOUT_S,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"the lock's wheels could not be had: {made.stderr.strip()[-300:]}")
    debian.mark_whole(folder)
    return root


# As root, in namespaces of its own: the root's folders, an emulated board's /proc/cpuinfo, our
# source and what is given to read, and no network but its own loopback.
ENTER = """set -e
mount --rbind /proc "$ROOT/proc"; mount --make-rslave "$ROOT/proc"; mount --rbind /dev "$ROOT/dev"
mount -t tmpfs tmp "$ROOT/tmp"; mount -t tmpfs home "$ROOT/root"
mount --bind "$CPU_INFO" "$ROOT/proc/cpuinfo"
mount --bind "$SOURCE" "$ROOT/opt/source"; mount --bind "$GIVEN" "$ROOT/opt/given"
ip link set lo up
root=$ROOT; unset ROOT CPU_INFO SOURCE GIVEN
exec chroot "$root" "$@"
"""
_FORMAT = (
    ":edgehemo-arm64:M::\\x7f\\x45\\x4c\\x46\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00"
    "\\x00\\x00\\x02\\x00\\xb7\\x00:\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff"
    "\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff:{emulator}:OPF"
)
_FORMATS = Path("/proc/sys/fs/binfmt_misc")


def register() -> None:
    """Let the kernel start programs for ARM by the emulator, in every root. Skips where it may not.

    An emulated program could start no other without.
    """
    if not (_FORMATS / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "none", str(_FORMATS)], capture_output=True)
    if (_FORMATS / "edgehemo-arm64").exists() or (_FORMATS / "qemu-aarch64").exists():
        return
    try:
        (_FORMATS / "register").write_text(_FORMAT.format(emulator=shutil.which(EMULATOR)))
    except OSError as error:
        pytest.skip(f"programs for ARM cannot be registered (binfmt_misc): {error}")


def python(
    board: str, given: Path, *arguments: str, timeout_s: float, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the root's Python on an emulated board.

    board: one of `PROCESSORS`. given: a folder that is /opt/given there, to read and to write; our
    source is /opt/source. Its home folder is empty.
    """
    root = build()
    register()
    cpu_info = root.with_name("cpuinfo")
    cpu_info.write_text(PROCESSORS[board].cpu_info, encoding="utf-8")
    return subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, "sh",
         f"/usr/bin/python{TARGET.python}", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        stdin=subprocess.DEVNULL,
        env={
            "ROOT": str(root),
            "CPU_INFO": str(cpu_info),
            "SOURCE": str(debian.REPOSITORY),
            "GIVEN": str(given),
            "PYTHONPATH": "/opt/site:/opt/source",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": str(CORES),
            "LANG": "C.UTF-8",
            "HOME": "/root",
            "PATH": os.defpath + ":/usr/sbin:/sbin",
            "QEMU_CPU": PROCESSORS[board].qemu,
            **variables,
        },
    )  # fmt: skip


def answers(bundle: Path, keys: Path, board: str, *, timeout_s: float) -> dict[str, Any]:
    """What `parts/artefacts_in_root.py` says there about a bundle.

    keys: folder with those of whom is trusted. board: one of `PROCESSORS`.
    """
    with tempfile.TemporaryDirectory(prefix="edgehemo-arm64-") as folder:
        given = Path(folder)
        shutil.copytree(bundle, given / "bundle")
        shutil.copytree(keys, given / "keys", ignore=shutil.ignore_patterns("*.key"))
        done = python(
            board, given, f"/opt/source/tests/lab/parts/{PART.name}", "/opt/given/bundle",
            timeout_s=timeout_s, EDGEHEMO_KEYS="/opt/given/keys",
        )  # fmt: skip
    if done.returncode:
        pytest.fail(f"ended with {done.returncode} on ARM: {done.stderr[-1500:]}")
    record: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return record


def main() -> None:
    from edgehemo.bundle.signatures import own_key_folder

    for board in PROCESSORS:
        record = answers(Path(sys.argv[1]), own_key_folder(), board, timeout_s=3000)
        print(f"processor of a {board}, emulated ({record['machine']}), {record['trust']}")
        for row in record["artefacts"]:
            print(
                f"{row['model']:<16}{row['format']:<8}{row['precision']:<6}{row['runtime']:<24}"
                f"{row['difference']:.2e} (export {row['at_export']:.2e}) {row['gate']}"
            )


if __name__ == "__main__":
    main()
