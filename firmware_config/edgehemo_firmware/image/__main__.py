"""``python -m edgehemo_firmware.image FOLDER PART...``: a root and a disk of it (root only)."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgehemo.errors import EXIT_DONE
from edgehemo_firmware.dependencies.running import run_as_tool
from edgehemo_firmware.image.disk import NEEDED, make_disk, need
from edgehemo_firmware.image.recipe import ARCHITECTURES, SUITE, Recipe, make_root, size_mb

PARTS = ("debian_pc", "touch_7_800x480")
DATA_MB = 4096


def main() -> int:
    """Make them; the exit code."""
    parser = argparse.ArgumentParser(prog="make image", description=__doc__)
    parser.add_argument("folder", type=Path, help="gets root/ and edgehemo.img")
    parser.add_argument("parts", nargs="*", default=PARTS, help=f"default: {' '.join(PARTS)}")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--architecture", choices=ARCHITECTURES, default=ARCHITECTURES[0])
    parser.add_argument("--suite", default=SUITE)
    parser.add_argument("--wheel", type=Path, help="of edgehemo; default: made of this source")
    parser.add_argument("--data-mb", type=int, default=DATA_MB, help="of the data partition")
    parser.add_argument("--no-screen", action="store_true", help="no browser on its own screen")
    parser.add_argument("--root-only", action="store_true", help="no disk")
    asked = parser.parse_args()
    if not asked.root_only:
        need(*NEEDED)
    recipe = Recipe(
        tuple(asked.parts),
        tuple(asked.settings),
        architecture=asked.architecture,
        suite=asked.suite,
        kernel=not asked.root_only,
        screen=not asked.no_screen,
        wheel=asked.wheel,
    )
    root, image = asked.folder / "root", asked.folder / "edgehemo.img"
    make_root(recipe, root, print)
    print(f"{root}: {size_mb(root):.0f} MB")
    if not asked.root_only:
        make_disk(root, image, architecture=recipe.architecture, data_mb=asked.data_mb)
        print(f"{image}: write it with dd, or start it: see firmware_config/README.md")
    return EXIT_DONE


if __name__ == "__main__":
    run_as_tool(main)
