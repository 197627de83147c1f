"""The JSON of the commands that make media and change versions."""

from __future__ import annotations

from typing import Literal

from edgehemo.files.strict import Count, Record


class MediaEntry(Record, frozen=True, kw_only=True):
    """Media that were made. files, bytes: of all they hold. key: identifier of who signed them."""

    folder: str
    version: str
    target: str
    files: Count
    bytes: Count
    key: str


class DeviceMediaOutput(Record, frozen=True, kw_only=True):
    """What `edgehemo device media` made, one entry a target."""

    schema: Literal["edgehemo.device-media/1"] = "edgehemo.device-media/1"
    media: tuple[MediaEntry, ...]


class DeviceVersionOutput(Record, frozen=True, kw_only=True):
    """What `update`, `confirm` and `rollback` came to. version: that runs from now on; reason: of a
    fall-back.
    """

    schema: Literal["edgehemo.device-version/1"] = "edgehemo.device-version/1"
    outcome: Literal["on trial", "in force", "already in force", "fell back", "nothing to do"]
    version: str
    reason: str
