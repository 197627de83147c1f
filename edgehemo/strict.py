"""Records read from files, strictly: unknown keys are refused, every value is checked, all frozen.

They stand on msgspec. pydantic is used wherever a command can wait for it; the manifest of a bundle
and the device configuration are read by every command, and there it took four times as long to
import. The methods have pydantic's names, so that code that handles both kinds reads the same.

Numbers are checked when a record is read and before it is written, not when code makes one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
        except msgspec.ValidationError as error:
            raise RecordError([*_problems(cls, value)] or [_problem("", error)]) from None

    def model_dump(self, *, exclude_none: bool = False) -> dict[str, Any]:
        """Plain values, as JSON holds them, by the keys of files."""
        values: dict[str, Any] = msgspec.to_builtins(self, enc_hook=_plain_number)
        if exclude_none:
            return {key: value for key, value in values.items() if value is not None}
        return values

    def model_dump_json(self, *, indent: int = 0) -> str:
        """JSON text; RecordError where the record would not be read again."""
        values = self.model_dump()
        self.model_validate(values)
        return msgspec.json.format(msgspec.json.encode(values), indent=indent).decode()

    def model_copy(self, *, update: Mapping[str, Any]) -> Self:
        """A copy with some fields replaced."""
        return msgspec.structs.replace(self, **update)


def keys_of(kind: type[Record]) -> list[str]:
    """The keys of all fields, as files have them."""
    return [item.encode_name for item in msgspec.structs.fields(kind)]


def _problems(kind: type[Record], value: object, above: str = "") -> Iterator[Problem]:
    """Everything that is wrong with plain values: msgspec itself stops at the first."""
    if not isinstance(value, Mapping):
        return
    fields = {item.encode_name: item for item in msgspec.structs.fields(kind)}
    right: dict[str, Any] = {}
    for key, given in value.items():
        place = f"{above}{key}"
        if key not in fields:
            yield Problem(place, "is no known key", unknown=True, given=given)
            continue
        wanted = fields[key].type
        within: list[Problem] = []
        if isinstance(wanted, type) and issubclass(wanted, Record):
            within = [*_problems(wanted, given, f"{place}.")]
        found = within or [*_wrong(wanted, given, place)]
        yield from found
        if not found:
            right[fields[key].name] = msgspec.convert(given, wanted)
    missing = [key for key, item in fields.items() if item.required and key not in value]
    for key in missing:
        yield Problem(f"{above}{key}", "is missing")
    if any(item.required and item.name not in right for item in fields.values()):
        return
    try:
        kind(**right)
    except ValueError as error:
        yield Problem(above.rstrip("."), str(error))


def _wrong(wanted: Any, given: object, place: str) -> Iterator[Problem]:
    try:
        msgspec.convert(given, wanted)
    except msgspec.ValidationError as error:
        yield _problem(place, error)._replace(given=given)


def _problem(place: str, error: msgspec.ValidationError) -> Problem:
    """An error of msgspec, whose message ends in the place below the one that was converted."""
    message, _, below = str(error).partition(" - at `$")
    return Problem(f"{place}{below.rstrip('`')}".lstrip("."), message)


def _plain_number(value: Any) -> Any:
    """Numbers of numpy as Python's."""
    if hasattr(value, "item"):
        return value.item()
    raise NotImplementedError(f"{type(value).__name__} is nothing that a file holds")
