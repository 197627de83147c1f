"""A 64-bit ARM Debian with the device's wheels, run program by program under user emulation.

    python -m tests.lab.arm64_root BUNDLE      # what a bundle's artefacts answer there

Function and parity only: emulated times say nothing about any board. OpenVINO hangs under this kind
of emulation; the full guest (see `tests.lab.guest`) runs it.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab import debian

PACKAGES = ("python3", "libpython3-stdlib", "libstdc++6", "ca-certificates", "zlib1g")
# What a device installs, of the versions that this machine exports with.
WHEELS = (
    "numpy",
    "opencv-python-headless",
    "click",
    "typing-extensions",
    "msgspec",
    "platformdirs",
    "pynacl",
    "cffi",
    "pycparser",
    "onnxruntime",
    "flatbuffers",
    "protobuf",
    "packaging",
    "ai-edge-litert",
    "backports.strenum",
    "tqdm",
)
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
PACKAGE = Path(__file__).parents[2] / "edgehemo"
PART = Path(__file__).with_name("parts") / "artefacts_in_root.py"


def build() -> Path:
    """The root folder; kept while its recipe is the same. Skips where it cannot be made."""
    debian.need_tools(**{"mmdebstrap": "mmdebstrap", EMULATOR: "qemu-user-static"})
    wheels = [f"{name}=={importlib.metadata.version(name)}" for name in WHEELS]
    folder, whole = debian.kept("arm64-root", "\n".join((*PACKAGES, *wheels, debian.SUITE)))
    root = folder / "root"
    if whole:
        return root
    shutil.rmtree(folder, ignore_errors=True)
    debian.bootstrap(root, PACKAGES, variant="extract", architecture="arm64")
    for name in ("bin", "sbin", "lib"):
        if not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")
    emulator = shutil.which(EMULATOR)
    assert emulator is not None, "asked for above"
    shutil.copy(emulator, root / "usr/bin" / EMULATOR)
    cores = f"0-{CORES - 1}\n"
    files = {
        "sys/devices/system/cpu/possible": cores,
        "sys/devices/system/cpu/present": cores,
        "sys/devices/system/cpu/online": cores,
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    for name in ("dev", "proc", "tmp", "root", "opt"):
        (root / name).mkdir(exist_ok=True)
    for name, minor in (("null", 3), ("zero", 5), ("urandom", 9)):
        if not (root / "dev" / name).exists():
            os.mknod(root / "dev" / name, 0o666 | 0o020000, os.makedev(1, minor))
    debian.arm64_wheels(root / "opt/site", *wheels)
    debian.mark_whole(folder)
    return root


def answers(bundle: Path, keys: Path, board: str, *, timeout_s: float) -> dict[str, Any]:
    """What `parts/artefacts_in_root.py` says there about a bundle.

    keys: folder with those of whom is trusted. board: one of `PROCESSORS`.
    """
    root = build()
    processor = PROCESSORS[board]
    (root / "proc/cpuinfo").write_text(processor.cpu_info, encoding="utf-8")
    source = root / "opt/source"
    shutil.rmtree(source, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__", "shipped", "*.key")
    shutil.copytree(PACKAGE, source / "edgehemo", ignore=ignored)
    shutil.copytree(bundle, source / "bundle")
    shutil.copytree(keys, source / "keys", ignore=ignored)
    shutil.copyfile(PART, source / PART.name)
    chroot = shutil.which("chroot")
    assert chroot is not None, "is where the packages were installed from"
    command = [chroot, str(root), f"/usr/bin/{EMULATOR}", "/usr/bin/python3.13"]
    done = subprocess.run(
        [*command, f"/opt/source/{PART.name}", "/opt/source/bundle"],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        stdin=subprocess.DEVNULL,
        env={
            "PYTHONPATH": "/opt/site:/opt/source",
            "PYTHONDONTWRITEBYTECODE": "1",
            "EDGEHEMO_KEYS": "/opt/source/keys",
            "HOME": "/root",
            "PATH": "/usr/bin",
            "QEMU_CPU": processor.qemu,
        },
    )
    shutil.rmtree(source, ignore_errors=True)
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
