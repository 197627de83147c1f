"""JSON held against the schemas that the packages publish."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema

PACKAGES = (
    "edgehemo",
    "edgehemo_calibration",
    "edgehemo_export",
    "edgehemo_firmware",
    "edgehemo_laboratory",
)


@cache
def schema_of(schema_id: str) -> dict[str, Any]:
    """The schema of what calls itself ``schema_id``, such as ``edgehemo.cells/1``."""
    name, _, version = schema_id.removeprefix("edgehemo.").partition("/")
    for package in PACKAGES:
        file = files(f"{package}.schemas").joinpath(f"{name}-{version}.schema.json")
        if file.is_file():
            schema: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            return schema
    raise AssertionError(f"no package publishes a schema of {schema_id}")


@cache
def validator(schema_id: str) -> jsonschema.Draft202012Validator:
    """What holds JSON against that schema."""
    return jsonschema.Draft202012Validator(schema_of(schema_id))


def validate(record: Any) -> None:
    """ValidationError where a file's content does not keep to the schema it names."""
    validator(record["schema"]).validate(record)
