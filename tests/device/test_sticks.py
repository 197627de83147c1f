"""USB sticks: which mounted volumes are some, what they are called, and what can be written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.device.sticks import Stick, sticks


def _device(data: Path, *more: str) -> DeviceConfiguration:
    lines = [
        'schema = "edgehemo.device/1"', 'name = "test"', 'board = "workstation"',
        "[paths]", f'data = "{data}"', *more,
    ]  # fmt: skip
    return DeviceConfiguration.parse("\n".join(lines), "test")


class Machine:
    """Folders as the kernel and udev lay them out, with the disks that a test plugs in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[str] = []
        for name in ("sys/dev/block", "dev/disk/by-label", "media", "data"):
            (folder / name).mkdir(parents=True)

    def disk(
        self, name: str, number: str, *, removable: bool, bus: str = "pci0000:00/ata1"
    ) -> None:
        """A disk with one partition."""
        place = self.folder / "sys/devices" / bus / "block" / name
        partition = place / f"{name}1"
        partition.mkdir(parents=True)
        (place / "removable").write_text(f"{int(removable)}\n")
        (partition / "partition").write_text("1\n")
        (self.folder / "sys/dev/block" / number).symlink_to(partition)
        (self.folder / "dev" / f"{name}1").touch()

    def mounted(
        self, name: str, number: str, at: Path, *, options: str = "rw", root: str = "/"
    ) -> Path:
        at.mkdir(parents=True, exist_ok=True)
        place = str(at).replace(" ", "\\040")
        source = self.folder / "dev" / f"{name}1"
        self.lines.append(f"40 27 {number} {root} {place} {options} shared:1 - vfat {source} rw")
        return at

    def labelled(self, name: str, label: str) -> None:
        (self.folder / "dev/disk/by-label" / label).symlink_to(f"../../{name}1")

    def sticks(self, device: DeviceConfiguration) -> list[Stick]:
        mountinfo = self.folder / "mountinfo"
        mountinfo.write_text("\n".join(["29 1 0:24 / /dev/pts rw - devpts devpts rw", *self.lines]))
        return sticks(
            device,
            mountinfo=mountinfo,
            sys=self.folder / "sys",
            dev=self.folder / "dev",
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_stick_is_a_mounted_volume_that_can_be_pulled_out(machine: Machine) -> None:
    device = _device(machine.folder / "data")
    assert machine.sticks(device) == []
    machine.disk("sdb", "8:17", removable=True)
    assert machine.sticks(device) == [], "it is plugged in and not mounted"
    place = machine.mounted("sdb", "8:17", machine.folder / "media" / "my stick")
    (found,) = machine.sticks(device)
    assert (found.path, found.label, found.writable) == (place, "my stick", True)
    assert found.free_bytes == os.statvfs(place).f_bavail * os.statvfs(place).f_frsize
    assert list(place.iterdir()) == [], "trying it leaves nothing on it"
    # The same volume elsewhere is no other stick; nor is a part of it.
    machine.mounted("sdb", "8:17", machine.folder / "elsewhere")
    assert len(machine.sticks(device)) == 1


def test_a_hard_disk_counts_on_usb_only(machine: Machine) -> None:
    device = _device(machine.folder / "data")
    machine.disk("sda", "8:1", removable=False)
    machine.mounted("sda", "8:1", machine.folder / "media" / "inside")
    machine.disk("sdc", "8:33", removable=False, bus="pci0000:00/usb2/2-1")
    machine.mounted("sdc", "8:33", machine.folder / "media" / "outside")
    assert [each.label for each in machine.sticks(device)] == ["outside"]


def test_what_the_system_or_the_records_lie_on_is_no_stick(machine: Machine) -> None:
    device = _device(machine.folder / "data" / "not made yet")
    # A card or stick that the device starts from, with another volume of it mounted.
    machine.disk("sda", "8:1", removable=True)
    machine.lines.append("27 1 8:1 / / rw - ext4 /dev/sda1 rw")
    second = machine.folder / "sys/devices/pci0000:00/ata1/block/sda/sda2"
    second.mkdir()
    (second / "partition").write_text("2\n")
    (machine.folder / "sys/dev/block/8:2").symlink_to(second)
    machine.mounted("sda", "8:2", machine.folder / "media" / "rest")
    machine.disk("sdb", "8:17", removable=True)
    machine.mounted("sdb", "8:17", machine.folder / "data")
    assert machine.sticks(device) == []


def test_the_stick_of_this_device_comes_first(machine: Machine) -> None:
    device = _device(machine.folder / "data", "[records]", 'backup_label = "HAEMO"')
    for letter, number, label in (("b", "8:17", "A\\x20b\\xc3\\xa9"), ("c", "8:33", "HAEMO")):
        machine.disk(f"sd{letter}", number, removable=True)
        machine.mounted(f"sd{letter}", number, machine.folder / "media" / letter)
        machine.labelled(f"sd{letter}", label)
    assert [each.label for each in machine.sticks(device)] == ["HAEMO", "A bé"]


def test_a_stick_that_cannot_be_written_says_so(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = _device(machine.folder / "data")
    machine.disk("sdb", "8:17", removable=True)
    machine.mounted("sdb", "8:17", machine.folder / "media" / "locked", options="ro,nosuid")
    assert [each.writable for each in machine.sticks(device)] == [False]
    machine.lines.clear()
    machine.mounted("sdb", "8:17", machine.folder / "media" / "failed")

    def refused(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    assert [each.writable for each in machine.sticks(device)] == [False]


def test_a_stick_that_was_pulled_out_is_gone(machine: Machine) -> None:
    device = _device(machine.folder / "data")
    machine.disk("sdb", "8:17", removable=True)
    machine.mounted("sdb", "8:17", machine.folder / "media" / "gone").rmdir()
    assert machine.sticks(device) == []


def test_a_workstation_names_a_folder(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STICKS", str(machine.folder / "media"))
    device = _device(machine.folder / "data", "[kiosk]", 'stick = "$STICKS/mine"')
    machine.disk("sdb", "8:17", removable=True)
    machine.mounted("sdb", "8:17", machine.folder / "media" / "other")
    assert machine.sticks(device) == []
    place = machine.folder / "media" / "mine"
    place.mkdir()
    (found,) = machine.sticks(device)
    assert (found.path, found.label, found.writable) == (place, "mine", True)


def test_without_the_kernels_word_there_is_none(tmp_path: Path) -> None:
    assert sticks(_device(tmp_path), mountinfo=tmp_path / "none") == []
    (tmp_path / "mountinfo").write_text("no mount\n40 27 8:17 - vfat\n\n - \n")
    assert sticks(_device(tmp_path), mountinfo=tmp_path / "mountinfo") == []


def test_this_machine_is_read_as_it_is(tmp_path: Path) -> None:
    root = Path("/")
    assert root not in [each.path for each in sticks(_device(tmp_path))]
