"""Run the attacks and print their figures; exit 1 where one did harm."""

from __future__ import annotations

import argparse
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from edgehemo.files.atomic import write_json_atomically
from edgehemo.version import __version__
from soak import at_once, hostile, killed, kiosk, outbox, records
from soak.attack import Attack, Figures, Scene

ATTACKS: Mapping[str, Attack] = {
    "killed: screening": killed.screening,
    "killed: bundle install": killed.bundle_install,
    "killed: profile writing": killed.profile_writing,
    "killed: keys new": killed.new_keys,
    "at once: screening": at_once.screening,
    "at once: bundle install": at_once.bundle_install,
    "at once: profile writing": at_once.profile_writing,
    "hostile: full disk": hostile.full_disk,
    "hostile: planted modules": hostile.planted_modules,
    "hostile: command line": hostile.command_line,
    "hostile: packed bundles": hostile.packed_bundles,
    **records.ATTACKS,
    **outbox.ATTACKS,
    **kiosk.ATTACKS,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="for all attacks together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="attacks whose name holds this")
    parser.add_argument("--times", type=int, help="rounds of each attack, instead of --seconds")
    parser.add_argument("--out", type=Path, help="the figures as a JSON file")
    asked = parser.parse_args()
    chosen = {name: attack for name, attack in ATTACKS.items() if asked.only in name}
    figures: dict[str, Figures] = {}
    for name, attack in chosen.items():
        with tempfile.TemporaryDirectory(prefix="edgehemo-soak-") as folder:
            # Keys and data of whoever runs this are not touched.
            os.environ["EDGEHEMO_KEYS"] = str(Path(folder) / "keys")
            scene = Scene(
                Path(folder), asked.seconds / len(chosen), random.Random(asked.seed), asked.times
            )
            os.environ["EDGEHEMO_DEVICE"] = scene.environment()["EDGEHEMO_DEVICE"]
            started = time.monotonic()
            figures[name] = {**attack(scene), "seconds": round(time.monotonic() - started, 1)}
        print(f"{name}: {figures[name]}", flush=True)
    if asked.out is not None:
        made_on = {
            "version": __version__,
            "python": platform.python_version(),
            "processors": os.cpu_count(),
            "seed": asked.seed,
        }
        write_json_atomically(asked.out, {"made_on": made_on, "attacks": figures})
    broken = sum(result["broken"] for result in figures.values())
    print(f"{len(figures)} attacks, harm done: {broken}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
