"""Where the kiosk's own state is kept: one text, in the transaction of what it comes with."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from edgehemo.files.atomic import flush_folder
from edgehemo.records.store import Reader, Writer, told


def keep_kiosk_state(writer: Writer, text: str) -> None:
    """Put it in the place of the one before; on the disk when the transaction ends."""
    with writer.transaction() as connection:
        connection.execute(
            "INSERT INTO kiosk (one, state) VALUES (1, ?) "
            "ON CONFLICT (one) DO UPDATE SET state = excluded.state",
            (text,),
        )


def kept_kiosk_state(reader: Reader) -> str | None:
    """The last one; None before the first."""
    found = reader.rows("SELECT state FROM kiosk")
    return str(found[0][0]) if found else None


def set_aside_kiosk_state(writer: Writer, text: str) -> Path:
    """Keep a state that cannot be read in a file beside the records, and forget it; the chain says
    which. On the disk before it is forgotten.
    """
    data = text.encode("utf-8", "surrogatepass")
    with told():
        file = _free_name(writer)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as opened:
            opened.write(data)
            opened.flush()
            os.fsync(opened.fileno())
        flush_folder(file.parent)
    digest = hashlib.sha256(data).hexdigest()
    with writer.transaction() as connection:
        connection.execute("DELETE FROM kiosk")
        details = {"file": file.name, "bytes": len(data), "sha256": digest}
        writer.note("kiosk state set aside", details=details, by="edgehemo")
    return file


def _free_name(writer: Writer) -> Path:
    number = 1
    while (file := writer.folder.path / f"kiosk-state.set-aside-{number}.json").exists():
        number += 1
    return file
