"""Numbers written one after another, each on the disk before it is said: what a cut may not take.

Every line holds its number and a checksum. After a cut the lines must go on from one without a gap;
only the last one may be torn, for it was not said yet.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class Counted:
    """last: number of the last whole line. broken: lines that are wrong before the last one."""

    last: int
    broken: int


def line_of(number: int) -> bytes:
    """One line with its checksum."""
    text = f"{number}"
    return f"{text} {zlib.crc32(text.encode()):08x}\n".encode()


def counted(path: Path) -> Counted:
    """What a file of numbers holds; nothing where it is not there."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Counted(0, 0)
    # What follows the last line end was torn by the cut.
    *lines, _torn = data.split(b"\n")
    last = broken = 0
    for line in lines:
        if line + b"\n" == line_of(last + 1):
            last += 1
        else:
            broken += 1
    return Counted(last, broken)


def count_on(path: Path) -> Iterator[int]:
    """Write numbers until the power goes; yields each once it is on the disk."""
    whole = counted(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        # A torn line is cut off: the next number stands on a line of its own.
        size = sum(len(line_of(number)) for number in range(1, whole.last + 1))
        if whole.broken == 0 and file.tell() != size:
            file.truncate(size)
        number = whole.last
        while True:
            number += 1
            file.write(line_of(number))
            file.flush()
            os.fsync(file.fileno())
            yield number
            time.sleep(PAUSE_S)
