"""Runs of a control slide that is to get its targets: their pictures are kept until there are
enough, for they are taken on several days. Nothing of a patient is in them.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.errors import RecordsError

# Below the data folder: a folder a slide, in it a folder a run.
FOLDER = "control-runs"
# What may be written on a slide, so that it can be a folder's name.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,39}")
# The protocol asks for so many, and better for so many.
LEAST_RUNS, BETTER_RUNS = 10, 20


@dataclass(frozen=True, slots=True)
class SlideRuns:
    """The runs of one slide so far, oldest first."""

    name: str
    folders: Sequence[Path]

    @property
    def more(self) -> int:
        """How many are still needed."""
        return max(0, LEAST_RUNS - len(self.folders))


def is_slide_name(name: str) -> bool:
    """Whether a slide may be called so."""
    return _NAME.fullmatch(name) is not None


def kept_runs(device: DeviceConfiguration) -> list[SlideRuns]:
    """Every slide that has runs, by name."""
    found = []
    for folder in sorted((device.data_dir / FOLDER).glob("*")):
        if folder.is_dir() and is_slide_name(folder.name):
            found.append(SlideRuns(folder.name, sorted(p for p in folder.iterdir() if p.is_dir())))
    return found


def runs_of(device: DeviceConfiguration, name: str) -> SlideRuns:
    """The runs of a slide; none where it has none."""
    return next((each for each in kept_runs(device) if each.name == name), SlideRuns(name, ()))


def keep_run(device: DeviceConfiguration, name: str, pictures: Path, at: datetime) -> SlideRuns:
    """Keep the pictures of a run; the runs of its slide with it. RecordsError where they cannot be
    kept.
    """
    if not is_slide_name(name):
        raise RecordsError("a control slide's name has letters, digits, spaces and any of _ . -")
    target = device.data_dir / FOLDER / name / f"{at:%Y%m%dT%H%M%S}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        pictures.rename(target)
        pictures.mkdir(mode=0o700)
    except OSError as error:
        raise RecordsError(f"{target}: cannot be written ({error.strerror or error})") from None
    return runs_of(device, name)


def forget_runs(device: DeviceConfiguration, name: str) -> None:
    """Remove the runs of a slide that has its targets."""
    if is_slide_name(name):
        shutil.rmtree(device.data_dir / FOLDER / name, ignore_errors=True)
