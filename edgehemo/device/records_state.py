"""What `edgehemo doctor` says of the stored results: whole, backed up, room for more."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime

from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.device.finding import Finding, trouble
from edgehemo.errors import RecordsError
from edgehemo.records.backup import is_due, last_backup
from edgehemo.records.policy import free_mb, space_state
from edgehemo.records.results import count
from edgehemo.records.store import Store, set_aside_files
from edgehemo.words.counted import counted


def records_findings(device: DeviceConfiguration, now: datetime) -> Iterator[Finding]:
    """The records and their last backup; nothing of a backup where nothing is stored yet."""
    store = Store.below(device.data_dir)
    if not store.folder.exists():
        yield Finding("records", "ok", "nothing is stored yet")
        return
    aside = set_aside_files(store.folder)
    try:
        with store.reader() as reader:
            results, head, last = count(reader), reader.head(), last_backup(reader)
    except (RecordsError, sqlite3.Error) as error:
        yield trouble("records", "fail", "RECORDS_UNREADABLE", str(error))
        return
    detail = f"{counted(results, 'result')}, chain {head}"
    free = free_mb(store.folder.path)
    space = space_state(free, device.records)
    if aside:
        names = ", ".join(path.name for path in aside)
        yield trouble(
            "records", "fail", "RECORDS_SET_ASIDE", f"{detail}; damaged and set aside: {names}"
        )
    elif space != "enough":
        yield trouble(
            "records",
            "fail" if space == "too little" else "warn",
            "RECORDS_SPACE_LOW",
            f"{detail}; {free:.0f} MB free, no sample is begun below "
            f"{device.records.refuse_below_mb} MB",
        )
    else:
        yield Finding("records", "ok", detail)
    if not results:
        return
    if last is None:
        yield trouble("backup", "warn", "BACKUP_DUE", "the stored results were never backed up")
    elif is_due(last, now, device.records.backup_every_hours):
        yield trouble(
            "backup",
            "warn",
            "BACKUP_DUE",
            f"the last good backup is of {last.at}, with {last.results} of "
            f"{counted(results, 'result')}",
        )
    else:
        yield Finding("backup", "ok", f"{last.at}, {last.results} of {counted(results, 'result')}")
