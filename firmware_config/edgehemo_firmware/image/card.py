"""The data partition of an image that another tool made, such as rpi-image-gen for a Raspberry Pi.

``python -m edgehemo_firmware.image.card data ROOT FILE`` makes its file system of what was
installed into a root; ``... append IMAGE FILE`` lays it behind the image's last partition.
"""

from __future__ import annotations

import argparse
import re
import subprocess
from pathlib import Path

from edgehemo.errors import EXIT_DONE, DeviceError
from edgehemo_firmware.dependencies.running import run_as_tool
from edgehemo_firmware.image.disk import MIB, SECTOR_BYTES, data_file, need, run

DATA_MB = 4096
# Behind the last partition a GPT keeps its second table.
SPARE_MIB = 2


def append(image: Path, data: Path) -> None:
    """Add the file system as a further partition; the image grows by it. MissingDependencyError,
    and DeviceError where the image has no partition table.
    """
    need("sfdisk")
    start_mib = -(-_end_of_partitions(image) * SECTOR_BYTES // MIB)
    size_mib = -(-data.stat().st_size // MIB)
    with image.open("r+b") as file:
        file.truncate(max(image.stat().st_size, (start_mib + size_mib + SPARE_MIB) * MIB))
    row = f"start={start_mib * MIB // SECTOR_BYTES}, size={size_mib * MIB // SECTOR_BYTES}\n"
    # A GPT's second table moves to the new end first.
    run("sfdisk", "--quiet", "--relocate", "gpt-bak-std", str(image), allow=True)
    run("sfdisk", "--quiet", "--append", str(image), given=row)
    command = ["dd", f"if={data}", f"of={image}", "bs=1M", f"seek={start_mib}"]
    run(*command, "conv=notrunc,sparse", "status=none")


def _end_of_partitions(image: Path) -> int:
    """The first sector behind the last partition."""
    told = subprocess.run(["sfdisk", "--dump", str(image)], capture_output=True, text=True)
    found = re.findall(r"start=\s*(\d+), size=\s*(\d+)", told.stdout)
    if told.returncode or not found:
        raise DeviceError(f"{image}: has no partitions; name the image that rpi-image-gen made")
    return max(int(start) + int(size) for start, size in found)


def main() -> int:
    """Make or append; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    does = parser.add_subparsers(dest="does", required=True)
    make = does.add_parser("data", help="make the file system of an installed root's data")
    make.add_argument("root", type=Path)
    make.add_argument("file", type=Path)
    make.add_argument("--mb", type=int, default=DATA_MB)
    lay = does.add_parser("append", help="lay it behind an image's last partition")
    lay.add_argument("image", type=Path)
    lay.add_argument("file", type=Path)
    asked = parser.parse_args()
    if asked.does == "data":
        need("mke2fs")
        data_file(asked.root, asked.file, asked.mb)
    else:
        append(asked.image, asked.file)
    return EXIT_DONE


if __name__ == "__main__":
    run_as_tool(main)
