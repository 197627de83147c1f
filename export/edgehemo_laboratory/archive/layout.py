"""What the objects of an archive are called; pure.

    archive.json                                  what this is
    pictures/ab/<sha256>                          the bytes of a picture
    profiles/<digest>.json                        calibration profiles
    bundles/<digest>.zip                          model bundles, for workers on other machines
    catalogue/<time>-<random>.parquet             one an ingest
    named/<time>-<random>.parquet                 cells that people named, one an ingest
    readings/<reading>/reading.json               with what it is made
    readings/<reading>/<stage>/plans/000001.parquet
    readings/<reading>/<stage>/parts/000001/000000.parquet
    readings/<reading>/<stage>/joined/000001.parquet

A reading is of one bundle. Its stages are ``fields`` and ``samples``. A plan divides what was still
to be read into batches, and a batch has one part: whoever writes it, and however often, it is there
once.
"""

from __future__ import annotations

import re
from typing import Literal, get_args

ARCHIVE = "archive.json"
CATALOGUE = "catalogue/"
NAMED = "named/"
PROFILES = "profiles/"
READINGS = "readings/"

Stage = Literal["fields", "samples"]
STAGES: tuple[Stage, ...] = get_args(Stage)

_PLAN = re.compile(r"/plans/(\d{6})\.parquet$")
_PART = re.compile(r"/parts/(\d{6})/(\d{6})\.parquet$")
_JOINED = re.compile(r"/joined/(\d{6})\.parquet$")
_READING = re.compile(r"^readings/([a-z0-9][a-z0-9.-]{0,80})/reading\.json$")


def profile_key(digest: str) -> str:
    """Of a calibration profile, by its digest."""
    return f"{PROFILES}{digest}.json"


def bundle_key(digest: str) -> str:
    """Of a packed bundle, by its digest."""
    return f"bundles/{digest}.zip"


def reading_key(reading: str) -> str:
    """Of what says with what a reading is made."""
    return f"{READINGS}{reading}/reading.json"


def reading_of(key: str) -> str | None:
    """The reading that a `reading_key` is of; None for another object."""
    found = _READING.match(key)
    return found[1] if found else None


def plans_of(reading: str, stage: Stage) -> str:
    """What the plans of a stage are called before their numbers."""
    return f"{READINGS}{reading}/{stage}/plans/"


def plan_key(reading: str, stage: Stage, plan: int) -> str:
    """Of a plan; they are numbered from 1."""
    return f"{plans_of(reading, stage)}{plan:06d}.parquet"


def plan_number(key: str) -> int | None:
    """The number of a `plan_key`; None for another object."""
    found = _PLAN.search(key)
    return int(found[1]) if found else None


def parts_of(reading: str, stage: Stage, plan: int | None = None) -> str:
    """What the parts of a stage, or of one plan, are called before their numbers."""
    start = f"{READINGS}{reading}/{stage}/parts/"
    return start if plan is None else f"{start}{plan:06d}/"


def part_key(reading: str, stage: Stage, plan: int, batch: int) -> str:
    """Of the part that a batch of a plan comes to; batches are numbered from 0."""
    return f"{parts_of(reading, stage, plan)}{batch:06d}.parquet"


def joined_of(reading: str, stage: Stage) -> str:
    """What the joined parts of a stage's finished plans are called before their numbers."""
    return f"{READINGS}{reading}/{stage}/joined/"


def joined_key(reading: str, stage: Stage, plan: int) -> str:
    """Of the joined parts of a finished plan."""
    return f"{joined_of(reading, stage)}{plan:06d}.parquet"


def joined_number(key: str) -> int | None:
    """The plan of a `joined_key`; None for another object."""
    found = _JOINED.search(key)
    return int(found[1]) if found else None


def part_number(key: str) -> tuple[int, int] | None:
    """Plan and batch of a `part_key`; None for another object."""
    found = _PART.search(key)
    return (int(found[1]), int(found[2])) if found else None
