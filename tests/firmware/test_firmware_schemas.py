"""The published JSON Schemas of what the device commands write and read."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from edgehemo.files.json_schema import Document
from edgehemo.schemas.publishing import stale
from edgehemo_firmware.parts import shipped_names
from edgehemo_firmware.schemas.documents import DOCUMENTS
from tests.support.schemas import schema_of, validate


def test_the_schemas_are_current() -> None:
    folder = Path(str(files("edgehemo_firmware.schemas")))
    assert not stale(DOCUMENTS, folder), "run `make schemas`"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda item: item.name)
def test_every_schema_is_one(document: Document) -> None:
    schema = schema_of(document.schema_id)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:edgehemo:{document.name}:1"


@pytest.mark.parametrize(("name", "kind"), shipped_names().items())
def test_the_shipped_parts_fit_their_schema(name: str, kind: str) -> None:
    file = files("edgehemo_firmware").joinpath("parts", f"{kind}s", f"{name}.toml")
    validate(tomllib.loads(file.read_text("utf-8")))
