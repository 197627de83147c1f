"""The numbered SQL of each engine."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

from edgehemo_laboratory.errors import StorageError
from edgehemo_laboratory.storage.interface import Engine

_FILE = re.compile(r"(\d{4})_\w+\.sql")


@cache
def migrations(engine: Engine) -> tuple[str, ...]:
    """The SQL of every migration; the first makes version 1 of an empty storage, and so on."""
    found = {
        int(match[1]): item
        for item in resources.files(f"edgehemo_laboratory.storage.migrations.{engine}").iterdir()
        if (match := _FILE.fullmatch(item.name))
    }
    return tuple(found[number].read_text("utf-8") for number in range(1, len(found) + 1))


def missing(engine: Engine, version: int) -> list[tuple[int, str]]:
    """The migrations that bring a storage of a version to the newest, with their numbers.

    StorageError for a version that this software does not know.
    """
    known = migrations(engine)
    if version > len(known):
        raise StorageError(
            f"the laboratory's storage is of version {version} and this software knows "
            f"{len(known)}: update edgehemo here"
        )
    return [(number, known[number - 1]) for number in range(version + 1, len(known) + 1)]
