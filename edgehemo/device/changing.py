"""Changes this device's configuration: read, set, checked whole and written under one lock."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from edgehemo.device.configuration import (
    DeviceConfiguration,
    configured_path,
    load_device,
    user_path,
)
from edgehemo.device.named_profiles import FALLBACK_PROFILE, profile_text
from edgehemo.device.toml_editing import Changes, lines_of, with_values
from edgehemo.errors import DeviceError
from edgehemo.files.atomic import write_text_atomically
from edgehemo.files.lock import locked

log = logging.getLogger(__name__)


class ReadOnlyError(DeviceError):
    """The configuration may not be written. file: which it is. wanted: the lines that would have
    been set.
    """

    def __init__(self, file: Path, wanted: list[str], why: str) -> None:
        super().__init__(
            f"{file}: may not be written ({why}); have whoever looks after the device write there: "
            + "; ".join(wanted)
        )
        self.file, self.wanted = file, tuple(wanted)


def change_device(changes: Changes) -> DeviceConfiguration:
    """Set keys of the configuration in force, and the configuration as it then is.

    A device that has no file of its own gets one in the user's folder. Raises DeviceError, and
    nothing is changed, with every problem at once, and ReadOnlyError where the file may not be
    written.
    """
    named = configured_path()
    file = user_path() if named is None else named
    try:
        with locked(file, DeviceError):
            there = file.exists()
            before = file.read_text("utf-8") if there else profile_text(FALLBACK_PROFILE)
            text = with_values(before, changes)
            device = DeviceConfiguration.parse(text, str(file))
            _refuse_unchanged(device, changes, file)
            write_text_atomically(file, text)
    except OSError as error:
        raise ReadOnlyError(file, lines_of(changes), error.strerror or str(error)) from None
    except DeviceError as error:
        # The lock lies beside the file, in a folder that may be as shut as the file itself.
        if "cannot be written" in str(error) and not isinstance(error, ReadOnlyError):
            raise ReadOnlyError(file, lines_of(changes), "its folder is shut") from None
        raise
    for section, values in changes.items():
        log.info("device configuration: %s of [%s] set", ", ".join(values), section)
    return load_device(file)


def _refuse_unchanged(device: DeviceConfiguration, changes: Changes, file: Path) -> None:
    """DeviceError where a key is written in a way that is not changed line by line."""
    whole: dict[str, Any] = device.model_dump()
    for section, values in changes.items():
        for key, value in values.items():
            if value is not None and whole[section][key] != value:
                raise DeviceError(
                    f"{file}: {section}.{key} stands in a form that is not changed here; write it "
                    f"as {key} = ... below [{section}]"
                )
