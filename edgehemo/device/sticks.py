"""USB sticks that are plugged in and mounted: where backups and exports may go.

A stick is a mounted volume of a disk that can be pulled out: the kernel calls it removable, or it
hangs on USB. A disk that the system or the records lie on is none. The stick that the device
configuration names (``backup_label``) comes first. On a workstation ``[kiosk] stick`` names a
folder in the place of all of them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.errors import RecordsFullError, StickFullError, StickMissingError

# With less free than this a stick counts as full.
ROOM_LEFT_BYTES = 4_000_000
# The kernel's escapes in mountinfo, and udev's in the names of labels.
_OCTAL = re.compile(r"\\([0-7]{3})")
_HEX = re.compile(r"\\x([0-9a-fA-F]{2})")


@dataclass(frozen=True, slots=True)
class Stick:
    """One of them. path: where it is mounted. label: of its file system, for people. free_bytes:
    what a user may still write. writable: whether a file could be made on it just now.
    """

    path: Path
    label: str
    free_bytes: int
    writable: bool


@dataclass(frozen=True, slots=True)
class _Mount:
    """A line of mountinfo. device: major:minor. source: the node it was mounted from."""

    device: str
    root: str
    path: Path
    options: frozenset[str]
    source: str


def sticks(
    device: DeviceConfiguration,
    *,
    mountinfo: Path = Path("/proc/self/mountinfo"),
    sys: Path = Path("/sys"),
    dev: Path = Path("/dev"),
) -> list[Stick]:
    """The sticks of a device, the one with its label first; of one volume one entry.

    A stick that was pulled out without being unmounted is not among them. mountinfo, sys, dev:
    where the kernel tells of mounts and disks, and udev of labels.
    """
    if device.kiosk.stick is not None:
        path = Path(os.path.expandvars(device.kiosk.stick)).expanduser()
        own = _stick(path, path.name or str(path))
        return [] if own is None else [own]
    labels = _labels(dev)
    mounts = _mounts(mountinfo)
    of_system = _system_disks(device.data_dir, mounts, sys)
    found: dict[str, Stick] = {}
    for mount in mounts:
        disk = _disk(mount.device, sys)
        if mount.device in found or disk is None or mount.root != "/":
            continue
        if disk in of_system or not _can_be_pulled(disk):
            continue
        label = labels.get(os.path.realpath(mount.source), mount.path.name)
        stick = _stick(mount.path, label, read_only="ro" in mount.options)
        if stick is not None:
            found[mount.device] = stick
    own_label = device.records.backup_label
    return sorted(found.values(), key=lambda each: (each.label != own_label, str(each.path)))


def stick_to_write(device: DeviceConfiguration) -> Stick:
    """The stick that something may be written to. StickMissingError where there is none."""
    for each in sticks(device):
        if each.writable:
            return each
    raise StickMissingError("no USB stick that can be written is plugged in")


@contextlib.contextmanager
def writing_to(stick: Stick) -> Iterator[None]:
    """What goes wrong with the stick meanwhile, as a fault of the stick.

    StickFullError where there is no room left on it; StickMissingError where it was pulled out or
    takes nothing any more. All else passes.
    """
    try:
        yield
    except RecordsFullError as error:
        # SQLite does not say on which disk there is no room.
        if _room(stick) < ROOM_LEFT_BYTES:
            raise _full(stick) from error
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(stick) from error
        if not (stick.path.is_dir() and _takes_a_file(stick.path)):
            raise StickMissingError("the USB stick was pulled out, or takes no more") from error
        raise


def _full(stick: Stick) -> StickFullError:
    return StickFullError(f"there is no room left on the USB stick {stick.label}")


def _room(stick: Stick) -> int:
    try:
        return shutil.disk_usage(stick.path).free
    except OSError:
        return 0


def _stick(path: Path, label: str, *, read_only: bool = False) -> Stick | None:
    """What is so of a mounted volume; None where it does not answer any more."""
    try:
        free = shutil.disk_usage(path).free
    except OSError:
        return None
    if not path.is_dir():
        return None
    return Stick(path, label, free, not read_only and _takes_a_file(path))


def _takes_a_file(path: Path) -> bool:
    """Whether a file can be made there. Its modes alone do not say: a stick's switch may be shut,
    or its file system have failed. One that is full would take one: there is only no room for it.
    """
    try:
        with tempfile.TemporaryFile(prefix=".edgehemo-", dir=path) as file:
            file.write(b"edgehemo")
    except OSError as error:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return True


def _mounts(mountinfo: Path) -> list[_Mount]:
    """The mounts in their order; a line that is none of the kernel's is passed over."""
    found = []
    try:
        text = mountinfo.read_text("utf-8", "surrogateescape")
    except OSError:
        # A workstation without Linux has its sticks elsewhere: [kiosk] stick names a folder.
        return []
    for line in text.split("\n"):
        before, dash, after = line.partition(" - ")
        first, last = before.split(" "), after.split(" ")
        if not dash or len(first) < 6 or len(last) < 2:
            continue
        options = {*first[5].split(","), *(last[2].split(",") if len(last) > 2 else ())}
        path, source = Path(_unescaped(first[4])), _unescaped(last[1])
        found.append(_Mount(first[2], _unescaped(first[3]), path, frozenset(options), source))
    return found


def _disk(number: str, sys: Path) -> Path | None:
    """The whole disk of a volume, as the kernel's folder of it; None where no disk is behind it."""
    place = sys / "dev" / "block" / number
    if not place.exists():
        return None
    place = place.resolve()
    return place.parent if (place / "partition").exists() else place


def _can_be_pulled(disk: Path) -> bool:
    """Whether a person can pull it out. Card readers and sticks are removable to the kernel, hard
    disks on USB are not.
    """
    try:
        if (disk / "removable").read_text("ascii").strip() == "1":
            return True
    except OSError:
        pass
    return any(re.fullmatch(r"usb\d+", part) for part in disk.parts)


def _system_disks(data: Path, mounts: list[_Mount], sys: Path) -> frozenset[Path]:
    """The disks that the system starts from and that the device's data lie on."""
    there = next(path for path in (data, *data.parents) if path.exists()).resolve()
    holding = [mount for mount in mounts if mount.path in (there, *there.parents)]
    own = {max(holding, key=lambda each: len(each.path.parts)).path} if holding else set()
    for name in ("/", "/usr", "/boot", "/boot/firmware", "/boot/efi"):
        own.add(Path(name))
    disks = (_disk(mount.device, sys) for mount in mounts if mount.path in own)
    return frozenset(disk for disk in disks if disk is not None)


def _labels(dev: Path) -> Mapping[str, str]:
    """Node of a volume -> what its file system is called, as udev says."""
    return {os.path.realpath(link): _label(link.name) for link in _links(dev / "disk" / "by-label")}


def _links(folder: Path) -> Iterator[Path]:
    try:
        yield from sorted(folder.iterdir())
    except OSError:
        return


def _unescaped(text: str) -> str:
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), text)


def _label(name: str) -> str:
    data = _HEX.sub(lambda found: chr(int(found[1], 16)), name)
    try:
        # udev escapes the bytes of a label, whatever letters they make.
        return data.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return data
