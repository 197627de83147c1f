"""Sets keys of a TOML text and leaves all else as a person wrote it: order, blanks, comments."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

# None takes the key out, so that its default holds.
Value = str | int | float | bool | None
# Section -> key -> value.
Changes = Mapping[str, Mapping[str, Value]]

# The beginning of a section, and of one of several of a name: its name then keeps its brackets.
_TABLE = re.compile(r"\s*\[(\[?[^\[\]]+\]?)\]\s*(?:#.*)?$")
# A key's value on one line, and the comment behind it.
_VALUE = r"""\s*=\s*(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^#"'\s][^#]*?)(\s*(?:\#.*)?)$"""


def with_values(text: str, changes: Changes) -> str:
    """A TOML text with these keys set, each in its section; a section that is missing is added.

    A key that stands otherwise than as ``key = value`` below its ``[section]`` is not found: what
    comes out is to be parsed and compared.
    """
    lines = text.splitlines()
    for section, values in changes.items():
        lines = _with_section(lines, section, values)
    return "\n".join(lines) + "\n"


def written(value: Value) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # What JSON escapes, TOML's basic strings escape alike; the delete sign it does not.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def lines_of(changes: Changes) -> list[str]:
    """The lines that a person would write; a key that is taken out is left out."""
    lines = []
    for section, values in changes.items():
        kept = {key: value for key, value in values.items() if value is not None}
        if kept:
            lines += [f"[{section}]", *(f"{key} = {written(kept[key])}" for key in kept)]
    return lines


def _with_section(lines: list[str], section: str, values: Mapping[str, Value]) -> list[str]:
    head = next((i for i, line in enumerate(lines) if _table(line) == section), None)
    given = {key: value for key, value in values.items() if value is not None}
    if head is None:
        if not given:
            return lines
        return [*lines, "", f"[{section}]", *(f"{key} = {written(given[key])}" for key in given)]
    end = next((i for i in range(head + 1, len(lines)) if _table(lines[i]) is not None), len(lines))
    body: list[str] = lines[head + 1 : end]
    for key, value in values.items():
        form = re.compile(rf"\s*{re.escape(key)}{_VALUE}")
        at = next((i for i, line in enumerate(body) if form.match(line)), None)
        if value is None:
            body = body if at is None else body[:at] + body[at + 1 :]
        elif at is None:
            body.insert(0, f"{key} = {written(value)}")
        else:
            found = form.match(body[at])
            assert found is not None
            body[at] = f"{key} = {written(value)}{found.group(1)}"
    return [*lines[: head + 1], *body, *lines[end:]]


def _table(line: str) -> str | None:
    match = _TABLE.match(line)
    return None if match is None else match.group(1).strip()
