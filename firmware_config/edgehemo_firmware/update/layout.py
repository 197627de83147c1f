"""Where versions lie on a device, and how programs are run there.

``/data/edgehemo/versions/a`` and ``b`` hold a virtual environment each. Two links lead to them:
``current`` to what runs, ``good`` to what was proved last, which judges the other.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from edgehemo.device.version_state import SLOTS, Slot
from edgehemo.errors import UpdateError
from edgehemo.files.atomic import flush_folder
from edgehemo.records.folder import RecordsFolder
from edgehemo_firmware.dependencies.targets import target_of

DATA = Path("data/edgehemo")
VERSIONS, CURRENT, GOOD = "versions", "current", "good"
SYSTEM_PYTHON = "/usr/bin/python3"


@dataclass(frozen=True, slots=True)
class Place:
    """A machine's file system. root: ``/``, or the folder of a mounted image.

    entered: programs run inside the root (chroot), so that what they write holds there; without
    it they run as they are, in a folder that a test made. python: what environments are made with.
    """

    root: Path = Path("/")
    entered: bool = True
    python: str = SYSTEM_PYTHON

    @property
    def data(self) -> Path:
        return self.root / DATA

    @property
    def current(self) -> Path:
        """The link to the version that runs."""
        return self.data / CURRENT

    @property
    def good(self) -> Path:
        """The link to the version that was proved last."""
        return self.data / GOOD

    @property
    def records(self) -> RecordsFolder:
        return RecordsFolder.below(self.data)

    def slot(self, slot: Slot) -> Path:
        """The folder of a slot."""
        return self.data / VERSIONS / slot

    def inside(self, path: Path) -> str:
        """A path as programs that run there name it."""
        if not self.is_image:
            return str(path)
        return f"/{path.relative_to(self.root)}"

    def command(self, *arguments: str) -> list[str]:
        """A command line that runs a program there."""
        return ["chroot", str(self.root), *arguments] if self.is_image else list(arguments)

    @property
    def is_image(self) -> bool:
        """Whether programs run inside another root."""
        return self.entered and self.root != Path("/")


def pointed_slot(link: Path) -> Slot | None:
    """The slot that a link leads to; None where there is no such link."""
    try:
        target = link.readlink()
    except OSError:
        return None
    for slot in SLOTS:
        if target == Path(VERSIONS, slot):
            return slot
    return None


def point(link: Path, slot: Slot) -> None:
    """Have a link lead to a slot, in one step. UpdateError where something else stands there."""
    if link.exists() and not link.is_symlink():
        raise UpdateError(f"{link}: is no link; move it away and install again")
    beside = link.with_name(f".{link.name}.new")
    beside.unlink(missing_ok=True)
    # Relative: it holds in a mounted image too.
    beside.symlink_to(Path(VERSIONS, slot))
    beside.replace(link)
    flush_folder(link.parent)


def other(slot: Slot | None) -> Slot:
    """The slot that is not this one; the first where there is none."""
    return "b" if slot == "a" else "a"


def target_there(place: Place) -> str:
    """The target that a machine and its Python are. UpdateError where they are none."""
    code = (
        "import platform, sys; v = sys.version_info; print(f'{platform.machine()}-{v[0]}.{v[1]}')"
    )
    command = place.command(place.python, "-I", "-c", code)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise UpdateError(f"{place.python}: cannot be run below {place.root} ({error})") from None
    return str(target_of(done.stdout.strip()))


# Of the caller's environment: where the device's own settings and keys are; and which processor
# QEMU plays where a root of another architecture is installed into.
_KEPT = ("EDGEHEMO_DEVICE", "EDGEHEMO_KEYS", "LANG", "TZ", "QEMU_CPU")
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def clean_environment() -> dict[str, str]:
    """What a version's programs are run with, whoever runs them; without a home."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {"PATH": _PATH, **kept}


class AsOwner(TypedDict, total=False):
    """How a process is started as another user; empty where it is not."""

    user: int
    group: int
    extra_groups: list[int]


def as_owner(folder: Path) -> AsOwner:
    """As whom a process touches what lies in a folder: its owner, where root would leave files
    behind that he cannot open.
    """
    if os.geteuid() != 0 or not folder.exists():
        return {}
    status = folder.stat()
    if status.st_uid == 0:
        return {}
    return {"user": status.st_uid, "group": status.st_gid, "extra_groups": []}
