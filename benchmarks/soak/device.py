"""What may happen to an installed kiosk, all of it: ``python -m soak.device --out FILE`` (root).

A kiosk in a container, booted by systemd from a read-only root with its data on a partition of its
own. Each scene must leave it in service, with every signed result where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from edgehemo.files.atomic import write_json_atomically
from edgehemo.version import __version__
from edgehemo_firmware import layout
from edgehemo_firmware.image.recipe import size_mb
from tests.lab import container_scenes
from tests.lab.container_scenes import SCENES, SHORT_WATCHDOG, Device
from tests.lab.kiosk_container import KioskContainer, kiosk_container

NEEDED = ("mmdebstrap", "systemd-nspawn", "mke2fs", "nsenter")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=20, help="plugs pulled in a screening")
    parser.add_argument("--only", default="", help="scenes whose name holds this")
    parser.add_argument(
        "--out",
        type=Path,
        help="the figures as a JSON file; with --only, of other scenes they stay",
    )
    asked = parser.parse_args()
    if os.geteuid() != 0 or any(shutil.which(name) is None for name in NEEDED):
        print(f"left out: needs root and {', '.join(NEEDED)}; apt-get install mmdebstrap "
              "systemd-container e2fsprogs")  # fmt: skip
        return 0
    figures: dict[str, Any] = {}
    with (
        tempfile.TemporaryDirectory(prefix="edgehemo-device-") as folder,
        kiosk_container(Path(folder) / "disk", SHORT_WATCHDOG) as container,
    ):
        device = Device(container)
        figures["boot to ready"] = {"boot_s": round(container.boot(), 1)}
        for name, scene in SCENES.items():
            if asked.only not in name:
                continue
            begun = time.monotonic()
            times = {"times": asked.cuts} if scene is container_scenes.power_cuts else {}
            figures[name] = dict(scene(device, **times))
            figures[name]["seconds"] = round(time.monotonic() - begun, 1)
            print(f"{name}: {figures[name]}", flush=True)
        container.off()
        device.check_records()
        figures["size"] = sizes(container)
    figures["signed results"] = {"signed": len(device.signed), "lost": 0}
    if asked.out is not None:
        if asked.only and asked.out.is_file():
            figures = with_others(json.loads(asked.out.read_text("utf-8"))["scenes"], figures)
        made_on = {
            "version": __version__,
            "what": "container on the x86-64 machine of the tests; times are of no board",
            "processors": os.cpu_count(),
            "kernel": platform.release(),
        }
        write_json_atomically(asked.out, {"made_on": made_on, "scenes": figures})
    print(f"{len(device.signed)} results signed, none lost")
    return 0


def with_others(former: dict[str, Any], figures: dict[str, Any]) -> dict[str, Any]:
    """The figures of scenes, in their order, where only some were gone through now."""
    both = former | figures
    signed = former["signed results"]["signed"] + figures["signed results"]["signed"]
    both["signed results"] = {"signed": signed, "lost": 0}
    order = ("boot to ready", *SCENES, "size", "signed results")
    return {name: both[name] for name in order if name in both}


def sizes(container: KioskContainer) -> dict[str, float]:
    """What the installed device takes, MB: the system, the program with all its libraries."""
    program = container.root / layout.VERSIONS.lstrip("/") / "a"
    whole, of_program = size_mb(container.root), size_mb(program)
    return {"system_mb": round(whole - of_program), "program_mb": round(of_program)}


if __name__ == "__main__":
    sys.exit(main())
