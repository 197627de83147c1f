"""Which part of the data an image belongs to, decided by its group and by nothing else."""

from __future__ import annotations

import hashlib
from typing import Literal

Part = Literal["train", "tune", "test"]

# Shares of the groups: tune sets thresholds and score calibration, test is looked at once.
TUNE_SHARE = 0.10
TEST_SHARE = 0.15
# Part of what is hashed: another value would be another split. Written into every checkpoint.
SPLIT_NAME = "edgehemo-1"


def part_of(group: str) -> Part:
    """The part of a group, from a hash of its name: the same on every machine, for ever."""
    digest = hashlib.sha256(f"{SPLIT_NAME}/{group}".encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    if share < TEST_SHARE:
        return "test"
    return "tune" if share < TEST_SHARE + TUNE_SHARE else "train"
