"""Published JSON Schemas: current, complete, and kept to by what they describe."""

from __future__ import annotations

import copy
import importlib.resources
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from msgspec import UNSET, Meta, UnsetType, field

from edgehemo.bundle.bundle import MANIFEST_NAME, SHIPPED_BUNDLE
from edgehemo.cli import run
from edgehemo.device.named_profiles import profile_names, profile_text
from edgehemo.files.json_schema import Document, json_schema
from edgehemo.files.strict import Record
from edgehemo.schemas.documents import DOCUMENTS, OUTPUTS
from edgehemo.schemas.publishing import main, stale
from tests.support.schemas import schema_of, validate, validator

FOLDER = Path(str(importlib.resources.files("edgehemo.schemas")))


@dataclass(frozen=True)
class Box:
    """A plain dataclass may stand in a record."""

    width: float
    name: Annotated[str, Meta(min_length=1)] = "box"


class Leaf(Record, frozen=True, kw_only=True):
    kind: Literal["a", "b"]
    class_: str = field(name="class")


class Tree(Record, frozen=True, kw_only=True):
    """What a schema may hold.

    leaf: of it.
    """

    schema: Literal["edgehemo.tree/1"] = "edgehemo.tree/1"
    leaf: Leaf | None
    either: list[Leaf | Box]
    at: datetime
    share: Annotated[float, Meta(ge=0, lt=1, description="of all")] | None = None
    pair: tuple[int, int] = (0, 0)
    names: Mapping[Literal["x", "y"], int] = field(default_factory=dict)
    maybe: str | UnsetType = UNSET
    anything: Any = None


TREE: dict[str, Any] = {
    "schema": "edgehemo.tree/1",
    "leaf": None,
    "either": [{"kind": "a", "class": "c"}, {"width": 1.5, "name": "n"}],
    "at": "2026-11-27T00:00:00Z",
    "share": 0.5,
    "pair": [1, 2],
    "names": {"x": 1},
    "anything": [1],
}


def tree_schema(*, written: bool) -> dict[str, Any]:
    return json_schema(Document("tree", "a test", (Tree,), written=written))


def test_a_schema_says_what_the_record_is() -> None:
    schema = tree_schema(written=True)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == "urn:edgehemo:tree:1"
    assert schema["title"] == "edgehemo.tree/1: a test"
    assert schema["description"] == "What a schema may hold. leaf: of it."
    assert "maybe" not in schema["required"] and "share" in schema["required"]
    share = schema["properties"]["share"]
    assert share == {
        "type": ["number", "null"], "minimum": 0, "exclusiveMaximum": 1, "description": "of all"
    }  # fmt: skip
    assert set(schema["$defs"]) == {"Leaf", "Box"}
    assert set(tree_schema(written=False)["required"]) == {"schema", "leaf", "either", "at"}
    jsonschema.validate(TREE, schema)
    tree = Tree(leaf=None, either=[Box(1.0), Leaf(kind="b", class_="c")], at=datetime(2026, 1, 1))
    jsonschema.validate(tree.model_dump(), schema)


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "edgehemo.tree/2"},
        {"leaf": {"kind": "c", "class": "c"}},
        {"leaf": {"kind": "a", "class_": "c"}},
        {"either": [{"width": 1.5, "name": ""}]},
        {"either": [{"kind": "a", "class": "c", "width": 1.5, "name": "n"}]},
        {"at": 5},
        {"share": 1},
        {"share": -0.1},
        {"pair": [1]},
        {"pair": [1, 2, 3]},
        {"pair": [1, 2.5]},
        {"names": {"z": 1}},
        {"maybe": None},
        {"more": 1},
    ],
)
def test_a_schema_refuses_what_the_record_does(changes: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**TREE, **changes}, tree_schema(written=True))


def test_what_json_cannot_hold_has_no_schema() -> None:
    class Odd(Record, frozen=True, kw_only=True):
        value: complex

    with pytest.raises(TypeError, match="complex"):
        json_schema(Document("odd", "a test", (Odd,)))


def test_the_schemas_are_current() -> None:
    assert not stale(DOCUMENTS, FOLDER), "run `make schemas`"


def test_what_is_not_current_is_named_and_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    documents = (Document("tree", "a test", (Tree,)),)
    (tmp_path / "gone-1.schema.json").write_text("{}")
    for arguments, code in ((["--check"], 1), ([], 0), (["--check"], 0)):
        with pytest.raises(SystemExit) as ended:
            main(documents, tmp_path, arguments)
        assert (ended.value.code or 0) == code
    assert [path.name for path in tmp_path.iterdir()] == ["tree-1.schema.json"]
    said = capsys.readouterr().err
    assert "gone-1.schema.json" in said and "tree-1.schema.json" in said


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda item: item.name)
def test_every_schema_is_one(document: Document) -> None:
    schema = schema_of(document.schema_id)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:edgehemo:{document.name}:1"
    roots = [schema] if "properties" in schema else list(schema["$defs"].values())
    assert {"const": document.schema_id} in [
        root.get("properties", {}).get("schema") for root in roots
    ]


def test_the_artefacts_that_are_shipped_keep_to_their_schemas() -> None:
    manifest = json.loads((SHIPPED_BUNDLE / MANIFEST_NAME).read_text(encoding="utf-8"))
    profile = importlib.resources.files("edgehemo.data") / "simulated-profile.json"
    for artefact in (manifest, json.loads(profile.read_text(encoding="utf-8"))):
        validate(artefact)
        spoilt = copy.deepcopy(artefact) | {"more": 1}
        with pytest.raises(jsonschema.ValidationError):
            validate(spoilt)
        spoilt = {key: value for key, value in artefact.items() if key != "schema"}
        with pytest.raises(jsonschema.ValidationError):
            validator(artefact["schema"]).validate(spoilt)
    assert len(profile_names()) > 1
    for name in profile_names():
        validate(tomllib.loads(profile_text(name)))


def test_every_command_writes_what_its_schema_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command that any device has, on pictures of the simulated microscope."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert (
        run(["demo", "--out", str(tmp_path / "demo"), "--json", str(tmp_path / "demo.json")]) == 0
    )
    pictures = sorted((tmp_path / "demo" / "fields").glob("*.png"))[:2]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    images = [*map(str, pictures), str(broken)]
    scale = ["--um-per-px", "0.2"]
    for name, command in {
        "quality": ["quality", *images, *scale],
        "cells": ["cells", *images, *scale],
        "classify": ["classify", "--model", "morphology", *images, *scale],
        "classify-nucleated": ["classify", "--model", "nucleated", *images, *scale],
        "estimate": ["estimate", *images, *scale],
        "screen": ["screen", *images, *scale, "--out", str(tmp_path / "out"), "--age", "30"],
        "withheld": ["screen", str(broken), "--out", str(tmp_path / "none")],
        "doctor": ["doctor"],
        "keys": ["keys", "list"],
        "bundle-list": ["bundle", "list"],
    }.items():
        assert run([*command, "--json", str(tmp_path / f"{name}.json")]) in (0, 1, 2)
    seen = set()
    for file in tmp_path.glob("*.json"):
        record = json.loads(file.read_text(encoding="utf-8"))
        validate(record)
        seen.add(record["schema"])
    # Slow ones, whose own tests hold them to it as well (tests/conftest.py).
    elsewhere = {"health", "bench", "verify", "bundle-install", "bundle-rollback"}
    stored = (
        "edgehemo.records-",
        "edgehemo.users-",
        "edgehemo.monitor/",
        "edgehemo.outbox",
    )
    elsewhere |= {each.schema_id[9:-2] for each in OUTPUTS if each.schema_id.startswith(stored)}
    assert seen | {f"edgehemo.{name}/1" for name in elsewhere} == {
        document.schema_id for document in OUTPUTS
    }
