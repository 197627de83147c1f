"""A 64-bit ARM Debian with the device's wheels, run program by program under user emulation.

    python -m tests.lab.arm64_root BUNDLE      # what a bundle's artefacts answer there

Function and parity only: emulated times say nothing about any board. The runtimes ask the system
which processor it has and how many cores, and OpenVINO breaks off where it does not say (the
emulator then hangs, as it cannot end a program of several threads): so each board's own description
is laid before the root's /proc/cpuinfo and /sys/devices/system/cpu.
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

from edgehemo.inference import RUNTIMES
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
# Cores of each processor that is emulated; who made it, and its revision.
CORES, ARM, REVISION = 2, 0x41, 3


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
            f"processor : {core}\nFeatures : {self.features}\nCPU implementer : {ARM:#x}\n"
            f"CPU architecture: 8\nCPU variant : 0x0\nCPU part : {self.part}\n"
            f"CPU revision : {REVISION}\n\n"
            for core in range(CORES)
        )

    @property
    def identification(self) -> str:
        """Its register MIDR_EL1, as Linux shows it below /sys/devices/system/cpu."""
        by_features = 0xF
        value = ARM << 24 | by_features << 16 | int(self.part, 16) << 4 | REVISION
        return f"0x{value:016x}\n"

    def lay_out(self, folder: Path) -> None:
        """Write what the system says of it: ``cpuinfo``, and ``cpu`` for /sys/devices/system."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cpuinfo").write_text(self.cpu_info, encoding="utf-8")
        for name in ("possible", "present", "online"):
            _write(folder / "cpu" / name, f"0-{CORES - 1}\n")
        for core in range(CORES):
            there = folder / f"cpu/cpu{core}"
            _write(there / "regs/identification/midr_el1", self.identification)
            for name, value in {
                "core_id": f"{core}",
                "physical_package_id": "0",
                "thread_siblings": f"{1 << core:x}",
                "thread_siblings_list": f"{core}",
                "core_siblings": f"{(1 << CORES) - 1:x}",
                "core_siblings_list": f"0-{CORES - 1}",
            }.items():
                _write(there / "topology" / name, f"{value}\n")


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


PROCESSORS = {
    "Raspberry Pi 4": Processor("cortex-a72", "0xd08", "fp asimd evtstrm crc32 cpuid"),
    "Raspberry Pi 5": Processor(
        "cortex-a76",
        "0xd0b",
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc "
        "dcpop asimddp",
    ),
}
# What a processor cannot have, and is refused there: board, format, precision. OpenVINO 2026.4 in
# int8 answers nothing on a Cortex-A72, under two versions of the emulator, and rightly on an A76.
REFUSED = {("Raspberry Pi 4", "openvino", "int8")}
PART = Path(__file__).with_name("parts") / "artefacts_in_root.py"


def build() -> Path:
    """The root folder; kept while its recipe is the same. Skips where it cannot be made."""
    debian.need_tools(**{"mmdebstrap": "mmdebstrap", EMULATOR: "qemu-user-static"})
    lock = shipped_lock().read_text("utf-8")
    folder, whole = debian.kept("arm64-root", "\n".join((*PACKAGES, lock, debian.SUITE)))
    root = folder / "root"
    if whole:
        return root
    debian.make_room("arm64-root")
    debian.bootstrap(root, PACKAGES, variant="extract", architecture="arm64")
    for name in ("bin", "sbin", "lib"):
        if not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")
    for name in ("sys/devices/system/cpu", "dev", "proc", "tmp", "root", "opt/source", "opt/given"):
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
mount --bind "$PROCESSOR/cpuinfo" "$ROOT/proc/cpuinfo"
mount --bind "$PROCESSOR/cpu" "$ROOT/sys/devices/system/cpu"
mount --bind "$SOURCE" "$ROOT/opt/source"; mount --bind "$GIVEN" "$ROOT/opt/given"
ip link set lo up
root=$ROOT; unset ROOT PROCESSOR SOURCE GIVEN
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
    processor = PROCESSORS[board]
    described = root.with_name(processor.qemu)
    processor.lay_out(described)
    return subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, "sh",
         f"/usr/bin/python{TARGET.python}", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        stdin=subprocess.DEVNULL,
        env={
            "ROOT": str(root),
            "PROCESSOR": str(described),
            "SOURCE": str(debian.REPOSITORY),
            "GIVEN": str(given),
            "PYTHONPATH": "/opt/site:/opt/source",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": str(CORES),
            "LANG": "C.UTF-8",
            "HOME": "/root",
            "PATH": os.defpath + ":/usr/sbin:/sbin",
            "QEMU_CPU": processor.qemu,
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
            *RUNTIMES, timeout_s=timeout_s, EDGEHEMO_KEYS="/opt/given/keys",
        )  # fmt: skip
    if done.returncode:
        pytest.fail(f"ended with {done.returncode} on ARM: {done.stderr[-1500:]}")
    record: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return record


def wrong(board: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of `answers` whose gate is not as it must be on that board."""
    return [
        row
        for row in rows
        if (row["gate"] == "pass") == ((board, row["format"], row["precision"]) in REFUSED)
    ]


def main() -> None:
    from edgehemo.bundle.signatures import own_key_folder

    for board in PROCESSORS:
        record = answers(Path(sys.argv[1]), own_key_folder(), board, timeout_s=3000)
        print(f"processor of a {board}, emulated ({record['machine']}), {record['trust']}")
        for row in record["artefacts"]:
            seen = row["problem"] or f"{row['difference']:.2e} (export {row['at_export']:.2e})"
            print(
                f"{row['model']:<16}{row['format']:<9}{row['precision']:<6}{row['runtime']:<24}"
                f"{seen} {row['gate']}"
            )


if __name__ == "__main__":
    main()
