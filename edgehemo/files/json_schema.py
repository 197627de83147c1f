"""JSON Schemas (draft 2020-12) of records, made from their fields.

Made here and not by msgspec: records that are only written hold unions that msgspec does not read
(an image's entry or its error), and what is published must not change with a library's version.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, UnsetType

from edgehemo.files.strict import Record

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# The key of every whole file that says what it is.
SCHEMA_KEY = "schema"
# Limits of `msgspec.Meta` -> keywords.
_LIMITS = {
    "gt": "exclusiveMinimum",
    "ge": "minimum",
    "lt": "exclusiveMaximum",
    "le": "maximum",
    "multiple_of": "multipleOf",
    "title": "title",
    "description": "description",
}
_LENGTHS = {"string": ("minLength", "maxLength"), "array": ("minItems", "maxItems")}
_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    NoneType: {"type": "null"},
    datetime: {"type": "string", "format": "date-time"},
    Any: {},
    object: {},
}

_SCALARS = ("string", "boolean", "integer", "number")

# A schema in the making, by JSON's names.
Schema = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Document:
    """A kind of file, or a command's JSON, that has a published schema.

    name: of the schema ``edgehemo.<name>/1``. about: what it is, for the title. kinds: its record;
    where there are several, a file is one of them. written: only this software makes it, and every
    key is always there; else keys that have a default may be left out. rules: what the types cannot
    say, as fragments that a definition (a class's name) must satisfy as well.
    """

    name: str
    about: str
    kinds: tuple[type[Record], ...]
    written: bool = True
    rules: Mapping[str, Schema] = dataclasses.field(default_factory=dict)

    @property
    def schema_id(self) -> str:
        """What the file's own ``schema`` says."""
        return f"edgehemo.{self.name}/1"

    @property
    def file_name(self) -> str:
        """Of the published schema."""
        return f"{self.name}-1.schema.json"


def json_schema(document: Document) -> Schema:
    """The JSON Schema of a document. Raises TypeError for a field's type that JSON has not."""
    definitions = _Definitions(document.written)
    roots = [definitions.reference(kind) for kind in document.kinds]
    out: Schema = {
        "$schema": DIALECT,
        "$id": f"urn:edgehemo:{document.name}:1",
        "title": f"{document.schema_id}: {document.about}",
    }
    made = definitions.made
    for name, rule in document.rules.items():
        made[name].setdefault("allOf", []).append(rule)
    if len(roots) > 1:
        out["oneOf"] = roots
    else:
        out |= made.pop(document.kinds[0].__name__)
    if made:
        out["$defs"] = {name: made[name] for name in sorted(made)}
    return out


class _Definitions:
    """Collects the definition of every class that is met."""

    def __init__(self, written: bool) -> None:
        self.written = written
        self.made: dict[str, Schema] = {}
        self._classes: dict[str, type] = {}

    def reference(self, kind: type) -> Schema:
        name = kind.__name__
        if self._classes.setdefault(name, kind) is not kind:
            raise TypeError(f"two classes are called {name}")
        if name not in self.made:
            self.made[name] = {}  # so that a class that holds itself ends
            self.made[name] = self._object(kind)
        return {"$ref": f"#/$defs/{name}"}

    def _object(self, kind: type) -> Schema:
        properties, required = {}, []
        for key, annotation, has_default in _fields(kind):
            properties[key] = self.of(annotation)
            optional = UnsetType in _options(annotation) or (has_default and not self.written)
            if key == SCHEMA_KEY or not optional:
                required.append(key)
        out: Schema = {"type": "object"}
        if described := _docstring(kind):
            out["description"] = described
        return out | {
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }

    def of(self, annotation: Any) -> Schema:
        """The schema of a field's type."""
        if hasattr(annotation, "__metadata__"):
            out = self.of(annotation.__origin__)
            for meta in annotation.__metadata__:
                if isinstance(meta, Meta):
                    out = _limited(out, meta)
            return out
        if isinstance(annotation, type) and (
            issubclass(annotation, Record) or dataclasses.is_dataclass(annotation)
        ):
            return self.reference(annotation)
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin is Literal:
            return {"const": arguments[0]} if len(arguments) == 1 else {"enum": list(arguments)}
        if origin in (Union, UnionType):
            return self._union(_options(annotation))
        if origin is tuple and arguments[-1] is not Ellipsis:
            return {
                "type": "array",
                "prefixItems": [self.of(item) for item in arguments],
                "minItems": len(arguments),
                "maxItems": len(arguments),
            }
        if origin in (list, tuple, Sequence):
            return {"type": "array", "items": self.of(arguments[0])}
        if origin in (dict, Mapping):
            names = self.of(arguments[0])
            out = {"type": "object"}
            if names != _PLAIN[str]:
                out["propertyNames"] = names
            return out | {"additionalProperties": self.of(arguments[1])}
        try:
            return dict(_PLAIN[annotation])
        except (KeyError, TypeError):
            raise TypeError(f"{annotation!r} is nothing that JSON holds") from None

    def _union(self, options: Sequence[Any]) -> Schema:
        parts = [self.of(option) for option in options if option is not UnsetType]
        null = {"type": "null"}
        if len(parts) == 2 and null in parts:
            (other,) = [part for part in parts if part != null]
            # A plain value's keywords do not speak of null and may stand beside both types.
            if other.get("type") in _SCALARS:
                return {**other, "type": [other["type"], "null"]}
        return parts[0] if len(parts) == 1 else {"anyOf": parts}


def _fields(kind: type) -> list[tuple[str, Any, bool]]:
    """Key, type and whether there is a default, of a record's or dataclass's fields."""
    if issubclass(kind, Record):
        return [
            (item.encode_name, item.type, not item.required)
            for item in msgspec.structs.fields(kind)
        ]
    if not dataclasses.is_dataclass(kind):
        raise TypeError(f"{kind.__name__} is neither a record nor a dataclass")
    hints = get_type_hints(kind, include_extras=True)
    missing = dataclasses.MISSING
    return [
        (
            item.name,
            hints[item.name],
            item.default is not missing or item.default_factory is not missing,
        )
        for item in dataclasses.fields(kind)
    ]


def _options(annotation: Any) -> Sequence[Any]:
    """What a union is of; any other type alone."""
    is_union = get_origin(annotation) in (Union, UnionType)
    return get_args(annotation) if is_union else (annotation,)


def _limited(out: Schema, meta: Meta) -> Schema:
    """A schema with the limits of an annotation."""
    out = dict(out)
    for name, keyword in _LIMITS.items():
        value = getattr(meta, name)
        if value is not None:
            out[keyword] = value
    out |= meta.extra_json_schema or {}
    if meta.pattern is not None:
        # Python's end of text, which the regular expressions of JSON Schema write so.
        out["pattern"] = meta.pattern.replace("\\Z", "$")
    kinds = [out["type"]] if isinstance(out.get("type"), str) else out.get("type", [])
    for kind in kinds:
        for value, keyword in zip(
            (meta.min_length, meta.max_length), _LENGTHS.get(kind, ()), strict=False
        ):
            if value is not None:
                out[keyword] = value
    return out


def _docstring(kind: type) -> str:
    """A class's own docstring in one line; none of a base class's or a generated one."""
    text = kind.__dict__.get("__doc__") or ""
    if text.startswith(f"{kind.__name__}("):
        return ""
    return " ".join(inspect.cleandoc(text).split())
