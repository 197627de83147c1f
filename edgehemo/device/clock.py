"""Is the clock set? A Pi has none that survives a power cut, and what has a date cannot do without.

A clock that is earlier than the newest date known here is not set. The newest result's date is
kept in the data folder, so that a clock that was put back after it is noticed too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edgehemo.files.atomic import write_text_atomically
from edgehemo.guidance.withheld import Withheld, withheld

log = logging.getLogger(__name__)

# How far a known date may lie ahead of the clock: clocks of two machines differ by so much.
TOLERANCE = timedelta(minutes=10)
LAST_RESULT_FILE = "last-result"


def clock_block(known: Iterable[tuple[str, datetime]], now: datetime) -> Withheld | None:
    """Why nothing that needs a date may be given at ``now``; known: what it is of, and the date."""
    newest = max(known, key=lambda item: item[1], default=None)
    if newest is None or newest[1] - now <= TOLERANCE:
        return None
    what, at = newest
    return withheld(
        "CLOCK_UNSET", now=f"{now:%Y-%m-%d %H:%M}", what=what, at=f"{at:%Y-%m-%d %H:%M}"
    )


def aware(moment: datetime) -> datetime:
    """The moment with a time zone; one without is taken for UTC."""
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def last_result(data_dir: Path) -> datetime | None:
    """When the last result was made here, None where it is not known."""
    try:
        text = (data_dir / LAST_RESULT_FILE).read_text(encoding="ascii")
        return aware(datetime.fromisoformat(text.strip()))
    except (OSError, ValueError):
        return None


def forget_last_result(data_dir: Path) -> None:
    """Forget it, where it was made while the clock stood in the future."""
    (data_dir / LAST_RESULT_FILE).unlink(missing_ok=True)


def note_result(data_dir: Path, at: datetime) -> None:
    """Keep the date of a result where there is a data folder; a later date stays."""
    before = last_result(data_dir)
    if not data_dir.is_dir() or (before is not None and before >= at):
        return
    try:
        write_text_atomically(data_dir / LAST_RESULT_FILE, at.isoformat(timespec="seconds") + "\n")
    except OSError as error:
        log.warning("the date of the last result could not be kept: %s", error)
