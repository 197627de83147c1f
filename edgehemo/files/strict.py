"""Records of the files a device reads or writes: strict, frozen, of one kind.

Unknown keys are refused, every value is checked, and no number is infinite or NaN. They stand on
msgspec. The methods have pydantic's names, which the workstation's own files go by.

Numbers are checked when a record is read and before it is written, not when code makes one. A
command's JSON is a record as well; it is only written (`edgehemo.commands.common.write_json`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Self, Union, get_args, get_origin

import msgspec
from msgspec import Meta

# Types of fields that many records have.
Text = Annotated[str, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
# A date that knows its time zone.
Moment = Annotated[datetime, Meta(tz=True)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Problem(NamedTuple):
    """One thing that is wrong. place: the keys down to it; unknown: there is no such key; given:
    the value there.
    """

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
    must agree between fields, or within one, it checks in ``__post_init__``: ValueError, or
    RecordError with the places below it. A record that is a whole file has the field ``schema``.
    """

    @classmethod
    def model_validate(cls, value: object) -> Self:
        """From plain values; raises RecordError with all that is wrong."""
        try:
            record = msgspec.convert(value, cls)
        except msgspec.ValidationError:
            found = _problems(cls, value)
            told = {problem.place for problem in found}
            found += [problem for problem in _not_finite(value) if problem.place not in told]
            raise RecordError(found) from None
        if problems := _not_finite(value):
            raise RecordError(problems)
        return record

    def model_dump(self, *, exclude_none: bool = False) -> dict[str, Any]:
        """Plain values, as JSON holds them, by the keys of files."""
        values: dict[str, Any] = _lists(msgspec.to_builtins(self, enc_hook=plain_number))
        if exclude_none:
            return {key: value for key, value in values.items() if value is not None}
        return values

    def model_dump_json(self, *, indent: int = 0) -> str:
        """JSON text; RecordError where the record would not be read again."""
        values = self.model_dump()
        self.model_validate(values)
        return msgspec.json.format(msgspec.json.encode(values), indent=indent).decode()

    def checked(self) -> Self:
        """As it will be read again: every value checked and of its field's type (an int that code
        gave for a float is one). Raises RecordError.
        """
        return self.model_validate(self.model_dump())

    def model_copy(self, *, update: Mapping[str, Any]) -> Self:
        """A copy with some fields replaced."""
        return msgspec.structs.replace(self, **update)


def keys_of(kind: type[Record]) -> list[str]:
    """The keys of all fields, as files have them."""
    return [item.encode_name for item in msgspec.structs.fields(kind)]


def _problems(kind: Any, value: object, place: str = "") -> list[Problem]:
    """Everything that is wrong with plain values: msgspec itself stops at the first.

    What must agree between the fields of a record is told once each of them is right by itself;
    of a row of numbers the first that is wrong is told.
    """
    found: list[Problem] = []
    record = _record_of(kind)
    if record is not None and isinstance(value, Mapping):
        fields = {item.encode_name: item for item in msgspec.structs.fields(record)}
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
    elif (item := _item_of(kind)) is not None:
        if isinstance(value, list | tuple):
            for number, given in enumerate(value):
                found += _problems(item, given, f"{place}[{number}]")
        elif isinstance(value, Mapping):
            for key, given in value.items():
                found += _problems(item, given, f"{place}.{key}")
    if not found:
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            found += _told(place, error, value)
    return found


def _bare(kind: Any) -> Any:
    """A type without its limits and without None beside it."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, UnionType):
        others = [part for part in get_args(kind) if part is not NoneType]
        return _bare(others[0]) if len(others) == 1 else kind
    return kind


def _record_of(kind: Any) -> type[Record] | None:
    kind = _bare(kind)
    return kind if isinstance(kind, type) and issubclass(kind, Record) else None


def _item_of(kind: Any) -> Any:
    """The records that a list, tuple or mapping holds; None for any other type."""
    arguments = [part for part in get_args(_bare(kind)) if part is not Ellipsis]
    return arguments[-1] if arguments and _record_of(arguments[-1]) is not None else None


def _told(place: str, error: msgspec.ValidationError, value: object) -> list[Problem]:
    """An error of msgspec at its place; what a record's own check found at the places it named."""
    problem = _problem(place, error)
    if isinstance(error.__cause__, RecordError):
        above = f"{problem.place}." if problem.place else ""
        return [p._replace(place=f"{above}{p.place}") for p in error.__cause__.problems]
    return [problem._replace(given=value)]


def _not_finite(value: object) -> list[Problem]:
    """Numbers that no file may hold."""
    found = []
    # A stack and no recursion: what is read may be nested deeper than calls may be.
    left: list[tuple[str, object]] = [("", value)]
    while left:
        place, item = left.pop()
        if isinstance(item, float):
            if not math.isfinite(item):
                found.append(Problem(place, "must be a finite number", given=item))
        elif isinstance(item, Mapping):
            above = f"{place}." if place else ""
            left += [(f"{above}{key}", inner) for key, inner in item.items()]
        elif isinstance(item, list | tuple):
            left += [(f"{place}[{number}]", inner) for number, inner in enumerate(item)]
    return found[::-1]


def _lists(value: Any) -> Any:
    """Tuples as lists, which is what JSON has."""
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_lists(item) for item in value]
    return value


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
