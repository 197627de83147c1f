"""Records read from files, strictly: unknown keys are refused, every value is checked, all frozen.

They stand on msgspec. pydantic is used wherever a command can wait for it; the manifest of a bundle
and the device configuration are read by every command, and there it took four times as long to
import. The methods have pydantic's names, so that code that handles both kinds reads the same.

Numbers are checked when a record is read and before it is written, not when code makes one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import msgspec


class Problem(NamedTuple):
    """One thing that is wrong. place: the keys down to it; unknown: there is no such key; given:
    the value there."""

    place: str
    message: str
    unknown: bool = False
    given: object = None


class RecordError(ValueError):
    """A record could not be made; ``problems`` are all that was found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(
            "; ".join(f"{p.place}: {p.message}" if p.place else p.message for p in problems)
        )


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the records.

    A subclass lists its fields as annotated attributes, limits by `msgspec.Meta`, and says
    ``frozen=True, kw_only=True`` again: msgspec does not pass on the one, mypy not the other. What
    must agree between fields it checks in ``__post_init__`` (ValueError).
    """

    @classmethod
    def model_validate(cls, value: object) -> Self:
        """From plain values; raises RecordError."""
        try:
            return msgspec.convert(value, cls)
        except msgspec.ValidationError:
            raise RecordError(_problems(cls, value)) from None

    def model_dump(self, *, exclude_none: bool = False) -> dict[str, Any]:
        """Plain values, as JSON holds them, by the keys of files."""
        values: dict[str, Any] = msgspec.to_builtins(self, enc_hook=plain_number)
        if exclude_none:
            return {key: value for key, value in values.items() if value is not None}
        return values

    def model_dump_json(self, *, indent: int = 0) -> str:
        """JSON text; RecordError where the record would not be read again."""
        raw = msgspec.json.encode(self.model_dump())
        # Of what is written, not of the values: NaN, which JSON has not, is written as null.
        self.model_validate(msgspec.json.decode(raw))
        return msgspec.json.format(raw, indent=indent).decode()

    def model_copy(self, *, update: Mapping[str, Any]) -> Self:
        """A copy with some fields replaced."""
        return msgspec.structs.replace(self, **update)


def keys_of(kind: type[Record]) -> list[str]:
    """The keys of all fields, as files have them."""
    return [item.encode_name for item in msgspec.structs.fields(kind)]


def _problems(kind: Any, value: object, place: str = "") -> list[Problem]:
    """Everything that is wrong with plain values: msgspec itself stops at the first.

    What must agree between the fields of a record is told once each of them is right by itself.
    """
    found: list[Problem] = []
    if isinstance(kind, type) and issubclass(kind, Record) and isinstance(value, Mapping):
        fields = {item.encode_name: item for item in msgspec.structs.fields(kind)}
        above = f"{place}." if place else ""
        for key, given in value.items():
            if key in fields:
                found += _problems(fields[key].type, given, f"{above}{key}")
            else:
                found.append(
                    Problem(f"{above}{key}", "is not a known key", unknown=True, given=given)
                )
        found += [
            Problem(f"{above}{key}", "is missing")
            for key, item in fields.items()
            if item.required and key not in value
        ]
    if not found:
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            found.append(_problem(place, error)._replace(given=value))
    return found


def _problem(place: str, error: msgspec.ValidationError) -> Problem:
    """An error of msgspec, whose message ends in the place below the one that was converted."""
    message, _, below = str(error).partition(" - at `$")
    return Problem(f"{place}{below.rstrip('`')}".lstrip("."), message)


def plain_number(value: Any) -> Any:
    """Numbers of numpy as Python's."""
    if hasattr(value, "item"):
        return value.item()
    # What msgspec asks a hook to say of a type it does not know.
    raise NotImplementedError(f"{type(value).__name__} is nothing that a file holds")
