"""Changes this device's configuration: read, set, checked whole and written under one lock."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from edgehemo.device.configuration import (
    DeviceConfiguration,
    configured_path,
    load_device,
    user_path,
)
from edgehemo.device.named_profiles import FALLBACK_PROFILE, profile_text
from edgehemo.device.receivers import Receiver
from edgehemo.device.toml_editing import Changes, Value, lines_of, with_values, written
from edgehemo.errors import DeviceError
from edgehemo.files.atomic import write_text_atomically
from edgehemo.files.lock import locked

log = logging.getLogger(__name__)

# Keys of a receiver that an enrolment settles.
_OF_ENROLMENT = ("kind", "address", "certificate", "client_certificate", "client_key")


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


@contextmanager
def _changing(file: Path, wanted: list[str]) -> Iterator[None]:
    """Hold the lock of a configuration; ReadOnlyError with the lines to write where it is shut."""
    try:
        with locked(file, DeviceError):
            yield
    except OSError as error:
        raise ReadOnlyError(file, wanted, error.strerror or str(error)) from None
    except DeviceError as error:
        # The lock lies beside the file, in a folder that may be as shut as the file itself.
        if "cannot be written" in str(error) and not isinstance(error, ReadOnlyError):
            raise ReadOnlyError(file, wanted, "its folder is shut") from None
        raise


def change_device(changes: Changes) -> DeviceConfiguration:
    """Set keys of the configuration in force, and the configuration as it then is.

    A device that has no file of its own gets one in the user's folder. Raises DeviceError, and
    nothing is changed, with every problem at once, and ReadOnlyError where the file may not be
    written.
    """
    named = configured_path()
    file = user_path() if named is None else named
    with _changing(file, lines_of(changes)):
        there = file.exists()
        before = file.read_text("utf-8") if there else profile_text(FALLBACK_PROFILE)
        text = with_values(before, changes)
        device = DeviceConfiguration.parse(text, str(file))
        _refuse_unchanged(device, changes, file)
        write_text_atomically(file, text)
    for section, values in changes.items():
        log.info("device configuration: %s of [%s] set", ", ".join(values), section)
    return load_device(file)


def change_receiver(name: str, values: Mapping[str, Value]) -> DeviceConfiguration:
    """Set keys of a receiver that stands in the configuration, and the configuration as it then
    is. DeviceError where there is none of that name, or it stands in a form that is not changed
    line by line; ReadOnlyError where the file may not be written. Nothing is changed then.
    """
    named = configured_path()
    file = user_path() if named is None else named
    lines = [f"{key} = {written(value)}" for key, value in values.items() if value is not None]
    with _changing(file, lines):
        before = file.read_text("utf-8")
        text = _with_receiver(before, name, values)
        device = DeviceConfiguration.parse(text, str(file))
        found = next((each for each in device.receivers if each.name == name), None)
        if found is None or any(
            value is not None and getattr(found, key) != value for key, value in values.items()
        ):
            raise DeviceError(
                f"{file}: the receiver {name} stands in a form that is not changed here; "
                f"write there {'; '.join(lines)}"
            )
        write_text_atomically(file, text)
    log.info("device configuration: %s of a receiver set", ", ".join(values))
    return load_device(file)


def _with_receiver(text: str, name: str, values: Mapping[str, Value]) -> str:
    """A configuration's text in which one receiver has these keys, each below its name."""
    named = re.compile(rf"^\s*name\s*=\s*[\"']{re.escape(name)}[\"']\s*(#.*)?$")
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.lstrip().startswith("["):
            blocks.append([])
        blocks[-1].append(line)
    keys = re.compile(rf"^\s*({'|'.join(re.escape(key) for key in values)})\s*=")
    out: list[str] = []
    for block in blocks:
        head = block[0].split("#")[0].strip() if block else ""
        at = next((i for i, line in enumerate(block) if named.match(line)), None)
        if head == "[[receivers]]" and at is not None:
            new = [f"{key} = {written(each)}" for key, each in values.items() if each is not None]
            kept = [line for line in block if not keys.match(line)]
            at = next(i for i, line in enumerate(kept) if named.match(line))
            block = [*kept[: at + 1], *new, *kept[at + 1 :]]
        out += block
    return "\n".join(out) + "\n"


def add_receiver(receiver: Receiver) -> DeviceConfiguration:
    """Name a receiver in the configuration in force, and the configuration as it then is.

    One of its name that stands there already gets the keys that it lacks, such as the files that
    came with an enrolment; DeviceError names those that say otherwise. ReadOnlyError where the file
    may not be written.
    """
    named = configured_path()
    file = user_path() if named is None else named
    lines = _receiver_lines(receiver)
    with _changing(file, lines):
        before = file.read_text("utf-8") if file.exists() else profile_text(FALLBACK_PROFILE)
        device = DeviceConfiguration.parse(before, str(file))
        known = next((each for each in device.receivers if each.name == receiver.name), None)
        if known is None:
            text = before.rstrip("\n") + "\n\n" + "\n".join(lines) + "\n"
        else:
            _refuse_another(known, receiver, file)
            text = _completed(before, known, lines)
        device = DeviceConfiguration.parse(text, str(file))
        if receiver.name not in (each.name for each in device.receivers) or any(
            getattr(each, key) != getattr(receiver, key)
            for each in device.receivers
            if each.name == receiver.name
            for key in _OF_ENROLMENT
        ):
            raise DeviceError(
                f"{file}: the receiver {receiver.name} stands in a form that is not changed "
                f"here; write it as {'; '.join(lines)}"
            )
        write_text_atomically(file, text)
    log.info("device configuration: a receiver was added")
    return device


def _receiver_lines(receiver: Receiver) -> list[str]:
    """As a person would write it: without what is as by default."""
    values = receiver.model_dump(exclude_none=True)
    kept = {
        item.encode_name: values[item.encode_name]
        for item in msgspec.structs.fields(Receiver)
        if values.get(item.encode_name, item.default) != item.default
    }
    return ["[[receivers]]", *(f"{key} = {written(value)}" for key, value in kept.items())]


def _completed(text: str, known: Receiver, lines: Sequence[str]) -> str:
    """A configuration's text in which a receiver that stands there has the lines that it lacks,
    below its name.
    """
    there = known.model_dump(exclude_none=True)
    wanted = [
        line
        for line in lines[1:]
        if ((key := line.partition(" = ")[0]) in _OF_ENROLMENT and key not in there)
        or (key == "identified" and known.identified)
    ]
    named = re.compile(rf"^\s*name\s*=\s*[\"']{re.escape(known.name)}[\"']\s*(#.*)?$")
    out: list[str] = []
    table = ""
    for line in text.splitlines():
        if line.lstrip().startswith("["):
            table = line.split("#")[0].strip()
        out.append(line)
        if table == "[[receivers]]" and named.match(line):
            out += wanted
            wanted = []
    return "\n".join(out) + "\n"


def _refuse_another(known: Receiver, receiver: Receiver, file: Path) -> None:
    differing = [
        key for key in _OF_ENROLMENT if getattr(known, key) not in (None, getattr(receiver, key))
    ]
    if differing:
        raise DeviceError(
            f"{file}: the receiver {receiver.name} stands there with another "
            f"{', '.join(differing)}; take it out, or give the new one another name"
        )


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
