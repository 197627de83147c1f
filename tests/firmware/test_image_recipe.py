"""The recipe of a device's root, and the disk that is made of one: from small made-up roots."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edgehemo.errors import DeviceError, UsageError
from edgehemo_firmware import layout
from edgehemo_firmware.image import card, disk
from edgehemo_firmware.image.disk import NEEDED, STARTERS, make_disk
from edgehemo_firmware.image.recipe import (
    ROOT_LABEL,
    Recipe,
    bootstrap_command,
    make_root,
    mounted_below,
    remove_root,
    size_mb,
)


def test_the_command_names_every_package_and_keeps_licences() -> None:
    recipe = Recipe(("debian_pc",), architecture="arm64", extra=("libfaketime",))
    command = bootstrap_command(recipe, Path("/somewhere"))
    (include,) = (word for word in command if word.startswith("--include="))
    names = include.removeprefix("--include=").split(",")
    assert {"systemd-sysv", "linux-image-arm64", "libfaketime"} < set(names)
    assert "--dpkgopt=path-include=/usr/share/doc/*/copyright" in command
    assert "--architectures=arm64" in command and command[-2:] == ["trixie", "/somewhere"]
    without = Recipe(("debian_pc",), kernel=False)
    assert not any("linux-image" in word for word in bootstrap_command(without, Path("/x")))


def test_what_cannot_be_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="amd64 or arm64"):
        Recipe(("debian_pc",), architecture="armhf")
    with pytest.raises(UsageError, match="is there already"):
        make_root(Recipe(("debian_pc",)), tmp_path, print)


def test_the_size_counts_a_file_of_two_names_once(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"\1" * 2_000_000)
    once = size_mb(tmp_path)
    (tmp_path / "two").hardlink_to(tmp_path / "one")
    assert size_mb(tmp_path) == once == pytest.approx(2.0, abs=0.1)


def test_what_is_mounted_in_a_root_that_was_cut_off_is_not_removed_with_it(tmp_path: Path) -> None:
    """Whoever makes it mounts folders of this machine there."""
    of_this_machine, part = tmp_path / "shared", tmp_path / "ro ot.part"
    inner = part / "dev/shm"
    for folder in (of_this_machine, inner):
        folder.mkdir(parents=True)
    (of_this_machine / "in use").write_text("kept")
    mounted = subprocess.run(
        ["mount", "--bind", str(of_this_machine), str(inner)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.strip()}")
    try:
        assert mounted_below(part) == [inner]
        remove_root(part)
    finally:
        subprocess.run(["umount", str(inner)], capture_output=True)
    assert not part.exists() and (of_this_machine / "in use").read_text() == "kept"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What matters of a root to a disk."""
    made = tmp_path / "root"
    source, _ = STARTERS["amd64"]
    for name in ("boot/vmlinuz-6.12", "boot/initrd.img-6.12", f"{disk.STARTER_FOLDER}/{source}",
                 "etc/hostname", "data/edgehemo/settings/device.toml"):  # fmt: skip
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(name)
    return made


def test_a_disk_has_its_three_partitions(root: Path, tmp_path: Path) -> None:
    if any(shutil.which(name) is None for name in NEEDED):
        pytest.skip(f"needs {', '.join(NEEDED)}: apt-get install {' '.join(NEEDED.values())}")
    image = tmp_path / "edgehemo.img"
    make_disk(root, image, architecture="amd64", data_mb=16)
    told = subprocess.run(
        ["sfdisk", "--dump", str(image)], capture_output=True, text=True, check=True
    ).stdout
    rows = [line for line in told.splitlines() if "start=" in line]
    starts = [int(row.split("start=")[1].split(",")[0]) for row in rows]
    assert [row.split('name="')[1].rstrip('"') for row in rows] == ["start", "system", "data"]
    labels = [label_at(image, start) for start in starts[1:]]
    assert labels == [ROOT_LABEL, layout.DATA_LABEL]
    assert (root / "data/edgehemo/settings/device.toml").is_file(), "the root is as it was"
    listed = subprocess.run(
        ["mdir", "-b", "-i", f"{image}@@{starts[0] * 512}", "::EFI/BOOT"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "BOOTX64.EFI" in listed


def label_at(image: Path, sector: int) -> str:
    """Volume label of an ext4 file system: 16 bytes at 0x78 of its superblock."""
    with image.open("rb") as file:
        file.seek(sector * 512 + 1024 + 0x78)
        return file.read(16).rstrip(b"\0").decode()


def test_a_root_without_a_kernel_makes_no_disk(root: Path, tmp_path: Path) -> None:
    (root / "boot/vmlinuz-6.12").unlink()
    if shutil.which("mke2fs") is None or shutil.which("mcopy") is None:
        pytest.skip("needs e2fsprogs, mtools")
    with pytest.raises(DeviceError, match="has no kernel"):
        make_disk(root, tmp_path / "edgehemo.img", architecture="amd64", data_mb=16)
    assert not (tmp_path / "edgehemo.img").exists()


@pytest.mark.parametrize("label", ["dos", "gpt"])
def test_the_data_partition_is_laid_behind_those_of_another_image(
    label: str, root: Path, tmp_path: Path
) -> None:
    if any(shutil.which(name) is None for name in ("mke2fs", "sfdisk")):
        pytest.skip("needs e2fsprogs, fdisk")
    image, data = tmp_path / "pi.img", tmp_path / "data.ext4"
    image.write_bytes(bytes(40 << 20))
    table = f"label: {label}\nstart=2048, size=16384\nstart=18432, size=32768\n"
    subprocess.run(["sfdisk", "-q", str(image)], input=table, text=True, check=True)
    disk.data_file(root, data, 16)
    card.append(image, data)
    told = subprocess.run(
        ["sfdisk", "--dump", str(image)], capture_output=True, text=True, check=True
    ).stdout
    rows = [line for line in told.splitlines() if "start=" in line]
    assert len(rows) == 3
    start = int(rows[2].split("start=")[1].split(",")[0])
    assert start >= 18432 + 32768 and label_at(image, start) == layout.DATA_LABEL


def test_an_image_without_partitions_is_refused(tmp_path: Path) -> None:
    if shutil.which("sfdisk") is None:
        pytest.skip("needs fdisk")
    (tmp_path / "no.img").write_bytes(bytes(1 << 20))
    (tmp_path / "data").write_bytes(b"")
    with pytest.raises(DeviceError, match="has no partitions"):
        card.append(tmp_path / "no.img", tmp_path / "data")
