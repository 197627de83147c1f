"""The JSON Schemas of every command's output and of the files a device reads.

``python -m edgehemo.schemas`` makes them from the records, ``--check`` says whether they are
current. The workstation's packages have such a folder each, for their own.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def read_schema(name: str) -> dict[str, Any]:
    """A published schema of this package by its name, such as ``screen``."""
    text = files(__name__).joinpath(f"{name}-1.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
