"""The second half of the engineer's first hour: training to bundle, on a little of a real set."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from edgehemo.bundle.bundle import load_bundle
from tests.support.walked_pages import PAGES, reader_environment, walk, walked_blocks

pytestmark = [pytest.mark.host, pytest.mark.real]
pytest.importorskip("torch", reason='needs pip install ".[host]"')

from edgehemo_export.data.sets.chula_rbc12 import read
from edgehemo_export.data.splits import part_of

# So many fields of each part: enough cells to calibrate int8 on, few enough to be quick.
FIELDS = {"train": 24, "tune": 8, "test": 6}


@pytest.fixture
def few_fields(data_root: Path, tmp_path: Path) -> Path:
    """A data root with a few labelled fields of Chula RBC-12 for each part of the split."""
    root, taken = tmp_path / "data", Counter[str]()
    for picture in read(data_root, data_root / "chula_rbc12"):
        part = part_of(picture.group)
        if picture.labels.points is None or taken[part] == FIELDS[part]:
            continue
        taken[part] += 1
        label = data_root / picture.labels.points.file
        for file in (picture.path, label):
            link = root / file.relative_to(data_root)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)
    assert taken == FIELDS
    return root


def test_an_engineers_second_half_hour(few_fields: Path, tmp_path: Path) -> None:
    environment = reader_environment(tmp_path, DATA=str(few_fields))
    page = (PAGES / "first-hour" / "model-engineer.md").read_text(encoding="utf-8")
    blocks = [block for block in walked_blocks(page) if block.on_data]
    assert len(blocks) == 5
    for block in blocks:
        walk(block, tmp_path, environment)
    bundle = load_bundle(tmp_path / "bundle")
    assert [entry.task for entry in bundle.manifest.models] == ["morphology"]
    assert (tmp_path / "bundle.zip").stat().st_size > 0
