"""What the models prepare and keep: other content wherever anything it depends on is another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.host
pytest.importorskip("torch")

from edgehemo.cells.cell import FieldCells
from edgehemo.field.canonical import CanonicalField
from edgehemo_export.data.canonical_set import prepare_all
from edgehemo_export.data.field_tiles import real_fields
from edgehemo_export.data.relabels import LabelledImage
from edgehemo_export.data.simulated.fields import simulated_examples, simulated_field
from edgehemo_export.data.simulated.samples import simulated_sample
from edgehemo_export.data.simulated.tiles import simulated_shard
from edgehemo_export.data.smears import FieldImage
from edgehemo_export.models.anaemia_screen.data import screen_fields

Write = Callable[..., Path]


class NoCells:
    """A finder that finds nothing, and counts the fields it is shown."""

    def __init__(self) -> None:
        self.shown = 0

    def find(self, field: CanonicalField) -> FieldCells:
        self.shown += 1
        return FieldCells(cells=(), counts={}, interior_counts={}, interior_area_mm2=0.0)


@pytest.fixture
def smear(tmp_path: Path, write_image: Write) -> Path:
    made, _ = simulated_field(3, side_px=256, seed=5)
    return write_image(tmp_path / "smear.png", made.frame.pixels)


def entries(cache: Path, kind: str) -> int:
    return len(list((cache / kind).glob("*.npz")))


def test_tiles_of_another_finder_are_made_anew(smear: Path, tmp_path: Path) -> None:
    image, cache = FieldImage(smear, "bccd", "g"), tmp_path / "cache"
    first, second = NoCells(), NoCells()
    made = real_fields([image], first, cache, finder_digest="one")
    again = real_fields([image], first, cache, finder_digest="one")
    other = real_fields([image], second, cache, finder_digest="two")
    assert len(made) == len(again) == len(other) == 1
    assert np.array_equal(made[0].codes, again[0].codes)
    assert (first.shown, second.shown) == (1, 1) and entries(cache, "field-tiles") == 2
    with pytest.raises(ValueError, match="digest"):
        real_fields([image], first, cache)


def test_other_labels_of_a_picture_are_another_canonical_field(smear: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    boxes = np.array([[10, 10, 60, 60], [80, 80, 130, 130]], np.float32)
    image = LabelledImage(smear, "bccd", "g", boxes, np.zeros(2, np.intp), frozenset(("rbc",)))
    same = replace(image, group="h")
    fewer = replace(image, boxes=boxes[:1], kinds=np.zeros(1, np.intp))
    white = replace(image, kinds=np.ones(2, np.intp))
    partly = replace(image, complete=frozenset(("wbc",)))
    for count, other in enumerate((image, fewer, white, partly), 1):
        (example,) = prepare_all([other], cache)
        assert len(example.boxes) == len(other.boxes) and example.complete == other.complete
        assert entries(cache, "canonical-field") == count
    assert prepare_all([same], cache)[0].group == "h" and entries(cache, "canonical-field") == 4


def test_another_picture_of_the_same_name_and_size_is_read_again(
    smear: Path, tmp_path: Path
) -> None:
    """The name, size and even the time of change of the first, as a copy that keeps them has."""
    image, cache = FieldImage(smear, "uganda_phone", "g", 0), tmp_path / "cache"
    (before,) = screen_fields([image], cache)
    raw = bytearray(smear.read_bytes())
    other_folder = tmp_path / "other"
    other_folder.mkdir()
    made, _ = simulated_field(4, side_px=256, seed=5)
    other = other_folder / smear.name
    cv2.imwrite(str(other), made.frame.pixels[..., ::-1])
    other.write_bytes(other.read_bytes().ljust(len(raw), b"\0"))
    (after,) = screen_fields([replace(image, path=other)], cache)
    assert not np.array_equal(before.codes, after.codes)
    (again,) = screen_fields([image], cache)
    assert np.array_equal(before.codes, again.codes) and entries(cache, "screen-field") == 2


def test_simulated_data_depend_on_seed_size_and_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    for seed, side in ((1, 96), (2, 96), (1, 128), (1, 96)):
        (example,) = simulated_examples(1, side_px=side, seed=seed, cache=cache)
        assert example.name == f"simulated/{seed}-0"
    assert entries(cache, "simulated-field") == 3
    monkeypatch.setattr("edgehemo_export.data.simulated.tiles.FIELDS_PER_SHARD", 1)
    first = simulated_shard(0, seed=1, cache=cache)
    assert np.array_equal(simulated_shard(0, seed=1, cache=cache).content, first.content)
    assert entries(cache, "simulated-tiles") == 1
    # A setting of the simulation that is another makes other content.
    monkeypatch.setattr("edgehemo_export.data.simulated.tiles.REFERENCE_SHARE", 0.9)
    simulated_shard(0, seed=1, cache=cache)
    assert entries(cache, "simulated-tiles") == 2


def test_a_simulated_sample_comes_back_as_it_was(tmp_path: Path) -> None:
    made = simulated_sample(11, fields=1, microscope=None, cache=tmp_path)
    again = simulated_sample(11, fields=1, microscope=None, cache=tmp_path)
    assert entries(tmp_path, "simulated-sample") == 1
    assert again.reference == made.reference and again.refused == made.refused
    assert len(again.fields) == len(made.fields)
    for one, other in zip(made.fields, again.fields, strict=True):
        assert np.array_equal(one.tiles, other.tiles) and one.indices == other.indices
