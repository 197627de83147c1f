"""Runs of a slide that is measured again and again: their pictures are kept until there are enough,
for they are taken one after the other, those of a control slide on several days. Nothing of a
patient is in them.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.errors import RecordsError

# What runs are taken for.
RunsOf = Literal["control", "repeatability"]
# Below the data folder: a folder a slide, in it a folder a run.
FOLDERS: Mapping[RunsOf, str] = {"control": "control-runs", "repeatability": "repeatability-runs"}
# The protocol asks for so many, and better for so many.
LEAST_RUNS: Mapping[RunsOf, int] = {"control": 10, "repeatability": 3}
BETTER_RUNS: Mapping[RunsOf, int] = {"control": 20, "repeatability": 10}
# The slide of a repeatability has no name: any good one will do.
ANY_SLIDE = "slide"
# What may be written on a slide, so that it can be a folder's name.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,39}")


@dataclass(frozen=True, slots=True)
class SlideRuns:
    """The runs of one slide so far, oldest first."""

    of: RunsOf
    name: str
    folders: Sequence[Path]

    @property
    def more(self) -> int:
        """How many are still needed."""
        return max(0, LEAST_RUNS[self.of] - len(self.folders))


def is_slide_name(name: str) -> bool:
    """Whether a slide may be called so."""
    return _NAME.fullmatch(name) is not None


def kept_runs(device: DeviceConfiguration, of: RunsOf) -> list[SlideRuns]:
    """Every slide that has runs, by name."""
    found = []
    for folder in sorted((device.data_dir / FOLDERS[of]).glob("*")):
        if folder.is_dir() and is_slide_name(folder.name):
            runs = sorted(path for path in folder.iterdir() if path.is_dir())
            found.append(SlideRuns(of, folder.name, runs))
    return found


def runs_of(device: DeviceConfiguration, of: RunsOf, name: str) -> SlideRuns:
    """The runs of a slide; none where it has none."""
    known = kept_runs(device, of)
    return next((each for each in known if each.name == name), SlideRuns(of, name, ()))


def keep_run(
    device: DeviceConfiguration, of: RunsOf, name: str, pictures: Path, at: datetime
) -> SlideRuns:
    """Keep the pictures of a run; the runs of its slide with it. RecordsError where they cannot be
    kept.
    """
    if not is_slide_name(name):
        raise RecordsError("a slide's name has letters, digits, spaces and any of _ . -")
    target = device.data_dir / FOLDERS[of] / name / f"{at:%Y%m%dT%H%M%S}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        pictures.rename(target)
        pictures.mkdir(mode=0o700)
    except OSError as error:
        raise RecordsError(f"{target}: cannot be written ({error.strerror or error})") from None
    return runs_of(device, of, name)


def forget_runs(device: DeviceConfiguration, of: RunsOf, name: str) -> None:
    """Remove the runs of a slide, such as one that has its targets."""
    if is_slide_name(name):
        shutil.rmtree(device.data_dir / FOLDERS[of] / name, ignore_errors=True)
