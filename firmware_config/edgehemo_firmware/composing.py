"""Lays the parts of a device over one another: one device configuration, each value's origin kept.

What a person changed on the device since it was installed stays when it is installed again: of each
key three values are known, the one that was installed, the one that stands there, the one that the
parts give now.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgehemo.device.configuration import DEVICE_SCHEMA, DeviceConfiguration
from edgehemo.device.toml_editing import written
from edgehemo.errors import DeviceError
from edgehemo.files.strict import Record, RecordError
from edgehemo_firmware.parts import Part, SystemSection

# What a value given with --set comes from.
COMMAND_LINE = "--set"
HEADER = """\
# The configuration of this device, made by `edgehemo device install` from its parts; the kiosk and
# `edgehemo bench` change single values. `edgehemo device show` says where each comes from.
"""


class Origin(Record, frozen=True, kw_only=True):
    """Where a value came from. part: name of the part. file, line: where it stands there; line 0:
    no line of a file. value: what was installed.
    """

    part: str
    file: str
    line: int = 0
    value: Any = None

    def __str__(self) -> str:
        return f"{self.file} line {self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Composed:
    """What the parts of a device make together. settings: ``key=value`` over all of them. values:
    of the configuration, by section. origins: dotted key -> where its value came from.
    """

    parts: tuple[Part, ...]
    settings: tuple[str, ...]
    values: Mapping[str, Any]
    origins: Mapping[str, Origin]
    system: SystemSection
    device: DeviceConfiguration

    @property
    def text(self) -> str:
        """The configuration as a file."""
        return HEADER + "\n" + toml_text(self.values)


def compose(parts: Sequence[Part], settings: Sequence[str] = ()) -> Composed:
    """One configuration of all parts, later ones over earlier ones, and ``key=value`` over all.

    Raises DeviceError with every problem of the whole, each with the file and line it comes from.
    """
    values: dict[str, Any] = {"schema": DEVICE_SCHEMA}
    origins: dict[str, Origin] = {}
    problems: list[str] = []
    for part in parts:
        for key, value in leaves(part.content.device):
            _put(values, key, value)
            line = part.lines.get(key, 0)
            origins[key] = Origin(part=part.name, file=part.origin, line=line, value=value)
    for setting in settings:
        try:
            key, value = parsed_setting(setting)
        except DeviceError as error:
            problems.append(str(error))
            continue
        _put(values, key, value)
        origins[key] = Origin(part=COMMAND_LINE, file=COMMAND_LINE, value=value)
    if not any(part.content.kind == "board" for part in parts):
        problems.append("no board is among the parts: name one, such as raspberry_pi_5")
    device = None
    try:
        device = DeviceConfiguration.model_validate(values)
    except RecordError as error:
        problems += [
            f"{_origin_of(problem.place, origins)}: {problem.place}: {problem.message}"
            + ("" if problem.given is None or problem.unknown else f", not {problem.given!r}")
            for problem in error.problems
            # What a board would have said; that it is missing is told.
            if problem.place not in ("name", "board") or origins
        ]
    if problems or device is None:
        raise DeviceError("\n".join(problems))
    return Composed(tuple(parts), tuple(settings), values, origins, _system_of(parts), device)


def parsed_setting(text: str) -> tuple[str, Any]:
    """Key and value of ``kiosk.language=fr``; what is no TOML value is taken for text."""
    key, equals, given = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise DeviceError(f"--set {text}: write it as SECTION.KEY=VALUE, such as kiosk.language=fr")
    try:
        return key, tomllib.loads(f"value = {given}")["value"]
    except tomllib.TOMLDecodeError:
        return key, given.strip()


def leaves(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of everything that is no table; a list is one value."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def kept_changes(installed: Mapping[str, Origin], standing: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted key -> value of what was changed on the device since it was installed.

    A key that was taken out is there with None. standing: the values of its file.
    """
    now = dict(leaves(standing))
    now.pop("schema", None)
    changed = {
        key: value
        for key, value in now.items()
        if key not in installed or installed[key].value != value
    }
    return changed | {key: None for key in installed if key not in now}


def with_changes(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The values with these over them; None takes a key out."""
    result = {key: dict(v) if isinstance(v, Mapping) else v for key, v in values.items()}
    for key, value in changes.items():
        _put(result, key, value)
    return result


def toml_text(values: Mapping[str, Any]) -> str:
    """Values of a device configuration as TOML."""
    lines = [f"{key} = {_value(value)}" for key, value in values.items() if not _is_table(value)]
    for key, value in values.items():
        if isinstance(value, Mapping):
            if value:
                lines += ["", f"[{key}]", *(f"{name} = {_value(v)}" for name, v in value.items())]
        elif _is_table(value):
            for each in value:
                lines += ["", f"[[{key}]]", *(f"{name} = {_value(v)}" for name, v in each.items())]
    return "\n".join(lines) + "\n"


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list | tuple) and bool(value) and isinstance(value[0], Mapping)
    )


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(each) for each in value)}]"
    return written(value)


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, name = key.split(".")
    place = values
    for section in sections:
        below = place.get(section)
        if not isinstance(below, dict):
            below = place[section] = {}
        place = below
    if value is None:
        place.pop(name, None)
    else:
        place[name] = value


def _origin_of(place: str, origins: Mapping[str, Origin]) -> str:
    """Where a value with a problem stands; of a list the list, of a table what lies in it."""
    key = place.partition("[")[0]
    found = origins.get(key)
    if found is None:
        found = next((each for name, each in origins.items() if name.startswith(f"{key}.")), None)
    return "the parts together" if found is None else str(found)


def _system_of(parts: Sequence[Part]) -> SystemSection:
    told = [part.content.system for part in parts]
    screens = [each.screen for each in told if each.screen is not None]
    return SystemSection(
        config_txt=tuple(dict.fromkeys(line for each in told for line in each.config_txt)),
        packages=tuple(dict.fromkeys(name for each in told for name in each.packages)),
        # A board without room for a browser has none, whatever screen is plugged in.
        screen=all(screens) if screens else None,
    )
