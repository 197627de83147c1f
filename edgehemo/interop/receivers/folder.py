"""A folder that somebody else reads, or a USB stick: one file a version, whole or not at all.

A file is called by the result, its version and its identity, so that the same message has the same
name for ever. It is read back before it counts as delivered.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

from edgehemo.device.receivers import Receiver
from edgehemo.errors import RecordsError
from edgehemo.files.atomic import sha256_of_file, write_bytes_atomically
from edgehemo.interop.receivers.door import Kiosk, Parcel, one_by_one
from edgehemo.interop.states import Answer, Failed, Stored
from edgehemo.records.backup import stick

_LABEL = "label:"
# Below the stick's own top, so that what else lies there is not mixed up with results.
_ON_STICK = "edgehemo-results"
_FULL = (errno.ENOSPC, errno.EDQUOT)


class FolderDoor:
    """One folder."""

    def __init__(self, receiver: Receiver, kiosk: Kiosk) -> None:
        self._address = receiver.address
        self._kiosk = kiosk

    def send(self, parcels: Sequence[Parcel]) -> list[Answer]:
        return one_by_one(self._written, parcels)

    def _written(self, parcel: Parcel) -> Answer:
        try:
            target = self._folder() / file_name(parcel)
            write_bytes_atomically(target, parcel.body)
            if sha256_of_file(target) != parcel.sha256:
                return Failed("FOLDER_UNWRITABLE", "what was read back is not what was written")
        except RecordsError as error:
            return Failed("FOLDER_ABSENT", str(error))
        except FileNotFoundError as error:
            return Failed("FOLDER_ABSENT", f"{error.filename}: is not there")
        except OSError as error:
            words = f"{error.filename or self._address}: {error.strerror or error}"
            return Failed("FOLDER_FULL" if error.errno in _FULL else "FOLDER_UNWRITABLE", words)
        return Stored(target.name)

    def _folder(self) -> Path:
        """Where the files go. A configured folder must be there: an unplugged disk's mount point
        is an empty folder of this device, and is made by nobody here.
        """
        if self._address.startswith(_LABEL):
            return stick(self._address.removeprefix(_LABEL)) / _ON_STICK / self._kiosk.store[:12]
        folder = Path(self._address).expanduser()
        if not folder.is_dir():
            raise FileNotFoundError(errno.ENOENT, "is not there", str(folder))
        return folder

    def missing(self) -> Sequence[tuple[int, int]]:
        return ()

    def close(self) -> None:
        """Nothing is kept open."""


def file_name(parcel: Parcel) -> str:
    """What the file of a message is called: the same each time."""
    return f"{parcel.result_id}-v{parcel.version}-{parcel.sha256[:12]}{parcel.suffix}"
