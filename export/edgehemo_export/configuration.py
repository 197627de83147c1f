"""Training configurations: TOML over shipped defaults, every unknown or missing key refused."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
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
        try:
            own = tomllib.loads(override.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise UsageError(f"{override}: not a readable TOML configuration ({error})") from error
        values = merged(values, own)
    return configuration_from(kind, merged(values, changes or {}))


def configuration_from(kind: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
    """A configuration from plain values; UsageError names every unknown or unsound key."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in item['loc'])}: {item['msg'].lower()}"
            for item in error.errors()
        )
        raise UsageError(f"training configuration: {problems}") from None


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
