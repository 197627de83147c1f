"""What a distribution's own metadata says that it requires (PEP 508), read without a library.

Only what decides whether a requirement counts is read: its name and its marker.
"""

from __future__ import annotations

import operator
import os
import platform
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

_NAME = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)")
_TOKEN = re.compile(
    r"\s*(?:(?P<mark>[()])|(?P<text>'[^']*'|\"[^\"]*\")"
    r"|(?P<op>===|~=|==|!=|<=|>=|<|>|not\s+in\b|in\b)|(?P<word>[A-Za-z_.]+))"
)
_ORDERED: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "===": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
# Variables whose values are versions, which are compared number by number.
_VERSIONS = ("python_version", "python_full_version", "implementation_version")


def required(lines: Iterable[str], environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The distributions that are required here and without an extra, in the order of the lines.

    lines: as `importlib.metadata.requires` gives them. environment: marker variables, those of
    this machine where it is None. A marker that cannot be read excuses nothing.
    """
    known = this_environment() if environment is None else environment
    names = []
    for line in lines:
        named = _NAME.match(line)
        if named is None:
            continue
        marker = _marker(line)
        if not marker or _holds(marker, known):
            names.append(named.group(1))
    return tuple(dict.fromkeys(names))


def this_environment() -> dict[str, str]:
    """PEP 508's marker variables of this machine, no extra asked for."""
    version = sys.implementation.version
    return {
        "extra": "",
        "implementation_name": sys.implementation.name,
        "implementation_version": f"{version.major}.{version.minor}.{version.micro}",
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    }


def _marker(line: str) -> str:
    """What follows the semicolon; one inside an address needs a space before it."""
    _, _, marker = line.partition(" ;" if "@" in line else ";")
    return marker.strip()


def _holds(marker: str, environment: Mapping[str, str]) -> bool:
    try:
        tokens = list(_tokens(marker))
        value = _either(tokens, environment)
    except (ValueError, IndexError):
        return True
    return value or bool(tokens)


def _tokens(marker: str) -> Iterator[tuple[str, str]]:
    """Kind and text of each part of a marker; ValueError for what is none."""
    at = 0
    while marker[at:].strip():
        match = _TOKEN.match(marker, at)
        if match is None:
            raise ValueError(marker)
        kind = match.lastgroup or ""
        yield kind, " ".join(match.group(kind).split()) if kind == "op" else match.group(kind)
        at = match.end()


def _either(tokens: list[tuple[str, str]], environment: Mapping[str, str]) -> bool:
    value = _both(tokens, environment)
    while tokens and tokens[0] == ("word", "or"):
        tokens.pop(0)
        value = _both(tokens, environment) or value
    return value


def _both(tokens: list[tuple[str, str]], environment: Mapping[str, str]) -> bool:
    value = _one(tokens, environment)
    while tokens and tokens[0] == ("word", "and"):
        tokens.pop(0)
        value = _one(tokens, environment) and value
    return value


def _one(tokens: list[tuple[str, str]], environment: Mapping[str, str]) -> bool:
    """A comparison or what stands in brackets; takes its parts off the front."""
    if tokens[0] == ("mark", "("):
        tokens.pop(0)
        value = _either(tokens, environment)
        if tokens.pop(0) != ("mark", ")"):
            raise ValueError("a bracket is not closed")
        return value
    (left_kind, left), (kind, op), (right_kind, right) = (tokens.pop(0) for _ in range(3))
    if kind != "op" or {left_kind, right_kind} != {"word", "text"}:
        raise ValueError("a comparison is of a variable with a text")
    variable = left if left_kind == "word" else right
    return _compared(
        _value(left_kind, left, environment),
        op,
        _value(right_kind, right, environment),
        versions=variable in _VERSIONS,
    )


def _value(kind: str, text: str, environment: Mapping[str, str]) -> str:
    if kind == "text":
        return text[1:-1]
    if text not in environment:
        raise ValueError(f"{text} is not a marker variable")
    return environment[text]


def _compared(left: str, op: str, right: str, *, versions: bool) -> bool:
    if op in ("in", "not in"):
        return (left in right) == (op == "in")
    if not versions:
        if op == "~=":
            raise ValueError("~= compares versions")
        return _ORDERED[op](left, right)
    if right.endswith(".*") and op in ("==", "!="):
        wanted = _numbers(right[:-2])
        return _ORDERED[op](_numbers(left)[: len(wanted)], wanted)
    have, wanted = _numbers(left), _numbers(right)
    if op == "~=":
        return have >= wanted and have[: len(wanted) - 1] == wanted[:-1]
    length = max(len(have), len(wanted))
    return _ORDERED[op](_padded(have, length), _padded(wanted, length))


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers a version begins with; ValueError where it begins with none."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    if match is None:
        raise ValueError(version)
    return tuple(int(part) for part in match.group().split("."))


def _padded(numbers: tuple[int, ...], length: int) -> tuple[int, ...]:
    return numbers + (0,) * (length - len(numbers))
