"""A bare Debian with no network, and sticks for it: versions of this tree, one of them broken.

The root and the wheels are kept under the lab's cache folder: made once, they cost nothing.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgehemo.bundle.signatures import PRIVATE_SUFFIX, PrivateKey, new_key, read_private_key
from edgehemo.device.installed_bundles import pack
from edgehemo.errors import UsageError
from edgehemo_firmware.dependencies.targets import RUNTIME_PACKAGES, Target
from edgehemo_firmware.update.collecting import Collecting, collect, described, sign
from edgehemo_firmware.update.manifest import MANIFEST_NAME, SIGNATURE_NAME
from edgehemo_firmware.update.slots import BUNDLE_NAME
from tests.lab import debian
from tests.lab.arm64_root import Processor

TARGET = Target(platform.machine(), "3.13")
# A minimal Debian with Python; the rest comes by the stick.
ROOT_PACKAGES = ("python3", "libstdc++6")
# What `edgehemo device install` asks for and this root has not.
DEBS = ("python3-venv", "fonts-dejavu-core", "nftables", "udev")
INSTALL_TIMEOUT_S = 600
_ENVIRONMENT = ("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8")
# In a network of its own, which has nothing but an unconfigured loopback. $3: the folder with what
# the system says of an emulated processor, empty where this machine's own runs the programs.
_ENTER = """
set -e
mount --bind "$1" "$2/media" && mount -o remount,ro,bind "$2/media"
mount -t proc proc "$2/proc"
if [ -n "$3" ]; then
    mount --bind "$3/cpuinfo" "$2/proc/cpuinfo"
    mount -t tmpfs sys "$2/sys"; mkdir -p "$2/sys/devices/system/cpu"
    mount --bind "$3/cpu" "$2/sys/devices/system/cpu"
fi
root="$2"; shift 3
exec chroot "$root" /usr/bin/env -i "$@"
"""


def bare_root() -> Path:
    """The kept root; skips where it cannot be made."""
    debian.need_tools(mmdebstrap="mmdebstrap", unshare="util-linux")
    root, whole = debian.kept("bare-root", "\n".join((*ROOT_PACKAGES, debian.SUITE, "2")))
    if not whole:
        debian.bootstrap(root, ROOT_PACKAGES, variant="minbase")
        shutil.rmtree(root / "var/cache/apt", ignore_errors=True)
        shutil.rmtree(root / "var/lib/apt/lists", ignore_errors=True)
        debian.mark_whole(root)
    return root


@dataclass(frozen=True)
class OfflineDevice:
    """A copy of the bare root. processor: the emulated one that it is of; None: this machine's."""

    root: Path
    processor: Processor | None = None

    @classmethod
    def copied(
        cls, folder: Path, root: Path | None = None, processor: Processor | None = None
    ) -> OfflineDevice:
        """root: what is copied; None: the bare one of this machine's processor."""
        source = str(root or bare_root())
        subprocess.run(["cp", "-a", "--reflink=auto", source, str(folder)], check=True)
        return cls(folder, processor)

    def run(
        self, stick: Path, *command: str, timeout_s: float = INSTALL_TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there with a stick at /media and no network."""
        described, emulated = "", list[str]()
        if self.processor is not None:
            folder = self.root.with_name(f"{self.root.name}.{self.processor.qemu}")
            self.processor.lay_out(folder)
            described, emulated = str(folder), [f"QEMU_CPU={self.processor.qemu}"]
        return subprocess.run(
            ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", _ENTER, "sh",
             str(stick), str(self.root), described, *_ENVIRONMENT, *emulated, *command],
            capture_output=True, text=True, errors="replace", timeout=timeout_s,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def edgehemo(
        self, stick: Path, *arguments: str, timeout_s: float = INSTALL_TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        """Run the version in force there."""
        return self.run(stick, "/usr/local/bin/edgehemo", *arguments, timeout_s=timeout_s)

    def version(self, stick: Path) -> str:
        """What the version in force calls itself."""
        return self.edgehemo(stick, "--version").stdout.strip().rpartition(" ")[2]


@dataclass(frozen=True)
class Sticks:
    """Makes sticks. key: signs them. target: of the devices; without: runtimes left out."""

    folder: Path
    key: PrivateKey
    public: Path
    target: Target = TARGET
    # One runtime: three take longer to install, and nothing else.
    without: tuple[str, ...] = tuple(RUNTIME_PACKAGES)

    @classmethod
    def in_folder(cls, folder: Path, **of_devices: Any) -> Sticks:
        """Signed by the key that lies in the folder, else by a new one."""
        keys = folder / "keys"
        private = next(keys.glob(f"*{PRIVATE_SUFFIX}"), None) or new_key(keys, "laboratory")[0]
        return cls(folder, read_private_key(private), private.with_suffix(".pub"), **of_devices)

    def first(self, debs: Sequence[str] = DEBS) -> Path:
        """This tree's own version; skips where wheels cannot be had. debs: Debian's packages."""
        stick = self.folder / "first"
        wheels = debian.cache_folder() / f"wheels-{self.target}"
        wheels.mkdir(parents=True, exist_ok=True)
        wanted = Collecting(self.key, wheels=[wheels], debs=debs, bill=False, without=self.without)
        try:
            with _without_an_index():
                made = collect(stick, self.target, wanted)
        except UsageError:
            try:
                made = collect(stick, self.target, wanted)
            except UsageError as error:
                pytest.skip(f"media could not be made: {error}")
        for folder in ("wheels", "installer"):
            for wheel in (made / folder).iterdir():
                if not wheel.name.startswith("edgehemo-"):
                    with contextlib.suppress(FileExistsError):
                        os.link(wheel, wheels / wheel.name)
        shutil.copyfile(self.public, stick / self.public.name)
        return stick

    def renumbered(
        self,
        stick: Path,
        version: str,
        changes: Mapping[str, Callable[[str], str]] | None = None,
        bundle: Path | None = None,
    ) -> Path:
        """Another version of the same: the number, and what `changes` does to files of its wheel.

        bundle: a model bundle that it carries. The other files are the same on the disk.
        """
        (former,) = stick.glob("edgehemo-*")
        new = self.folder / version
        media = new / f"edgehemo-{version}-{self.target}"
        shutil.copytree(former, media, copy_function=os.link)
        (old_wheel,) = (media / "wheels").glob("edgehemo-*.whl")
        own = media / "wheels" / f"edgehemo-{version}-py3-none-any.whl"
        renumber(old_wheel, own, version, changes or {})
        old_wheel.unlink()
        for name in (MANIFEST_NAME, SIGNATURE_NAME):
            (media / name).unlink()
        if bundle is not None:
            pack(bundle, media / BUNDLE_NAME)
        sign(media, described(media, self.target, own), self.key)
        return new


@contextlib.contextmanager
def _without_an_index():  # type: ignore[no-untyped-def]
    before = os.environ.get("PIP_NO_INDEX")
    os.environ["PIP_NO_INDEX"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PIP_NO_INDEX"]


def renumber(
    wheel: Path, target: Path, version: str, changes: Mapping[str, Callable[[str], str]]
) -> None:
    """The wheel of another version: number and changed files, its RECORD made anew."""
    import base64
    import hashlib

    old = wheel.name.split("-")[1]
    record, lines = f"edgehemo-{version}.dist-info/RECORD", []
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(target, "w") as packed:
        for entry in source.infolist():
            content = source.read(entry)
            name = entry.filename.replace(
                f"edgehemo-{old}.dist-info", f"edgehemo-{version}.dist-info"
            )
            if name == record:
                continue
            if name == "edgehemo/version.py" or name.endswith(".dist-info/METADATA"):
                content = content.replace(old.encode(), version.encode(), 1)
            if name in changes:
                changed = changes[name](content.decode())
                assert changed != content.decode(), f"{name} was not changed"
                content = changed.encode()
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            lines.append(f"{name},sha256={digest.decode()},{len(content)}\n")
            packed.writestr(name, content)
        packed.writestr(record, "".join(lines) + f"{record},,\n")
