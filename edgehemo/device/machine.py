"""The machine as `edgehemo doctor` asks it: files, folders and commands, behind one object."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_COMMAND_TIMEOUT_S = 0.5


@dataclass(frozen=True, slots=True)
class Machine:
    """What the checks read the machine through; a test gives a made-up one.

    root: where /proc, /sys and /dev are looked up. now: the clock. command: runs a program and
    returns what it printed, None where it is missing, failed or took too long. version: of an
    installed distribution, None where it is not installed.
    """

    root: Path
    now: datetime
    command: Callable[[list[str]], str | None]
    version: Callable[[str], str | None]

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
    return Machine(Path("/"), datetime.now(UTC), _run, _version)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _run(command: list[str]) -> str | None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
