"""The machine as `edgehemo doctor` asks it: files, folders and commands, behind one object."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_COMMAND_TIMEOUT_S = 0.5


@dataclass(frozen=True, slots=True)
class Machine:
    """What the checks read the machine through; a test gives a made-up one.

    root: where /proc, /sys and /dev are looked up. now: the clock. command: runs a program and
    returns what it printed, None where it is missing, failed or took too long. version: of an
    installed distribution, None where it is not installed. requires: the lines of a distribution's
    requirements (PEP 508), None where it is not installed. unfound: the modules of an installed
    distribution where none of them can be found, empty where one can.
    """

    root: Path
    now: datetime
    command: Callable[[list[str]], str | None]
    version: Callable[[str], str | None]
    requires: Callable[[str], Sequence[str] | None]
    unfound: Callable[[str], tuple[str, ...]]

    def text(self, path: str) -> str | None:
        """A small file's content under root, None where it cannot be read."""
        try:
            data = (self.root / path).read_bytes()[:65_536]
        except OSError:
            return None
        return data.decode("utf-8", "replace").strip("\0 \t\r\n")

    def glob(self, pattern: str) -> list[Path]:
        try:
            return sorted(self.root.glob(pattern))
        except OSError:
            return []


def this_machine() -> Machine:
    """The machine this runs on."""
    return Machine(Path("/"), datetime.now(UTC), _run, _version, _requires, _unfound)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _requires(distribution: str) -> Sequence[str] | None:
    try:
        return importlib.metadata.requires(distribution) or ()
    except importlib.metadata.PackageNotFoundError:
        return None


def _unfound(distribution: str) -> tuple[str, ...]:
    modules = modules_of(importlib.metadata.distribution(distribution))
    found = any(importlib.util.find_spec(name) is not None for name in modules)
    return () if found else modules


def modules_of(distribution: importlib.metadata.Distribution) -> tuple[str, ...]:
    """The top-level names under which a distribution is imported, as its metadata tells."""
    declared = distribution.read_text("top_level.txt")
    if declared:
        return tuple(declared.split())
    names: dict[str, None] = {}
    for file in distribution.files or ():
        first = file.parts[0]
        if len(file.parts) == 1:
            name, _, suffix = first.partition(".")
            if suffix == "py" or suffix.endswith("so"):
                names[name] = None
        elif first.isidentifier() and first != "__pycache__":
            names[first] = None
    return tuple(names)


def _run(command: list[str]) -> str | None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
