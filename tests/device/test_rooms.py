"""The device package's rooms: what each may import, and that nothing of the host's is imported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import edgehemo
from tests.support.imports import circles, imported_by, modules_in

PACKAGE = Path(edgehemo.__file__).parent
# What the workstation makes and measures with; the device reads what they hand over as files.
HOST = (
    "edgehemo_export", "edgehemo_calibration", "edgehemo_firmware", "edgehemo_laboratory", "torch",
    "torchvision",
)  # fmt: skip
# From the ground up: a room imports only rooms named before it. The simulated microscope is a
# driver that photographs what `simulation` draws, so the drawing lies below the cameras.
ROOMS = (
    # everybody's
    "errors", "version", "memory", "measurands", "calling",
    # ground
    "files", "statistics", "pages", "guidance", "words", "anaemia", "images",
    # artefacts
    "bundle", "profile",
    # the flow: a frame becomes a sample's reading
    "field", "inference", "cells", "quality", "estimate", "simulation", "capture", "screening",
    # what comes of it
    "report", "control", "records", "device", "bench", "api", "demo", "monitor",
    "published", "interop", "kiosk",
    # what all of it writes, described; doors
    "schemas", "commands", "cli", "__main__", "__init__",
)  # fmt: skip


def room_of(module: str) -> str:
    """The first name below the package; the package's own face is ``__init__``."""
    parts = module.split(".")
    below = parts[1] if len(parts) > 1 else "__init__"
    return (
        below if (PACKAGE / below).is_dir() or (PACKAGE / f"{below}.py").is_file() else "__init__"
    )


def imports_of(file: Path, module: str) -> set[str]:
    return imported_by(file.read_text("utf-8"), module, is_package=file.name == "__init__.py")


def own_imports(file: Path, module: str) -> set[str]:
    """What a module imports of the device package itself."""
    return {name for name in imports_of(file, module) if name.split(".")[0] == "edgehemo"}


def test_the_device_imports_nothing_of_the_host() -> None:
    wrong = {
        f"{module} imports {name}"
        for module, file in modules_in(PACKAGE)
        for name in imports_of(file, module)
        if name.split(".")[0] in HOST
    }
    assert not wrong


def test_every_import_between_rooms_runs_downwards() -> None:
    height = {room: floor for floor, room in enumerate(ROOMS)}
    rooms = {room_of(module) for module, _ in modules_in(PACKAGE)}
    assert rooms <= set(ROOMS), "give a new room its place in ROOMS"
    upwards = {
        f"{module} imports {name}"
        for module, file in modules_in(PACKAGE)
        for name in own_imports(file, module)
        if height[room_of(name)] > height[room_of(module)]
    }
    assert not upwards


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Inside a room too: what stands in a circle cannot be read or tested alone."""
    files = dict(modules_in(PACKAGE))
    arrows: dict[str, set[str]] = {}
    for module, file in files.items():
        named = own_imports(file, module)
        # `from a import b` is an arrow to a.b where that is a module, else to a.
        arrows[module] = {
            target
            for name in named
            for target in [name if name in files else name.rpartition(".")[0]]
            if target in files and target not in (module, "edgehemo")
        }
    assert not circles(arrows)


@pytest.mark.parametrize(
    "source",
    [
        "import torch.nn",
        "from edgehemo_export.nets import architectures",
        "def f():\n    from edgehemo_calibration import measuring",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import edgehemo_export",
        "import importlib\nimportlib.import_module('torch')",
        "from importlib.resources import files\nx = files('edgehemo_firmware')",
    ],
)
def test_an_import_is_seen_wherever_it_stands(source: str) -> None:
    assert {name.split(".")[0] for name in imported_by(source, "edgehemo.x")} & set(HOST)


def test_relative_imports_and_circles_are_seen() -> None:
    assert imported_by("from ..cells import maps", "edgehemo.quality.focus") == {
        "edgehemo.cells.maps"
    }
    assert imported_by("from .a import b", "edgehemo.quality", is_package=True) == {
        "edgehemo.quality.a.b"
    }
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b"}, "b": set()}) == []


def test_importing_the_device_loads_nothing_of_the_host() -> None:
    """What the walk cannot see: names put together at run time."""
    import subprocess

    code = "import sys, edgehemo.api, edgehemo.cli, edgehemo.control.check; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {name.split(".")[0] for name in done.stdout.split()} & set(HOST)
