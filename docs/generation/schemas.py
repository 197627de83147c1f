"""A page for each JSON Schema the package carries."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Iterator, Mapping
from typing import Any

from docs.generation.markdown import cell, code, table

SUFFIX = ".schema.json"
PACKAGES = (
    "edgehemo",
    "edgehemo_calibration",
    "edgehemo_export",
    "edgehemo_firmware",
    "edgehemo_laboratory",
)


def schema_texts() -> dict[str, str]:
    """File name -> text of every schema that the packages publish."""
    folders = [importlib.resources.files(f"{package}.schemas") for package in PACKAGES]
    found = [item for folder in folders for item in folder.iterdir() if item.name.endswith(SUFFIX)]
    return {item.name: item.read_text("utf-8") for item in sorted(found, key=lambda i: i.name)}


def schema_index(texts: Mapping[str, str]) -> str:
    """The list of schemas."""
    rows = [
        (
            f"[{name.removesuffix(SUFFIX)}]({name.removesuffix(SUFFIX)}.md)",
            cell(json.loads(text).get("title", "")),
        )
        for name, text in texts.items()
    ]
    return (
        "# JSON Schemas\n\n"
        "What edgehemo writes and reads as JSON, exactly. The files are in the packages, in the "
        "folder `schemas` of each.\n\n" + table(("schema", "what it describes"), rows)
    )


def schema_page(name: str, text: str) -> str:
    """One schema: its keys in tables, then the file itself."""
    schema = json.loads(text)
    title = name.removesuffix(SUFFIX)
    parts = [f"# {title}", ""]
    if "title" in schema:
        parts += [cell(schema["title"]), ""]
    if "description" in schema:
        parts += [cell(schema["description"]), ""]
    parts += [f"[Download {name}]({name})", ""]
    if "properties" in schema:
        parts += ["## The document", "", _properties(schema)]
    elif "oneOf" in schema:
        names = ", ".join(code(_last(one["$ref"])) for one in schema["oneOf"])
        parts += [f"The document is one of {names}.", ""]
    for key, part in schema.get("$defs", {}).items():
        parts += [f"## {key}", ""]
        if "description" in part:
            parts += [cell(part["description"]), ""]
        if "properties" in part:
            parts.append(_properties(part))
        else:
            parts += [f"{_kind(part)}", ""]
    return "\n".join(parts)


def _properties(part: Mapping[str, Any]) -> str:
    required = set(part.get("required", ()))
    rows = [
        (
            code(key),
            _kind(value),
            "yes" if key in required else "",
            cell(value.get("description", "")),
        )
        for key, value in part["properties"].items()
    ]
    return table(("key", "value", "always there", "meaning"), rows)


def _kind(part: Any) -> str:
    return cell(", or ".join(_kinds(part))) or "anything"


def _kinds(part: Any) -> Iterator[str]:
    """What a value may be, in words."""
    if not isinstance(part, dict):
        return
    if "$ref" in part:
        yield code(_last(part["$ref"]))
    elif "const" in part:
        yield code(json.dumps(part["const"]))
    elif "enum" in part:
        yield ", ".join(code(json.dumps(value)) for value in part["enum"])
    elif alternatives := part.get("anyOf", part.get("oneOf")):
        for one in alternatives:
            yield from _kinds(one)
    elif part.get("type") == "array":
        items = part.get("items")
        yield "list" if not items else f"list of {_kind(items)}"
    elif "type" in part:
        named = part["type"] if isinstance(part["type"], list) else [part["type"]]
        yield ", or ".join(f"{name}{_range(part)}" if name in _RANGED else name for name in named)


_RANGED = ("number", "integer")


def _range(part: Mapping[str, Any]) -> str:
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    said = [f"{word} {part[key]:g}" for key, word in words.items() if key in part]
    return f" ({', '.join(said)})" if said else ""


def _last(reference: str) -> str:
    return reference.rpartition("/")[2]
