"""Training configurations: TOML over shipped defaults, every unknown or missing key refused."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from edgehemo.errors import UsageError

ConfigT = TypeVar("ConfigT", bound="Configuration")

CONFIGS = Path(__file__).with_name("configs")


class Configuration(BaseModel):
    """Base of every task's configuration; frozen, and nothing it does not know is let in."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read_configuration(
    kind: type[ConfigT],
    shipped: Path,
    override: Path | None = None,
    changes: Mapping[str, Any] | None = None,
) -> ConfigT:
    """The shipped configuration with single keys overridden by a TOML file, then by ``changes``.

    Tables are merged key by key. Raises UsageError naming every problem at once.
    """
    values = tomllib.loads(shipped.read_text(encoding="utf-8"))
    if override is not None:
        values = merged(values, _overriding(override))
    return configuration_from(kind, merged(values, changes or {}))


def _overriding(path: Path) -> dict[str, Any]:
    """What a file overrides; UsageError where it is no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: not a readable TOML configuration ({error})") from error


@dataclass(frozen=True)
class ValueInForce:
    """One value of a configuration. key: with its tables, such as ``loop.steps``. origin: a file's
    name, or `BUILT_IN` where no file says it.
    """

    key: str
    value: Any
    origin: str


BUILT_IN = "default"


def values_in_force(
    config: Configuration, shipped: Path, override: Path | None = None
) -> list[ValueInForce]:
    """Every value of a configuration that was read from these files, and which of them says it."""
    files: list[tuple[str, Mapping[str, Any]]] = []
    if override is not None:
        files.append((override.name, dict(_leaves(_overriding(override)))))
    files.append((shipped.name, dict(_leaves(tomllib.loads(shipped.read_text("utf-8"))))))
    return [
        ValueInForce(key, value, next((name for name, said in files if key in said), BUILT_IN))
        for key, value in _leaves(config.model_dump())
    ]


def _leaves(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Values below tables, by their keys with dots. An empty table is a value."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def configuration_from(kind: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
    """A configuration from plain values; UsageError names every unknown or unsound key."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in item['loc'])}: "
            + (_unknown(kind, item["loc"]) if item["type"] == _EXTRA else item["msg"].lower())
            for item in error.errors()
        )
        raise UsageError(f"training configuration: {problems}") from None


# What pydantic calls a key that a model does not have.
_EXTRA = "extra_forbidden"


def _unknown(kind: type[BaseModel], place: Sequence[int | str]) -> str:
    """What is said of a key that is not known, with the nearest that is."""
    table: type[BaseModel] | None = kind
    for part in place[:-1]:
        field = None if table is None else table.model_fields.get(str(part))
        inner = None if field is None else field.annotation
        table = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None
    known = sorted(table.model_fields) if table is not None else []
    near = difflib.get_close_matches(str(place[-1]), known, n=1)
    if near:
        return f"there is no such key; did you mean {near[0]}?"
    return f"there is no such key; there are {', '.join(known)}"


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the keys of ``over``; tables are merged, all else is replaced."""
    out = dict(base)
    for key, value in over.items():
        inner = out.get(key)
        if isinstance(value, Mapping) and isinstance(inner, Mapping):
            out[key] = merged(inner, value)
        else:
            out[key] = value
    return out
