"""Every configuration key: the device's from its records, training's from its TOML files."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from docs.generation.markdown import cell, code, table
from edgehemo.capture.protocol import CameraSettings
from edgehemo.device.configuration import DEVICE_SCHEMA, DeviceConfiguration
from edgehemo_export.configuration import CONFIGS

_KEY_LINE = re.compile(r"\s*([A-Za-z0-9_]+)\s*=")
_TABLE_LINE = re.compile(r"\s*\[([^\[\]]+)\]\s*$")


def device_page() -> str:
    """Every key of the device configuration."""
    whole = inspect.type_info(DeviceConfiguration)
    assert isinstance(whole, inspect.StructType)
    sections = [item for item in whole.fields if _table_type(item) is not None]
    plain = [item for item in whole.fields if _table_type(item) is None]
    parts = [
        "# Device configuration: every key",
        "",
        f"One TOML file of the schema `{DEVICE_SCHEMA}`. How a device finds its own is told in "
        "[Device profiles](../devices.md). Keys that are not known are refused.",
        "",
        "## At the top",
        "",
        _device_table(plain, TOP_KEYS),
    ]
    for section in sections:
        table_type = _table_type(section)
        assert table_type is not None
        kind = table_type.cls
        meanings = {**described(CameraSettings), **described(kind)}
        heading = f"[{section.encode_name}]"
        if not isinstance(section.type, inspect.StructType):
            # Markdown takes double brackets as they are; one such table for each of them.
            heading = f"[{heading}], any number of them"
        parts += [f"## {heading}", "", _device_table(table_type.fields, meanings)]
        parts += [line for note in _notes(kind) for line in (note, "")]
    return "\n".join(parts)


def _table_type(item: inspect.Field) -> inspect.StructType | None:
    """What a section holds: of a table itself, or of each of a list of tables."""
    kind = item.type
    if isinstance(kind, inspect.VarTupleType):
        kind = kind.item_type
    return kind if isinstance(kind, inspect.StructType) else None


# The three keys without a section have no docstring of their own.
TOP_KEYS = {
    "schema": "the version of this format",
    "name": "what records call this device",
    "board": "which board it is; `edgehemo doctor` compares",
}


def described(kind: type) -> dict[str, str]:
    """Key -> meaning, where a docstring is a list of ``key: meaning. other, third: meaning.``."""
    found: dict[str, str] = {}
    for paragraph in _paragraphs(kind):
        found.update(_meanings(kind, paragraph))
    return found


def _notes(kind: type) -> Iterator[str]:
    """The paragraphs of a docstring that describe no key."""
    for paragraph in _paragraphs(kind):
        if not _meanings(kind, paragraph):
            yield paragraph


def _paragraphs(kind: type) -> list[str]:
    text = (kind.__doc__ or "").replace("``", "`").split("\n\n")
    return [" ".join(paragraph.split()) for paragraph in text]


def _meanings(kind: type, paragraph: str) -> dict[str, str]:
    one = "|".join(sorted((re.escape(name) for name in _names(kind)), key=len, reverse=True))
    named = rf"(?:(?<=^)|(?<=[.;] ))((?:{one})(?:(?:, | and )(?:{one}))*): "
    marks = list(re.finditer(named, paragraph))
    found: dict[str, str] = {}
    ends = [*(mark.start() for mark in marks), len(paragraph)][1:]
    for mark, end in zip(marks, ends, strict=True):
        meaning = paragraph[mark.end() : end].strip().rstrip(".;")
        found.update(dict.fromkeys(re.findall(one, mark.group(1)), meaning))
    return found


def _names(kind: type) -> list[str]:
    if issubclass(kind, msgspec.Struct):
        return [item.name for item in msgspec.structs.fields(kind)]
    if dataclasses.is_dataclass(kind):
        return [item.name for item in dataclasses.fields(kind)]
    raise TypeError(f"{kind.__name__} has no named keys")


def _device_table(fields: Sequence[inspect.Field], meanings: Mapping[str, str]) -> str:
    rows = [
        (
            code(item.encode_name),
            cell(_kind(item.type)),
            _default(item),
            cell(meanings[item.encode_name]),
        )
        for item in fields
    ]
    return table(("key", "value", "default", "meaning"), rows)


def _default(item: inspect.Field) -> str:
    if item.required:
        return "(required)"
    return "" if item.default is None else code(_toml(item.default))


def _kind(kind: inspect.Type) -> str:
    """A type in words, with its range."""
    match kind:
        case inspect.UnionType(types=types):
            return " or ".join(_kind(one) for one in types if not isinstance(one, inspect.NoneType))
        case inspect.LiteralType(values=values):
            return ", ".join(code(value) for value in values)
        case inspect.BoolType():
            return f"{code('true')} or {code('false')}"
        case inspect.IntType():
            return f"whole number{_range(kind)}"
        case inspect.FloatType():
            return f"number{_range(kind)}"
        case inspect.StrType():
            most = f" of at most {kind.max_length} characters" if kind.max_length else ""
            return f"text{most}"
        case inspect.VarTupleType(item_type=item):
            return f"list of {_kind(item)}"
        case _:
            raise TypeError(f"{kind}: no words for this type yet")


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    low = f"{kind.ge:,}" if kind.ge is not None else None
    high = f"{kind.le:,}" if kind.le is not None else None
    if low is not None and high is not None:
        return f", {low} to {high}"
    bounds = [f"above {kind.gt}"] if kind.gt is not None else []
    bounds += [f"below {kind.lt}"] if kind.lt is not None else []
    return "".join(f", {bound}" for bound in bounds)


def training_page() -> str:
    """Every key of every training configuration that is shipped."""
    parts = [
        "# Training configurations: every key",
        "",
        "`edgehemo train TASK` reads the shipped configuration of the task; `--config FILE` "
        "overrides single keys of it, table by table. Keys that are not known are refused. The "
        "files whose names go on after the task's are such overrides: they are what made the "
        "shipped weights (each model's card says which). The files whose names begin with `study_` "
        "are read by `edgehemo study`; their `[quick]` tables are what `--quick` puts in the place "
        "of the other keys.",
        "",
    ]
    for file in sorted(CONFIGS.glob("*.toml")):
        parts += [f"## {file.name}", "", *_training_section(file)]
    return "\n".join(parts)


def _training_section(file: Path) -> Iterator[str]:
    text = file.read_text(encoding="utf-8")
    values = dict(_flat(tomllib.loads(text)))
    comments = key_comments(text)
    if comments.get(""):
        yield comments[""]
        yield ""
    heads = ("key", "value", "meaning")
    rows = [
        (code(key), code(_toml(value)), cell(comments.get(key, "")))
        for key, value in values.items()
    ]
    yield table(heads, rows)


def key_comments(text: str) -> dict[str, str]:
    """Dotted key -> the comment that stands above it; "" -> the file's own first lines.

    A comment above a table belongs to the table's first key, where it is read.
    """
    found: dict[str, str] = {}
    section, pending, first = "", list[str](), True
    waiting = ""
    for line in text.splitlines():
        stripped = line.strip()
        head = _TABLE_LINE.match(line)
        key = _KEY_LINE.match(line)
        if stripped.startswith("#"):
            pending.append(stripped.lstrip("# "))
        elif head:
            section, waiting, pending, first = f"{head.group(1)}.", " ".join(pending), [], False
        elif key:
            name = section + key.group(1)
            comment = " ".join([*([waiting] if waiting else []), *pending])
            if first:
                found[""], comment = comment, ""
            if comment:
                found[name] = comment
            pending, waiting, first = [], "", False
    return found


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _toml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
