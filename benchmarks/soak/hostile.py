"""Hostile input and a full disk: one line, no harm, and exit code 70 never."""

from __future__ import annotations

import contextlib
import io
import os
import random
import subprocess
from pathlib import Path

from edgehemo.bundle.bundle import SHIPPED_BUNDLE
from edgehemo.cli import BUILT_IN, run
from edgehemo.device.installed_bundles import pack
from soak.attack import Figures, Scene, is_one_line, sample_in, two_samples

PLANTED = "import pathlib; pathlib.Path(__file__).with_name('RUN').touch(); raise ImportError\n"
MODULES = ("numpy", "json", "cv2", "onnxruntime", "edgehemo", "msgspec", "struct", "tempfile")
# Sizes of the disk, kB: from none of a result to all of it.
DISKS_KB = (64, 200, 400, 700, 1000, 1500, 2500)
# Commands that do their work without an input: they would only take long.
LONG = frozenset({"demo", "bench", "doctor", "verify", "rollback", "new"})


def full_disk(scene: Scene) -> Figures:
    """A screening onto a disk that is too small: the earlier result stays, the file is named."""
    samples = two_samples(scene.folder)
    disk = scene.folder / "disk"
    disk.mkdir()
    figures: Figures = {"rounds": 0, "full": 0, "broken": 0}
    for number in scene.rounds():
        size = DISKS_KB[number % len(DISKS_KB)]
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=8m", "soak", str(disk)], capture_output=True
        )
        if mounted.returncode:
            return {"not run": "a small disk cannot be mounted here (it needs root)", "broken": 0}
        try:
            scene.ended("screen", samples[0], "--out", disk / "out")
            used = int(os.statvfs(disk).f_bfree * os.statvfs(disk).f_frsize / 1000)
            (disk / "filler").write_bytes(bytes(max(0, 1000 * (used - size))))
            code, said = scene.ended("screen", samples[1], "--out", disk / "out", "--force")
            full = code == 2 and "No space left" in said
            figures["rounds"] += 1
            figures["full"] += full
            wanted = "a" if full else "b"
            figures["broken"] += sample_in(disk / "out") != wanted or not is_one_line(said)
            figures["broken"] += full and str(disk) not in said
            figures["broken"] += code not in (0, 1, 2)
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    return figures


def planted_modules(scene: Scene) -> Figures:
    """Modules planted in the folder that a command is started in."""
    here = scene.folder / "here"
    here.mkdir()
    for name in MODULES:
        (here / f"{name}.py").write_text(PLANTED)
    commands = (["verify"], ["bundle", "install", str(SHIPPED_BUNDLE)], ["demo", "--out", "out"])
    figures = {"rounds": 0, "broken": 0}
    for number in scene.rounds():
        code, _ = scene.ended(*commands[number % len(commands)], cwd=here)
        figures["rounds"] += 1
        figures["broken"] += (here / "RUN").exists() or code not in (0, 1)
    return figures


def command_line(scene: Scene) -> Figures:
    """Words thrown together, names of any bytes, numbers beyond all."""
    words = [
        *(name for name in BUILT_IN if name not in LONG), "list", "install", "trust", "pack",
        "calibrate", "scale", "stain", "focus", "check", "clear", "analyser", "--out", "--json",
        "-", "--profile", "--bundle", "--um-per-px", "--fields", "--age", "--sex", "--pairs",
        "--images", "--model", "--slide", "-v", "-q", "-h", "--log-file", "/dev/null", ".", "..",
        "nan", "inf", "-1", "1e400", "0", "0.2", "female", "uvc:", "picamera2:-1", "uvcc:0",
        "simulated:?x=1", "a" * 300, "", " ", "~", "%s", "{}", "\x1b[2J", "\u202e", "no.png",
    ]  # fmt: skip
    figures: Figures = {"rounds": 0, "codes": {}, "broken": 0, "lines": []}
    here = Path.cwd()
    os.chdir(scene.folder)
    try:
        for _ in scene.rounds():
            line = [_word(scene.rng, words) for _ in range(scene.rng.randrange(7))]
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = run(line)
            figures["rounds"] += 1
            figures["codes"][str(code)] = figures["codes"].get(str(code), 0) + 1
            if code not in (0, 1, 2) or "Traceback" in err.getvalue() or "\x1b" in err.getvalue():
                figures["broken"] += 1
                figures["lines"].append([ascii(word) for word in line])
    finally:
        os.chdir(here)
    return figures


def _word(rng: random.Random, words: list[str]) -> str:
    """One of the words, or five bytes that may be no text."""
    if rng.random() < 0.85:
        return rng.choice(words)
    return os.fsdecode(bytes(rng.randrange(1, 256) for _ in range(5))).replace("/", "")


def packed_bundles(scene: Scene) -> Figures:
    """The shipped bundle as one file, damaged anew each time."""
    whole = scene.folder / "whole.zip"
    pack(SHIPPED_BUNDLE, whole)
    data = whole.read_bytes()
    # Small enough to be quick: the end holds the names and offsets.
    figures: Figures = {"rounds": 0, "refused": 0, "broken": 0}
    damaged = scene.folder / "damaged.zip"
    for _ in scene.rounds():
        broken = bytearray(data)
        for _ in range(scene.rng.randrange(1, 8)):
            near_the_end = scene.rng.random() < 0.7
            place = scene.rng.randrange(len(data) - 3000 if near_the_end else 0, len(data))
            broken[place] = scene.rng.randrange(256)
        damaged.write_bytes(broken)
        err = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
            code = run(["bundle", "pack", str(damaged), str(scene.folder / "x.zip")])
            code = run(["cells", "none.png", "--bundle", str(damaged)])
        figures["rounds"] += 1
        figures["refused"] += code == 2
        figures["broken"] += code not in (0, 1, 2) or not is_one_line(err.getvalue())
    return figures
