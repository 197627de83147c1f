"""What was fetched into a data root: a file beside the sets, by which they are verified ever after.

Where the registry has no digest of a file, what came first is trusted and its digest is written
down here; a later fetch that brings something else is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from edgehemo.files.atomic import write_text_atomically
from edgehemo.files.strict import Count, Moment, Record, RecordError, Sha256, Text
from edgehemo_export.data.fetching.problems import DataSetError

LOCK_FILE = "edgehemo-data.lock.json"
LOCK_SCHEMA = "edgehemo.data-lock/1"


class FetchedSet(Record, frozen=True, kw_only=True):
    """One folder of a data root as it was unpacked.

    release: its name in the registry. source: address or file it came from. archive_sha256: of the
    archive, for the record: hosts pack anew. licence: as it was shown and accepted. files: SHA-256
    by path below the folder.
    """

    release: Text
    source: Text
    archive_sha256: Sha256
    fetched_at: Moment
    licence: Text
    files: dict[str, Sha256]


class DataLock(Record, frozen=True, kw_only=True):
    """Every set that was fetched into a data root, by the name of its folder."""

    schema: Literal["edgehemo.data-lock/1"] = "edgehemo.data-lock/1"
    sets: dict[str, FetchedSet]


class Differences(Record, frozen=True, kw_only=True):
    """Of a folder against what was written down: paths that lack, that are other, and how many
    hold.
    """

    missing: list[str]
    changed: list[str]
    same: Count

    @property
    def any(self) -> bool:
        """Whether something is not as it was."""
        return bool(self.missing or self.changed)


def read_lock(root: Path) -> DataLock:
    """What was fetched into a data root; nothing where the file is not there. DataSetError where it
    is none.
    """
    file = root / LOCK_FILE
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        return DataLock(sets={})
    except OSError as error:
        raise DataSetError(f"{file}: cannot be read ({error.strerror})") from None
    try:
        return DataLock.model_validate(msgspec.json.decode(raw))
    except (RecordError, msgspec.DecodeError) as error:
        raise DataSetError(
            f"{file}: not a record of {LOCK_SCHEMA} ({error}). Put it back from a copy, or move it "
            "away together with the sets it tells of"
        ) from None


def write_lock(root: Path, lock: DataLock) -> None:
    """Write it, whole or not at all."""
    write_text_atomically(root / LOCK_FILE, lock.model_dump_json(indent=1) + "\n")


def with_set(lock: DataLock, name: str, fetched: FetchedSet) -> DataLock:
    """A lock with one set more, or anew."""
    return lock.model_copy(update={"sets": {**lock.sets, name: fetched}})


def differences(expected: Mapping[str, str], found: Mapping[str, str]) -> Differences:
    """Digests against those that must be there; more files than these are no difference."""
    missing = sorted(path for path in expected if path not in found)
    changed = sorted(path for path, digest in expected.items() if found.get(path, digest) != digest)
    return Differences(
        missing=missing, changed=changed, same=len(expected) - len(missing) - len(changed)
    )


def told(paths: list[str], most: int = 3) -> str:
    """The first of some paths, and how many more there are."""
    more = len(paths) - most
    return ", ".join(paths[:most]) + (f" and {more} more" if more > 0 else "")
