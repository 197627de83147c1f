"""Every model's folder has the same files, and its face answers what the commands ask."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from typing import get_args

import pytest

from edgehemo.bundle.manifest import ModelTask

pytest.importorskip("torch", reason='needs pip install ".[host]"')

from edgehemo_export.models import registry
from edgehemo_export.models.registry import PARTS, TASKS, Task, TaskModule

pytestmark = pytest.mark.host

MODELS = Path(registry.__file__).parent
# Which parts the two classifiers share, being alike in them; all else is each model's own.
SHARED = {
    "nucleated": {"training", "checkpoint", "export"},
    "morphology": {"training", "checkpoint"},
}
# What of its face each part makes; `run` itself makes the training.
MADE_BY = {"evaluate": "evaluation", "card": "card", "export_subject": "export"}
ANSWERS = [
    name for name, value in vars(TaskModule).items() if not name.startswith("_") and callable(value)
]

each_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.task)


def test_there_is_a_folder_a_task() -> None:
    assert {task.task for task in TASKS} == set(get_args(ModelTask))
    folders = {path.parent for path in MODELS.rglob("run.py")}
    own = {MODELS.joinpath(*task.package.split(".")) for task in TASKS}
    # The one more is that of the classifiers, which holds what they share.
    assert folders - own == {MODELS / "classifiers"} and own <= folders


@each_task
def test_every_part_is_the_models_own_or_its_siblings(task: Task) -> None:
    folder = MODELS.joinpath(*task.package.split("."))
    for name in PARTS:
        file = Path(task.part(name).__file__ or "")
        shared = name in SHARED.get(task.task, set())
        assert file == (folder.parent if shared else folder) / f"{name}.py"
        defined = [
            node
            for node in ast.parse(file.read_text()).body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
        ]
        assert defined, f"{file}: nothing is in it"


def test_a_part_that_nobody_has_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    finder = registry.BY_TASK["cell_finder"]
    with pytest.raises(ValueError, match="a model has no poetry; it has data, training, "):
        finder.part("poetry")
    monkeypatch.setattr(registry, "PARTS", {"poetry": "no model has written any"})
    with pytest.raises(ModuleNotFoundError, match="finder has no poetry"):
        finder.part("poetry")


@each_task
def test_the_face_answers_what_the_protocol_asks(task: Task) -> None:
    assert sorted(ANSWERS) == ["card", "evaluate", "export_subject", "read_config", "run_training"]
    face = task.load()
    assert sorted(getattr(face, "__all__", ())) == sorted(ANSWERS)
    for name in ANSWERS:
        wanted = inspect.signature(getattr(TaskModule, name)).parameters
        got = inspect.signature(getattr(face, name)).parameters
        assert list(got) == [key for key in wanted if key != "self"], name
        assert [p.default for p in got.values()] == [
            p.default for key, p in wanted.items() if key != "self"
        ]


@each_task
def test_the_face_is_made_of_the_models_own_parts(task: Task) -> None:
    face = task.load()
    for name, part in MADE_BY.items():
        if part not in SHARED.get(task.task, set()):
            assert getattr(face, name) is getattr(task.part(part), name)
    assert face.read_config().loop.steps > 0


def test_the_exporter_and_the_nets_know_no_model() -> None:
    """Models are handed to the exporter; what stands below them imports none of them."""
    package = MODELS.parent
    below = ("quantisation", "nets", "training", "evaluation", "data")
    for path in (file for folder in below for file in (package / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [item.name for item in node.names] if isinstance(node, ast.Import) else []
            assert not any(name.startswith("edgehemo_export.models") for name in names), path


def test_no_model_imports_a_sibling() -> None:
    for task in TASKS:
        own = f"edgehemo_export.models.{task.package}"
        others = [f"edgehemo_export.models.{item.package}" for item in TASKS if item is not task]
        folder = MODELS.joinpath(*task.package.split("."))
        for path in folder.glob("*.py"):
            text = path.read_text()
            assert not any(f"{other}." in text for other in others), f"{path} of {own}"


def test_no_circle_among_the_modules_of_the_package() -> None:
    """Read from the files, so that imports inside functions count as well."""
    package = MODELS.parent
    names = {
        ".".join(path.relative_to(package.parent).with_suffix("").parts): path
        for path in package.rglob("*.py")
        if path.name != "__init__.py"
    }
    uses = {
        name: {
            found
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and node.module
            for found in (node.module, *(f"{node.module}.{item.name}" for item in node.names))
            if found in names and found != name
        }
        for name, path in names.items()
    }
    left = dict(uses)
    while free := [name for name, needs in left.items() if not needs & set(left)]:
        for name in free:
            del left[name]
    assert not left, f"circle among {sorted(left)}"
    assert importlib.import_module("edgehemo_export.models.registry").TASKS is TASKS
