"""A person asks for messages to be sent again, also while another process writes the records."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Sequence

from edgehemo.errors import RecordsBusyError, RecordsError, RecordsFullError
from edgehemo.files.atomic import write_json_atomically
from edgehemo.interop.outbox import ask_again
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Store, Writer, told

log = logging.getLogger(__name__)

# Below the records' folder: what was asked of the sender that runs, a file each.
FOLDER = "asked"


def ask(store: Store, numbers: Sequence[int], *, by: str) -> list[int] | None:
    """Have messages sent now. Those that will be; None where another process writes the records
    and its sender was told to do it.
    """
    try:
        with store.writer(brief=True) as writer:
            return ask_again(writer, numbers, by=by, now_s=time.time())
    except RecordsBusyError:
        folder = store.folder.path / FOLDER
        with told():
            folder.mkdir(mode=0o700, exist_ok=True)
            content = {"numbers": list(numbers), "by": by}
            write_json_atomically(folder / f"{uuid.uuid4().hex}.json", content)
        return None


def is_asked(folder: RecordsFolder) -> bool:
    """Whether anything was asked."""
    place = folder.path / FOLDER
    return place.is_dir() and any(place.glob("*.json"))


def take_asked(writer: Writer, *, now_s: float) -> None:
    """Do what was asked of the sender."""
    for file in sorted((writer.folder.path / FOLDER).glob("*.json")):
        try:
            said = json.loads(file.read_bytes())
            ask_again(
                writer, [int(number) for number in said["numbers"]], by=str(said["by"]), now_s=now_s
            )
        except (RecordsBusyError, RecordsFullError):
            raise
        except (ValueError, KeyError, TypeError, RecordsError):
            log.warning("a request beside the records cannot be read and is left out")
        file.unlink()
