"""The test slide of a bundle: two fields of the simulated microscope, and the numbers they give.

Whoever publishes a bundle has the slide read where it is published; a kiosk has it read by the same
bundle before it goes over to it, and compares. The slide is drawn by what is installed, from one
seed, and read by all that reads a patient's slide. Its numbers say nothing of accuracy.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edgehemo.errors import EXIT_DONE, PublicationError
from edgehemo.files.strict import Count, Record, RecordError, Text

SLIDE = "simulated:?seed=22&fields=2"
FIELDS = 2
# Of the whole slide: what a concentration is made of.
INDICES = ("hgb_index", "hct_index", "rbc_index", "cell_od_green", "cell_area_um2")
# How far a number may lie from the one that is expected. cells: of one kind in one field. share: of
# an index, of its own size. Processors, runtimes and precisions differ by less; a model that was
# damaged or exchanged differs by more.
CELLS, SHARE = 6, 0.05
# The slowest board takes a minute.
TIMEOUT_S = 300
MODULE = "edgehemo.published.slide_reading"
_MOST_WORDS = 400


class SlideField(Record, frozen=True, kw_only=True):
    """One field: whether quality accepts it, and the cells found by kind."""

    accepted: bool
    counts: dict[str, Count]


class SlideNumbers(Record, frozen=True, kw_only=True):
    """What the slide gives. software_version: of edgehemo that drew and read it."""

    software_version: Text
    fields: tuple[SlideField, ...]
    indices: dict[str, float]


def faults_of(found: SlideNumbers, wanted: SlideNumbers | None) -> Iterator[str]:
    """How a reading differs from what is expected, a phrase each. wanted: None where nobody knows
    it, as of a bundle from a stick: then something must be found at all.
    """
    if len(found.fields) != FIELDS:
        yield f"{len(found.fields)} fields of the test slide were read, {FIELDS} expected"
        return
    if wanted is None:
        if not any(each.accepted and each.counts.get("rbc") for each in found.fields):
            yield "no red cells were found on the test slide"
        return
    for number, (has, must) in enumerate(zip(found.fields, wanted.fields, strict=False), start=1):
        if has.accepted != must.accepted:
            said, right = (("refused", "accepted")[each] for each in (has.accepted, must.accepted))
            yield f"field {number} of the test slide is {said}, {right} expected"
            continue
        for kind, count in must.counts.items():
            if abs(has.counts.get(kind, 0) - count) > CELLS:
                yield f"field {number}: {has.counts.get(kind, 0)} {kind} found, {count} expected"
    for name, value in wanted.indices.items():
        have = found.indices.get(name)
        if have is None or abs(have - value) > SHARE * abs(value):
            yield f"{name}: {'none' if have is None else f'{have:.4g}'}, {value:.4g} expected"


def read_slide(bundle: Path) -> SlideNumbers:
    """Have the slide read by a bundle, in a process of its own: what it takes of memory, or dies
    of, is not this one's. PublicationError where it cannot be read.
    """
    command = [sys.executable, "-P", "-m", MODULE, str(bundle.absolute())]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise PublicationError(f"the test slide was not read within {TIMEOUT_S} s") from None
    except OSError as error:
        raise PublicationError(f"the test slide cannot be read ({error})") from None
    try:
        if done.returncode == EXIT_DONE:
            return SlideNumbers.model_validate(msgspec.json.decode(done.stdout.splitlines()[-1]))
    except (msgspec.DecodeError, RecordError, IndexError):
        pass
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    said = lines[-1] if lines else f"it ended with {done.returncode}"
    raise PublicationError(f"the test slide could not be read: {said[-_MOST_WORDS:]}")
