"""The program on emulated 64-bit ARM: ``python -m soak.arm64 --out FILE`` (root).

The demonstration, and three runtimes at each precision, held against this machine's answers. Then
media made here for that processor are installed onto a bare Debian for it with no network; an
emulated computer starts as that kiosk, with its own kernel, and a sample is screened through the
kernel's UVC driver.

Everything is EMULATED: function and the same answers, and no time of any board.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from edgehemo.files.atomic import write_json_atomically
from edgehemo.inference import RUNTIMES
from edgehemo.version import __version__
from tests.lab import arm64_root
from tests.lab.guest_scenes import SCENES, SHARE_OFF, Computer, make_lab
from tests.lab.kiosk_guest import TARGET, KioskGuest
from tests.lab.offline_device import Sticks

Figures = Mapping[str, Any]
NEEDED = ("mmdebstrap", "qemu-system-aarch64", arm64_root.EMULATOR, "mke2fs", "debugfs")
LIMIT_S = 7200.0
# All the scenes of the emulated computer.
COMPUTER = "computer"
MEASURANDS = ("hgb_g_per_l", "hct_l_per_l", "rbc_1e12_per_l")
WHAT = "EMULATED by QEMU on the x86-64 machine of the tests; times are of no board"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only",
        default="",
        choices=("", *PARTS, COMPUTER),
        help="one part; of the others the file's figures stay",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        help="keep the computer here, and go on after its scenes that were done here before",
    )
    parser.add_argument("--out", type=Path, help="the figures as a JSON file, after each part")
    asked = parser.parse_args()
    if os.geteuid() != 0 or any(shutil.which(name) is None for name in NEEDED):
        print(f"left out: needs root and {', '.join(NEEDED)}; apt-get install mmdebstrap "
              "qemu-system-arm qemu-user-static e2fsprogs")  # fmt: skip
        return 0
    figures = Kept(asked.out, asked.only != "")
    if asked.only != COMPUTER:
        for name, part in PARTS.items():
            if asked.only in ("", name):
                figures.add(name, part)
    if asked.only in ("", COMPUTER):
        with ExitStack() as stack:
            folder = asked.folder or Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="edgehemo-arm64-"))
            )
            _play(folder, figures)
    return 0


@dataclass
class Kept:
    """The figures so far, in their file after each part. others: those of parts that are left out
    stay as they are in the file.
    """

    file: Path | None
    others: bool
    figures: dict[str, Figures] = field(default_factory=dict)

    def add(self, name: str, part: Callable[[], Figures]) -> Figures:
        """Do a part and keep its figures."""
        begun = time.monotonic()
        done = {**part(), "seconds": round(time.monotonic() - begun)}
        self.take(name, done)
        return done

    def take(self, name: str, done: Figures) -> None:
        self.figures[name] = done
        print(f"{name}: {done}", flush=True)
        if self.file is None:
            return
        before = json.loads(self.file.read_text("utf-8")) if self.file.exists() else {}
        kept = before.get("scenes", {}) if self.others else {}
        made_on = {
            "version": __version__,
            "what": WHAT,
            "emulator": _first_line(arm64_root.EMULATOR, "--version"),
            "processors": os.cpu_count(),
            "kernel": platform.release(),
        }
        write_json_atomically(self.file, {"made_on": made_on, "scenes": {**kept, **self.figures}})


def _play(folder: Path, figures: Kept) -> None:
    """The scenes of the emulated computer, each from what the one before left."""
    folder.mkdir(parents=True, exist_ok=True)
    diary = folder / "scenes.json"
    played: dict[str, Figures] = json.loads(diary.read_bytes()) if diary.exists() else {}
    computer = _computer(folder)
    try:
        for name, scene in SCENES.items():
            if name in played:
                figures.take(name, played[name])
                continue
            played[name] = figures.add(name, partial(scene, computer))
            write_json_atomically(diary, played)
    finally:
        computer.guest.kill()


def _computer(folder: Path) -> Computer:
    """An emulated computer that is off, with nothing installed."""
    sticks = Sticks.in_folder(folder / "sticks", target=TARGET)
    if not (folder / "lab").exists():
        make_lab(folder / "lab")
    return Computer(KioskGuest(folder / "computer"), sticks, folder / "lab")


def demonstration() -> Figures:
    """`edgehemo demo` on ARM program by program, and here: the same fields, the same blood."""
    with tempfile.TemporaryDirectory(prefix="edgehemo-demo-") as name:
        folder = Path(name)
        board = next(iter(arm64_root.PROCESSORS))
        done = arm64_root.python(
            board, folder, "-m", "edgehemo", "demo", "--out", "/opt/given/arm", timeout_s=LIMIT_S
        )
        assert done.returncode == 0, done.stderr[-2000:]
        here = [sys.executable, "-m", "edgehemo", "demo", "--out", str(folder / "x86")]
        subprocess.run(here, check=True, capture_output=True, timeout=LIMIT_S)
        arm, x86 = (
            json.loads((folder / each / "result.json").read_text("utf-8"))
            for each in ("arm", "x86")
        )
    return as_here(arm, x86)


def as_here(arm: Mapping[str, Any], x86: Mapping[str, Any]) -> Figures:
    """What two results of the demonstration have in common; fails where it is too little."""
    taken = [[image["accepted"] for image in record["images"]] for record in (arm, x86)]
    assert taken[0] == taken[1], taken
    off = max(
        abs(arm["sample"][name]["value"] / x86["sample"][name]["value"] - 1) for name in MEASURANDS
    )
    assert off <= SHARE_OFF, (arm["sample"], x86["sample"])
    return {
        "fields": len(taken[0]),
        "fields_accepted": sum(taken[0]),
        "concentrations_differ_by_share": float(f"{off:.2g}"),
    }


def runtimes() -> Figures:
    """Each artefact of a small network in three runtimes at each precision, on two processors."""
    from tests.support.small_export import export_small

    with (
        tempfile.TemporaryDirectory(prefix="edgehemo-runtimes-") as name,
        pytest.MonkeyPatch.context() as patch,
    ):
        folder = Path(name)
        patch.setenv("EDGEHEMO_KEYS", str(folder / "keys"))
        bundle = export_small(folder, tuple(RUNTIMES))
        told = {
            board: arm64_root.answers(bundle, folder / "keys", board, timeout_s=LIMIT_S)
            for board in arm64_root.PROCESSORS
        }
    return within_gates(told)


def within_gates(told: Mapping[str, Mapping[str, Any]]) -> Figures:
    """The largest difference of each runtime's answers, in shares of a probability. told: what each
    board's processor said, see `parts/artefacts_in_root.py`; fails where a gate does.
    """
    rows, worst, refused = 0, dict[str, float](), list[str]()
    for board, record in told.items():
        artefacts = record["artefacts"]
        assert arm64_root.wrong(board, artefacts) == [], artefacts
        assert {row["format"] for row in artefacts} == set(RUNTIMES)
        rows += len(artefacts)
        for row in artefacts:
            if row["gate"] == "pass":
                worst[row["runtime"]] = max(worst.get(row["runtime"], 0.0), row["difference"])
            else:
                refused.append(f"{row['runtime']} {row['precision']} on a {board}'s processor")
    shown = {f"{name}: largest difference": float(f"{each:.2g}") for name, each in worst.items()}
    return {
        "processors": len(told),
        "artefacts": rows,
        **shown,
        "no answer, and refused:": "; ".join(refused) or "none",
    }


def _first_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout.splitlines() or [""])[0]


PARTS: Mapping[str, Callable[[], Figures]] = {
    "demonstration": demonstration,
    "three runtimes": runtimes,
}

if __name__ == "__main__":
    sys.exit(main())
