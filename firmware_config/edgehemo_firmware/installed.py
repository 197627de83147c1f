"""What was installed on a device: every file with its digest, to be told and removed."""

from __future__ import annotations

import json
from typing import Literal

import msgspec

from edgehemo.errors import DeviceError
from edgehemo.files.strict import Record, RecordError, Sha256, Text
from edgehemo_firmware import layout
from edgehemo_firmware.composing import Origin
from edgehemo_firmware.target import Target

INSTALLED_SCHEMA: Literal["edgehemo.installed/1"] = "edgehemo.installed/1"
# So much of what is wrong with a list is told; it is no file that a person writes.
_TOLD = 2
EntryKind = Literal["file", "link", "lines"]


class Entry(Record, frozen=True, kw_only=True):
    """Something that was written. kind: a file, a link, or lines of ours in a file of others.
    sha256: of the file, of where the link leads, of the lines. before: likewise, what may stand
    there still while it is being written; none when the installation had its end.
    """

    path: Text
    kind: EntryKind
    sha256: Sha256
    before: tuple[Sha256, ...] = ()

    @property
    def ours(self) -> tuple[str, ...]:
        """Digests of what we wrote there; anything else was written by somebody else."""
        return (self.sha256, *self.before)


class Choices(Record, frozen=True, kw_only=True):
    """How a device was asked to be. parts, settings: of its configuration. data_label: of the data
    partition; None where the data lie on the system's own. read_only: the system is read-only.
    screen: a browser shows the page on the device's own screen. ssh: the firewall lets SSH in.
    network_time: the clock is set from the network.
    """

    parts: tuple[str, ...]
    settings: tuple[str, ...] = ()
    data_label: str | None = None
    read_only: bool = False
    screen: bool = True
    ssh: bool = False
    network_time: bool = False


class Installed(Record, frozen=True, kw_only=True):
    """version: of the installer. choices: how the device was asked to be. entries: what was
    written. origins: dotted key of the configuration -> where its value came from. packages: of the
    distribution, which were installed for this.
    """

    schema: Literal["edgehemo.installed/1"] = INSTALLED_SCHEMA
    version: Text
    choices: Choices
    entries: tuple[Entry, ...] = ()
    origins: dict[str, Origin] = msgspec.field(default_factory=dict)
    packages: tuple[str, ...] = ()

    def entry(self, path: str) -> Entry | None:
        """What is known of a path."""
        return next((each for each in self.entries if each.path == path), None)

    @property
    def text(self) -> str:
        """As a file."""
        return self.model_dump_json(indent=1) + "\n"


def read_installed(target: Target) -> Installed | None:
    """What was installed there; None where nothing was. Raises DeviceError."""
    data = target.read(layout.MANIFEST)
    if data is None:
        return None
    try:
        return Installed.model_validate(json.loads(data))
    except RecordError as error:
        why = "; ".join(f"{place}: {message}" for place, message, *_ in error.problems[:_TOLD])
    except ValueError as error:
        why = str(error)
    raise DeviceError(
        f"{layout.MANIFEST}: cannot be read ({why}); move it away and install again. What stands "
        "there otherwise than it would be written is then kept and named; --restore overwrites it"
    )
