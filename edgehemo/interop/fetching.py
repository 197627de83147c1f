"""A publication is fetched from a laboratory, in parts, and goes on where it was broken off.

What comes is written beside its place and has its name only once it is whole and has its digest.
The room for it is looked at first: the records never lack space for what is fetched.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.errors import PublicationError
from edgehemo.files.atomic import flush_folder, sha256_of_file
from edgehemo.interop.laboratory import MAX_PUBLISHED_BYTES, PART_BYTES, PUBLISHED_PATH
from edgehemo.interop.receivers.https import HttpAnswer
from edgehemo.interop.states import Failed
from edgehemo.published.state import Published, PublishedStore
from edgehemo.records.policy import free_mb

log = logging.getLogger(__name__)

# Of a bundle: the file, what it is unpacked to for the test, and the bundle in the store.
ROOM_FACTOR = 4
_MB = 1_000_000


class Road(Protocol):
    """A way to a laboratory, such as `edgehemo.interop.receivers.https.HttpRoad`."""

    def send(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str]
    ) -> HttpAnswer | Failed:
        """Ask and read the whole answer."""
        ...


class FetchStopped(Exception):  # noqa: N818  not an error: it goes on later
    """It goes on with another visit; the message says why it stopped."""


def fetch(
    road: Road,
    address: str,
    item: Published,
    store: PublishedStore,
    device: DeviceConfiguration,
    go_on: Callable[[], bool] = lambda: True,
) -> Path:
    """Fetch a publication, or what is left of it; where it then lies, whole.

    go_on: asked before each part; false where a sample is screened. Raises FetchStopped where it
    goes on with another visit, PublicationError where what came is not what was offered.
    """
    target, part = store.file(item.sha256), store.part(item.sha256)
    if target.is_file() and sha256_of_file(target) == item.sha256:
        return target
    if item.bytes > MAX_PUBLISHED_BYTES:
        raise PublicationError(f"{item.name}: is too large to be fetched")
    try:
        store.path.mkdir(parents=True, exist_ok=True)
        _come(
            road, f"{address.rstrip('/')}{PUBLISHED_PATH}/{item.sha256}", item, part, device, go_on
        )
        return _named(item, part, target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            # The records need the space more than the beginning of a file.
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise FetchStopped("there is no space left on this device") from None
        raise FetchStopped(f"{part}: {error.strerror or error}") from None


def _come(
    road: Road,
    url: str,
    item: Published,
    part: Path,
    device: DeviceConfiguration,
    go_on: Callable[[], bool],
) -> None:
    """Have the part file grow to its size."""
    at = part.stat().st_size if part.exists() else 0
    if at > item.bytes:
        part.unlink()
        at = 0
    if at:
        log.info("%s is fetched from byte %d on", item.called, at)
    while at < item.bytes:
        if not go_on():
            raise FetchStopped("a sample is screened; it goes on afterwards")
        _refuse_too_little(item, at, device)
        until = min(at + PART_BYTES, item.bytes)
        answer = road.send("GET", url, b"", {"range": f"bytes={at}-{until - 1}"})
        if isinstance(answer, Failed):
            raise FetchStopped(f"{answer.code}: {answer.said}")
        if answer.status in (403, 404, 410):
            raise FetchStopped("the laboratory does not offer it any more")
        if answer.status != 206 or len(answer.content) != until - at:
            raise FetchStopped(f"the laboratory answered HTTP {answer.status} to a part of it")
        with part.open("ab") as file:
            file.write(answer.content)
            file.flush()
            os.fsync(file.fileno())
        at = until


def _refuse_too_little(item: Published, at: int, device: DeviceConfiguration) -> None:
    needed_mb = (ROOM_FACTOR * item.bytes - at) / _MB + device.records.warn_below_mb
    free = free_mb(device.data_dir)
    if free < needed_mb:
        raise FetchStopped(
            f"{free:.0f} MB are free and {needed_mb:.0f} MB are needed: back up and free space"
        )


def _named(item: Published, part: Path, target: Path) -> Path:
    with part.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != item.sha256:
            part.unlink()
            raise PublicationError(
                f"{item.name}: what came is not what was offered (its digest differs)"
            )
    part.replace(target)
    flush_folder(target.parent)
    return target
