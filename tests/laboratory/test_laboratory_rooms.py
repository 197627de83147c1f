"""The laboratory's package: its rooms, its schemas, its migrations, what it never imports."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path

import edgehemo_laboratory
from edgehemo.schemas.publishing import published, stale
from edgehemo_laboratory.schemas.documents import DOCUMENTS
from edgehemo_laboratory.storage.interface import RESULT_COLUMNS
from edgehemo_laboratory.storage.migrating import migrations
from tests.support.imports import circles, imported_by, modules_in

PACKAGE = Path(edgehemo_laboratory.__file__).parent
# What trains and measures; a laboratory's server does neither.
OTHERS = ("edgehemo_export", "edgehemo_calibration", "edgehemo_firmware", "torch", "torchvision")
SCHEMAS = PACKAGE / "schemas"


def test_the_laboratory_imports_nothing_of_the_workstation() -> None:
    wrong = {
        f"{module} imports {name}"
        for module, file in modules_in(PACKAGE)
        for name in imported_by(file.read_text("utf-8"), module)
        if name.split(".")[0] in OTHERS
    }
    assert not wrong


def test_no_modules_import_each_other_in_a_circle() -> None:
    files = dict(modules_in(PACKAGE))
    arrows: dict[str, set[str]] = {}
    for module, file in files.items():
        named = imported_by(file.read_text("utf-8"), module, is_package=file.name == "__init__.py")
        arrows[module] = {
            target
            for name in named
            for target in [name if name in files else name.rpartition(".")[0]]
            if target in files and target not in (module, "edgehemo_laboratory")
        }
    assert not circles(arrows)
    # Nor do rooms: a room stands on those below it alone.
    rooms: dict[str, set[str]] = {}
    for module, targets in arrows.items():
        room = _room(module)
        rooms.setdefault(room, set()).update({_room(each) for each in targets} - {room})
    assert "health" in rooms
    assert not circles(rooms)


def _room(module: str) -> str:
    return module.removeprefix("edgehemo_laboratory").lstrip(".").partition(".")[0]


def test_the_schemas_are_current() -> None:
    assert published(DOCUMENTS)
    assert stale(DOCUMENTS, SCHEMAS) == []


def columns_of(sql: str) -> dict[str, list[str]]:
    """Table -> its columns, in their order, as the text says them."""
    found: dict[str, list[str]] = {}
    for name, body in re.findall(r"CREATE TABLE (\w+) \((.*?)^\)", sql, re.M | re.S):
        lines = [line.strip() for line in body.splitlines()]
        found[name] = [line.split()[0] for line in lines if re.match(r"[a-z]\w* [A-Z]", line)]
    return found


def test_both_engines_have_the_same_tables() -> None:
    assert len(migrations("postgresql")) == len(migrations("sqlite"))
    for ours, theirs in zip(migrations("postgresql"), migrations("sqlite"), strict=True):
        assert columns_of(ours) == columns_of(theirs)
        assert columns_of(ours)
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        for sql in migrations("sqlite"):
            connection.executescript(sql)
        there = [row[1] for row in connection.execute("PRAGMA table_info(result)")]
    assert set(RESULT_COLUMNS) < set(there)
