"""One writer at a time over a file that is read, changed and written again."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from edgehemo.errors import EdgeHemoError, ProfileError

log = logging.getLogger(__name__)


@contextlib.contextmanager
def locked(path: Path, refused: type[EdgeHemoError] = ProfileError) -> Iterator[None]:
    """Hold the lock of a file from before it is read until it is written; wait for another's.

    Else what another has written in between would be lost. The lock is a hidden file beside it; the
    system lets go of it when its process ends, however it ends. Raises ``refused`` where none can
    be made.
    """
    path = Path(os.path.realpath(path))
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise refused(f"{path}: cannot be written: {error.strerror or error}") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("another edgehemo is changing the same file; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
