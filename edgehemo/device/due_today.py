"""What will keep this device from giving results before the day is over, as it was last looked up.

A timer of the device looks (`edgehemo device remind`); the kiosk's start page says it, so that a
control slide is checked before the first sample and not in the midst of the work.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from edgehemo.device.clock import aware
from edgehemo.files.atomic import write_text_atomically
from edgehemo.guidance.codes import WithheldCode

FILE = "due-today"
# What comes with time and can be done beforehand; all else is a fault of now.
FORESEEN: tuple[WithheldCode, ...] = ("CONTROL_DUE", "CONTROL_MISSING", "CALIBRATION_EXPIRED")


def keep_due(data_dir: Path, code: str | None, until: datetime) -> None:
    """Keep what is due until then; None and what is not foreseen: nothing is. OSError where it
    cannot be written.
    """
    if code not in FORESEEN:
        forget_due(data_dir)
        return
    text = f"{code} {until.isoformat(timespec='seconds')}\n"
    write_text_atomically(data_dir / FILE, text)


def due_today(data_dir: Path, now: datetime) -> WithheldCode | None:
    """What is due; None where nothing is, or nobody looked since."""
    try:
        name, _, until = (data_dir / FILE).read_text("ascii").strip().partition(" ")
        if aware(datetime.fromisoformat(until)) < now:
            return None
    except (OSError, ValueError):
        return None
    return _known(name, FORESEEN)


def forget_due(data_dir: Path) -> None:
    """It was done, or nothing is due any more."""
    (data_dir / FILE).unlink(missing_ok=True)


def _known(name: str, codes: Iterable[WithheldCode]) -> WithheldCode | None:
    return next((code for code in codes if code == name), None)
