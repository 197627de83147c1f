"""What the attacks share: a place, a clock, pictures of two samples, and processes that are killed.

An attack is a function that takes a `Scene` and returns its figures: how often what was tried, and
under ``broken`` how often it did harm, which must be 0.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgehemo.capture.simulated import SimulatedMicroscope, SimulatedOptions
from edgehemo.report.pictures import png

EDGEHEMO = str(Path(sys.executable).with_name("edgehemo"))
LIMIT_S = 300

Figures = dict[str, Any]
Attack = Callable[["Scene"], Figures]


@dataclass
class Scene:
    """folder: an empty one for the attack alone. seconds: how long it goes on."""

    folder: Path
    seconds: float
    rng: random.Random
    times: int | None = None

    def rounds(self) -> Iterator[int]:
        """0, 1, ... until the time is up, or ``times`` of them where that is given; at least one
        round.
        """
        until = time.monotonic() + self.seconds
        number = 0
        while number == 0 or (
            time.monotonic() < until if self.times is None else number < self.times
        ):
            yield number
            number += 1

    def environment(self) -> dict[str, str]:
        """A home, keys and data of its own."""
        device = self.folder / "device.toml"
        if not device.exists():
            device.write_text(
                'schema = "edgehemo.device/1"\nname = "soak"\nboard = "workstation"\n'
                f'[paths]\ndata = "{self.folder / "data"}"\n'
            )
        own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return {
            **own,
            "HOME": str(self.folder),
            "EDGEHEMO_DEVICE": str(device),
            "EDGEHEMO_KEYS": str(self.folder / "keys"),
        }

    def start(self, *arguments: object, cwd: Path | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [EDGEHEMO, *map(str, arguments)],
            env=self.environment(),
            cwd=cwd or self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def killed(self, longest_s: float, *arguments: object) -> bool:
        """Start a command and kill it after a random while; whether it was still running."""
        process = self.start(*arguments)
        try:
            process.communicate(timeout=self.rng.uniform(0.05, longest_s))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return True
        return False

    def ended(self, *arguments: object, cwd: Path | None = None) -> tuple[int, str]:
        """Exit code and standard error of a command that runs to its end."""
        process = self.start(*arguments, cwd=cwd)
        said = process.communicate(timeout=LIMIT_S)[1]
        return process.returncode, said


def is_one_line(said: str) -> bool:
    """Whether a complaint is told as one, without a traceback."""
    return "Traceback" not in said and said.count("\n") <= 2


def two_samples(folder: Path, fields: int = 3) -> list[Path]:
    """Two folders of pictures whose names tell the sample: a_0.png ..., b_0.png ..."""
    out = []
    for name, seed in (("a", 11), ("b", 12)):
        sample = folder / name
        sample.mkdir()
        options = SimulatedOptions(seed=seed, fields=fields, width_px=480, height_px=360)
        with SimulatedMicroscope(options) as slide:
            for index in range(fields):
                slide.move_to_field(index)
                (sample / f"{name}_{index}.png").write_bytes(png(slide.frame(10.0).pixels))
        out.append(sample)
    return out


def sample_in(out: Path) -> str:
    """Which sample a result is of; empty for none, ``mixed`` where it is not one whole."""
    drawn = sorted(path.name for path in (out / "fields").glob("*")) if out.is_dir() else []
    file = out / "result.json"
    if not file.exists():
        return "mixed" if drawn or (out / "report.html").exists() else ""
    try:
        record = json.loads(file.read_bytes())
    except ValueError:
        return "mixed"
    images = [image["image"] for image in record["images"]]
    listed = sorted(Path(image["picture"]).name for image in record["images"])
    names = {name[0] for name in images}
    page = (out / "report.html").read_text() if (out / "report.html").exists() else ""
    whole = len(names) == 1 and listed == drawn and all(name in page for name in images)
    return names.pop() if whole else "mixed"
