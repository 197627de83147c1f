"""Pictures of the public sets for tests: selected from what the one reader of each set gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgehemo_export.data.sets import read_set


def set_files(data_root: Path, name: str, class_name: str | None = None) -> list[Path]:
    """The pictures of a set, or of one class of it, in the order of their paths; skips where the
    data root lacks them.
    """
    found = sorted(
        picture.path
        for picture in read_set(data_root, name)
        if class_name is None or picture.labels.class_name == class_name
    )
    if not found:
        pytest.skip(f"no {class_name or name} under {data_root}")
    return found
