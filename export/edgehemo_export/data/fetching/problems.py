"""What may go wrong with a data set, told in one line."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from edgehemo.errors import EdgeHemoError

# No space, no quota, and a file system that holds no file of that size.
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class DataSetError(EdgeHemoError):
    """A data set that cannot be fetched, is damaged, or is not what was published."""


class NoSpaceError(DataSetError):
    """No space left for a data set."""


@contextlib.contextmanager
def space_watched(folder: Path, what: str) -> Iterator[None]:
    """Turns a full disk into NoSpaceError, which says what did not fit; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        raise NoSpaceError(
            f"{folder}: no space left for {what}; nothing half done was kept. Free some and call "
            "the same command again, or give another folder with --data"
        ) from None
