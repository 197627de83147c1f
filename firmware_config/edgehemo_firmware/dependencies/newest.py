"""The device's tests with the newest of everything, whatever the bounds say.

``python -m edgehemo_firmware.dependencies.newest FOLDER`` makes a throw-away environment in FOLDER,
prints what is newer there than in the lock, and runs the tests that a device can run. So a bound
is raised because the tests passed beyond it, or kept because they did not.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from edgehemo.errors import UsageError
from edgehemo_firmware.dependencies.lock import (
    REPOSITORY,
    LockedPackage,
    locked_for,
    moved,
    read_lock,
    run_uv,
    shipped_lock,
)
from edgehemo_firmware.dependencies.targets import DEVICE_EXTRAS, this_target

# Of a version's specifiers, those that keep newer ones out.
_BOUNDING = ("<", "<=", "==", "===", "~=")
OURS = "edgehemo"


def declared(pyproject: str, extras: Iterable[str]) -> list[str]:
    """The requirement lines of pyproject.toml's text with ``extras``, our own extras followed."""
    project = tomllib.loads(pyproject)["project"]
    lines = list(project["dependencies"])
    left, seen = list(extras), set[str]()
    while left:
        extra = left.pop()
        if extra in seen:
            continue
        seen.add(extra)
        for line in project["optional-dependencies"][extra]:
            requirement = Requirement(line)
            if canonicalize_name(requirement.name) == OURS:
                left += sorted(requirement.extras)
            else:
                lines.append(line)
    return list(dict.fromkeys(lines))


def unbounded(line: str) -> str:
    """A requirement line without what keeps newer versions out."""
    requirement = Requirement(line)
    kept = [each for each in requirement.specifier if each.operator not in _BOUNDING]
    requirement.specifier = SpecifierSet(",".join(map(str, kept)))
    return str(requirement)


def _environment(folder: Path) -> Path:
    """A fresh environment with the newest of what ships and of what tests it; its Python."""
    if folder.exists() and not (folder / "pyvenv.cfg").is_file():
        raise UsageError(f"{folder}: is there and no environment; name a folder of its own")
    shutil.rmtree(folder, ignore_errors=True)
    run_uv(["venv", "--python", sys.executable, str(folder)])
    python = folder / "bin" / "python"
    text = (REPOSITORY / "pyproject.toml").read_text("utf-8")
    wanted = [unbounded(line) for line in declared(text, (*DEVICE_EXTRAS, "test"))]
    run_uv(["pip", "install", "--python", str(python), "--upgrade", *wanted])
    run_uv(["pip", "install", "--python", str(python), "--no-deps", "--editable", "."])
    return python


def _installed(python: Path) -> list[LockedPackage]:
    """What an environment holds, as entries of a lock without hashes."""
    program = (
        "import importlib.metadata as m, json;"
        "print(json.dumps([[d.name, d.version] for d in m.distributions()]))"
    )
    done = subprocess.run([str(python), "-I", "-c", program], capture_output=True, check=True)
    return [
        LockedPackage(canonicalize_name(name), version, "", ())
        for name, version in json.loads(done.stdout)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what moved, run the tests, and give their exit code."""
    parser = argparse.ArgumentParser(description="Test with the newest of what ships.")
    parser.add_argument("folder", type=Path, help="where the throw-away environment goes")
    parser.add_argument("tests", nargs="*", default=["tests"], help="what to run, default: tests")
    options = parser.parse_args(arguments)
    python = _environment(options.folder.resolve())
    locked = locked_for(read_lock(shipped_lock().read_text("utf-8")), this_target())
    names = {package.name for package in locked}
    now = [package for package in _installed(python) if package.name in names]
    lines = moved(locked, now)
    print("\n".join(lines) or "nothing is newer than in the lock", flush=True)
    command = [str(python), "-m", "pytest", "-m", "not host and not lab", *options.tests]
    return subprocess.run(command, cwd=REPOSITORY).returncode


if __name__ == "__main__":
    from edgehemo_firmware.dependencies.running import run_as_tool

    run_as_tool(main)
