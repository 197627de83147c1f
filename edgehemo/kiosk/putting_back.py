"""A backup takes the place of the records while the kiosk that works with them is down.

The page has checked and copied it before (`edgehemo.records.backup.bring`), so that little is left
to do. The kiosk ends as by a signal, the records are put in place, and it begins again at the same
address: with the records of the backup, or with its own where that could not be done.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgehemo.errors import EdgeHemoError
from edgehemo.records.backup import restore
from edgehemo.records.folder import RecordsFolder
from edgehemo.words.language import Words

log = logging.getLogger(__name__)

# What a kiosk that began again says on its first page.
Outcome = Literal["put back", "not put back"]


@dataclass(frozen=True, slots=True)
class PutBack:
    """What was asked for. backup: path of its manifest. by: who asked."""

    backup: Path
    by: str


def put_back(wanted: PutBack, folder: RecordsFolder) -> Outcome:
    """Do it; nobody may have the records open. Where it fails they are as they were."""
    try:
        restore(wanted.backup, folder, replace=True, by=wanted.by)
    except (EdgeHemoError, OSError) as error:
        log.error("the backup could not be put back: %s", error)
        return "not put back"
    log.warning("a backup was put in the place of the records")
    return "put back"


def outcome_words(words: Words, outcome: Outcome) -> tuple[str, str]:
    """What is told, and what is told as a problem."""
    _ = words._
    if outcome == "put back":
        return _("The backup is put back. The PINs are those of the backup."), ""
    return "", _("The backup could not be put back. The records are as they were.")
