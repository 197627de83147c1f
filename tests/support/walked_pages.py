"""Pages of the documentation as a reader walks them: their shell blocks, run in order.

A fence ``{ .sh .runs }`` is run; ``.ends-1`` says that its last command ends with 1, as a withheld
result does; ``.on-data`` that it reads the public sets at ``$DATA``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = REPOSITORY / "docs" / "pages"
_FENCE = re.compile(r"^```(?P<mark>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class ShellBlock:
    """Commands that a page shows together."""

    commands: str
    ends_with: int
    on_data: bool


def walked_blocks(page: str) -> list[ShellBlock]:
    """The blocks of a page that are run, in its order."""
    found = []
    for fence in _FENCE.finditer(page):
        marks = fence["mark"].strip(" {}").split()
        if ".runs" in marks:
            ends = next((int(m.rpartition("-")[2]) for m in marks if m.startswith(".ends-")), 0)
            found.append(ShellBlock(fence["text"], ends, ".on-data" in marks))
    return found


def reader_environment(folder: Path, **more: str) -> Mapping[str, str]:
    """Of a reader whose home is ``folder`` and whose `edgehemo` is the one under test."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    beside = Path(sys.executable).parent
    return {
        **{name: value for name, value in os.environ.items() if name != "EDGEHEMO_DEVICE"},
        "PATH": f"{beside}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": str(home / ".local" / "share"),
        "COLUMNS": "100",
        **more,
    }


def walk(block: ShellBlock, folder: Path, environment: Mapping[str, str]) -> str:
    """Run a block in ``folder``; what it said. Fails where it ends otherwise than the page says."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.commands],
        cwd=folder,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == block.ends_with, f"{block.commands}\nended {done.returncode}:\n{said}"
    return said
