"""What is in force on a device, and where each value came from."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.device.named_profiles import FALLBACK_PROFILE, profile_text
from edgehemo.device.toml_editing import written
from edgehemo.files.strict import Record, Text
from edgehemo_firmware.composing import Composed, Origin, leaves
from edgehemo_firmware.parts import lines_of

DEFAULT = "default"


class ShownValue(Record, frozen=True, kw_only=True):
    """A key of the device configuration. key: with its section. value: in force; None: none is set.
    origin: the part, the file, ``default``. place: file and line. instead_of: what was installed,
    where it was changed on the device since.
    """

    key: Text
    value: Any
    origin: Text
    place: str = ""
    instead_of: Any = None


class ShowOutput(Record, frozen=True, kw_only=True):
    """`edgehemo device show --json` and `edgehemo profile show --json`. file: the configuration;
    None of parts that are looked at. parts: it was made of. values: every key.
    """

    schema: Literal["edgehemo.device-show/1"] = "edgehemo.device-show/1"
    file: str | None = None
    parts: tuple[str, ...] = ()
    values: tuple[ShownValue, ...]


def values_of_parts(composed: Composed) -> tuple[ShownValue, ...]:
    """Every key of what parts make together."""
    return tuple(_shown(composed.device, composed.origins, {}, ""))


def values_in_force(text: str, file: str, origins: Mapping[str, Origin]) -> tuple[ShownValue, ...]:
    """Every key of a device's file. origins: of what was installed; empty where it was written by
    hand. Raises DeviceError for a file that is not valid.
    """
    device = DeviceConfiguration.parse(text, file)
    standing = dict(leaves(tomllib.loads(text)))
    own: dict[str, Origin] = {}
    lines = lines_of(text)
    for key, value in standing.items():
        known = origins.get(key)
        if known is not None and known.value == value:
            own[key] = known
        else:
            before = None if known is None else known.value
            line = lines.get(key, 0)
            own[key] = Origin(part=file, file=file, line=line, value=before)
    return tuple(_shown(device, own, standing, file))


def fallback_values() -> tuple[ShownValue, ...]:
    """Of a device that nothing configures."""
    name = f"profile {FALLBACK_PROFILE}"
    return values_in_force(profile_text(FALLBACK_PROFILE), name, {})


def shown_lines(values: tuple[ShownValue, ...]) -> Iterator[str]:
    """For people: each value and, behind it, where it came from."""
    texts = [f"{each.key} = {_as_text(each.value)}" for each in values]
    width = min(52, max(map(len, texts), default=0))
    for each, text in zip(values, texts, strict=True):
        whence = each.place or each.origin
        if each.instead_of is not None:
            whence = f"changed on the device ({each.place}), instead of {_as_text(each.instead_of)}"
        yield f"{text:<{width}}  # {whence}"


def calibration_of(device: DeviceConfiguration) -> str:
    """Which calibration profile is in force, in a line."""
    profile = device.paths.profile
    if profile is None:
        return "calibration profile: none; results are indices, no concentrations"
    there = "" if Path(profile).is_file() else ", which is not there"
    return f"calibration profile: {profile}{there}"


def _shown(
    device: DeviceConfiguration,
    origins: Mapping[str, Origin],
    standing: Mapping[str, Any],
    file: str,
) -> Iterator[ShownValue]:
    for key, value in leaves(device.model_dump()):
        found = origins.get(key)
        if found is None:
            yield ShownValue(key=key, value=value, origin=DEFAULT)
            continue
        changed = found.part == file and found.value is not None and found.value != value
        yield ShownValue(
            key=key,
            value=value,
            origin=found.part,
            place=str(found),
            instead_of=found.value if changed else None,
        )


def _as_text(value: Any) -> str:
    if value is None:
        return "(none)"
    if isinstance(value, list | tuple):
        if value and isinstance(value[0], Mapping):
            return f"{len(value)} of them: {', '.join(str(each.get('name')) for each in value)}"
        return f"[{', '.join(_as_text(each) for each in value)}]"
    return written(value)
