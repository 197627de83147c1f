"""The records back to an earlier version: the copy from before the migration takes their place.

SQL migrations go one way. So a store goes back by the copy that was made before it was migrated,
and only where nothing that counts was done since; the newer file is renamed and stays.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgehemo.errors import RecordsError
from edgehemo.files.atomic import write_json_atomically
from edgehemo.records import schema
from edgehemo.records.audit import Action
from edgehemo.records.backup import opened_copy, put_in_place
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import locked_for_writing, told

# What may have been done since the copy was made, and be lost from the chain: it changed nothing
# of the records. A bundle that an update carried is among it; each result names its own.
HARMLESS: frozenset[Action] = frozenset(
    {
        "store migrated", "records verified", "records backed up", "signed in", "signed out",
        "wrong PIN", "result viewed", "message viewed", "kiosk state set aside", "bundle changed",
        "language changed",
    }
)  # fmt: skip
# So many kinds of work are named in a message.
_NAMED = 5


@dataclass(frozen=True, slots=True)
class WayBack:
    """What going back to a version of the records takes. copy: None where they are of that version
    or an earlier one, or there are none. since: what was done since, by kind, that would be lost.
    """

    version: int
    copy: Path | None = None
    since: tuple[tuple[str, int], ...] = ()

    @property
    def lost(self) -> str:
        """What would be lost, in words."""
        return ", ".join(f"{kind} ({count})" for kind, count in self.since[:_NAMED])


def version_now(folder: RecordsFolder) -> int:
    """The version of the records; 0 where there are none."""
    if not folder.exists():
        return 0
    with told(), contextlib.closing(_read_only(folder.database)) as connection:
        return schema.version_of(connection)


def way_back(folder: RecordsFolder, version: int) -> WayBack:
    """What going back to ``version`` takes; nothing is touched.

    Raises RecordsError where the copy that it takes is missing or damaged.
    """
    if not folder.exists():
        return WayBack(version)
    with told(), contextlib.closing(_read_only(folder.database)) as connection:
        found = schema.version_of(connection)
        if found <= version:
            return WayBack(version)
        copy = folder.copies / f"records.version-{version}.sqlite3"
        if not copy.is_file():
            raise RecordsError(
                f"the records are of version {found} and there is no copy of version {version} to "
                "go back to; stay with this version of edgehemo"
            )
        with contextlib.closing(opened_copy(copy)) as before:
            if before.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
                raise RecordsError(f"{copy}: is damaged; stay with this version of edgehemo")
            store = before.execute("SELECT id FROM store").fetchone()
            head = before.execute("SELECT max(number) FROM audit").fetchone()[0] or 0
        if store != connection.execute("SELECT id FROM store").fetchone():
            raise RecordsError(f"{copy}: is of other records; stay with this version of edgehemo")
        done = Counter(
            action
            for (action,) in connection.execute(
                "SELECT action FROM audit WHERE number > ?", (head,)
            )
            if action not in HARMLESS
        )
        (taking,) = connection.execute("SELECT count(*) FROM taking").fetchone()
        if taking:
            done["sample being taken"] = taking
    return WayBack(version, copy, tuple(sorted(done.items())))


def go_back(folder: RecordsFolder, version: int, *, leave_newer: bool = False) -> WayBack:
    """Put the copy of ``version`` in the records' place; what stood there is renamed and stays.

    leave_newer: also where something was done since, which then stays in the renamed file alone;
    without it that is a RecordsError. RecordsBusyError where another process writes.
    """
    if not folder.exists():
        return WayBack(version)
    with told():
        handle = locked_for_writing(folder)
        try:
            way = way_back(folder, version)
            if way.copy is None:
                return way
            refuse_loss(way, leave_newer=leave_newer)
            _empty_log(folder.database)
            put_in_place(way.copy, folder)
            details = {"version": way.version, "left_behind": dict(way.since)}
            note_for_the_next_writer(folder, "store restored", details)
        finally:
            os.close(handle)
    return way


def refuse_loss(way: WayBack, *, leave_newer: bool) -> None:
    """RecordsError where going back would lose what was done since."""
    if way.since and not leave_newer:
        raise RecordsError(
            f"since the update this was done, and the version before cannot read it: {way.lost}; "
            "stay with this version, or back up and leave it behind in a file of its own with "
            "--leave-newer-records"
        )


def note_for_the_next_writer(
    folder: RecordsFolder, action: Action, details: Mapping[str, Any]
) -> None:
    """Have it entered into the chain by whoever writes next, by this version or the one before."""
    folder.noted.mkdir(mode=0o700, exist_ok=True)
    write_json_atomically(
        folder.noted / f"{uuid.uuid4().hex}.json",
        {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "actor": "edgehemo",
            "action": action,
            "subject": "",
            "details": dict(details),
        },
    )


def _empty_log(database: Path) -> None:
    """Have what a killed writer left in the write-ahead log in the file itself."""
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _read_only(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{database.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None
    )
